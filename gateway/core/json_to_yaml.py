"""Translates JSON text to YAML, and loses nothing: numbers keep their digits, members their order.

What is written means the same to readers of YAML 1.1 and of YAML 1.2, and `yaml_json` makes the same value of it. One
token is written after the other, so a value may be nested as deeply as it likes.
"""

import json
import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from gateway.core.json_text import quote
from gateway.core.model import JsonText
from gateway.core.steering import STEERING

DEEPEST_INDENT: Final = 40
"""What would be indented more stands on one line, as in JSON: else a deep value would be white space for the most."""

LONGEST_KEY: Final = 1_000
"""Readers look for the colon after a key in its first 1,024 characters. A longer key is marked by a question mark."""

_TOKEN: Final = re.compile(r'[{}\[\],:]|"[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s{}\[\],:"]++', re.DOTALL)

_WORD: Final = r"(?:[A-Za-z0-9_./@+=()-]|:(?=[A-Za-z0-9_./@+=()-]))"
_PLAIN: Final = re.compile(
    rf"(?:[A-Za-z/]{_WORD}*+(?: {_WORD}++)*+|[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}})", re.ASCII
)
"""Text that means itself without quotation marks. It is ASCII: what a locale cannot write is escaped within marks."""

_WITH_EXPONENT: Final = re.compile(r"(-?[0-9]++)(\.[0-9]++)?([eE])([+-]?)([0-9]++)")

_RESERVED: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})

_UNPRINTABLE: Final = re.compile(f"[{STEERING}\ufffe\uffff]")
"""What YAML does not have as it is, and what could steer the terminal of who reads it."""


class _Tokens:
    """Tokens, of which the next one can be looked at."""

    def __init__(self, text: JsonText) -> None:
        self._tokens = (match[0] for match in _TOKEN.finditer(text))
        self._seen: str | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._seen is None:
            return next(self._tokens)
        token, self._seen = self._seen, None
        return token

    def peek(self) -> str:
        if self._seen is None:
            self._seen = next(self._tokens, "")
        return self._seen


class _Block(Struct):
    """A list or a mapping whose entries are being written, and what the next line begins with."""

    is_list: bool
    indent: int
    line: str


def json_to_yaml(text: JsonText) -> str:
    """The YAML of a JSON value: lines, without a line break at the end and without `---` before them."""
    return "\n".join(_lines(_Tokens(text)))


def _lines(tokens: _Tokens) -> Iterator[str]:
    blocks: list[_Block] = []
    for token in tokens:
        block = blocks[-1] if blocks else None
        if token in {"}", "]"}:
            blocks.pop()
        elif block is not None and not block.is_list and tokens.peek() == ":":
            next(tokens)
            yield from _key(token, block)
        elif token != ",":
            line = ""
            if block is not None:
                line = f"{block.line}- " if block.is_list else f"{block.line} "
                block.line = " " * block.indent
            yield from _value(token, line, tokens, blocks)


def _key(token: str, block: _Block) -> Iterator[str]:
    key = _string(token, plain=True)
    if len(key) > LONGEST_KEY:
        yield f"{block.line}? {key}"
        block.line = " " * block.indent
        key = ""
    block.line = f"{block.line}{key}:"


def _value(token: str, line: str, tokens: _Tokens, blocks: list[_Block]) -> Iterator[str]:
    """The lines of a value, or, of one that is not empty, what comes before its entries."""
    block = blocks[-1] if blocks else None
    if token not in {"{", "["}:
        yield line + _scalar(token, plain=True)
    elif tokens.peek() in {"}", "]"}:
        yield line + token + next(tokens)
    elif block is not None and block.indent >= DEEPEST_INDENT:
        yield line + "".join(_on_one_line(token, tokens))
    elif block is None or block.is_list:
        # The first entry stands on the line of the bar before it.
        blocks.append(_Block(token == "[", len(line), line))
    else:
        yield line.rstrip()
        indent = block.indent + 2
        blocks.append(_Block(token == "[", indent, " " * indent))


def _on_one_line(opening: str, tokens: _Tokens) -> Iterator[str]:
    """What stands between an opening bracket and the one that closes it, with both."""
    yield opening
    depth = 1
    while depth:
        token = next(tokens)
        depth += (token in {"{", "["}) - (token in {"}", "]"})
        if token in {"{", "[", "}", "]"}:
            yield token
        elif token in {",", ":"}:
            yield f"{token} "
        else:
            written = _scalar(token, plain=False)
            yield f"? {written} " if tokens.peek() == ":" and len(written) > LONGEST_KEY else written


def _scalar(token: str, *, plain: bool) -> str:
    if token.startswith('"'):
        return _string(token, plain=plain)
    if (number := _WITH_EXPONENT.fullmatch(token)) is None:
        return token
    # Without a point, and a sign of the exponent, it is a string to readers of YAML 1.1.
    whole, fraction, e, sign, exponent = number.groups(default="")
    return f"{whole}{fraction or '.0'}{e}{sign or '+'}{exponent}"


def _string(token: str, *, plain: bool) -> str:
    """A string as YAML, without quotation marks if that is allowed and means the same."""
    text: str = json.loads(token)
    if plain and _PLAIN.fullmatch(text) and text.lower() not in _RESERVED:
        return text
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", quote(text))
