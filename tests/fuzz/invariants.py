"""What holds whatever is sent, in a form that all targets share."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.core.errors import GatewayError, Internal
from gateway.core.model import JsonText

MAX_MESSAGE: Final = 64 << 10
"""How long the message of an error may be, for documents of any kind that a fuzzer makes."""


class InTree:
    """Whether something was refused."""

    def __init__(self) -> None:
        self.refused: GatewayError | None = None

    def check(self, error: GatewayError) -> None:
        """Note that something was refused, by an error that clients may be told."""
        assert not isinstance(error, Internal), "a document is taken for a defect"
        assert len(error.message) <= MAX_MESSAGE, "an error is far longer than what it is about"
        self.refused = error


@contextmanager
def in_tree() -> Iterator[InTree]:
    """Let a block raise errors of the tree, and no others."""
    outcome = InTree()
    try:
        yield outcome
    except GatewayError as error:
        outcome.check(error)


def respelled(text: JsonText) -> list[JsonText]:
    """The same JSON value in other spellings of names and strings; none if Python would change numbers in it."""
    try:
        value = json.loads(text, parse_float=_exact, parse_int=_exact, object_pairs_hook=_unrepeated)
        return [json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)]
    except (ValueError, RecursionError):
        return []


def _exact(text: str) -> int:
    if not (text.removeprefix("-").isdecimal() and len(text) < 16) or text == "-0":
        raise ValueError("spelled in another way by Python")
    return int(text)


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("of repeated names, Python keeps the place of the first")
    return dict(pairs)
