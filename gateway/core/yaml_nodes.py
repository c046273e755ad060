"""Reads YAML into nodes, whose tags are those of the core schema of YAML 1.2, and which know their places."""

import re
from typing import TYPE_CHECKING, Final

import yaml
from yaml.composer import Composer
from yaml.reader import ReaderError
from yaml.resolver import BaseResolver

from gateway.core.json_place import place_of

if TYPE_CHECKING:
    from yaml._yaml import CParser

LONGEST_READ_TWICE: Final = 256 << 10
"""Characters of the longest document with a mistake that is read again, for clearer words, by the slower reader."""

TAG = "tag:yaml.org,2002:"
NULL, BOOL, INT, FLOAT, STR = f"{TAG}null", f"{TAG}bool", f"{TAG}int", f"{TAG}float", f"{TAG}str"
SEQ, MAP = f"{TAG}seq", f"{TAG}map"

SCALARS = {
    NULL: re.compile(r"~|null|Null|NULL|", re.ASCII),
    BOOL: re.compile(r"true|True|TRUE|false|False|FALSE"),
    INT: re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    FLOAT: re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
    ),
}
_FIRST: Final = {NULL: "~nN", BOOL: "tTfF", INT: "-+0123456789", FLOAT: "-+.0123456789"}
"""The characters that a scalar of each kind may begin with. Others are strings, and no pattern looks at them."""


class _Loader(yaml.SafeLoader):
    """Composes nodes with the tags of the core schema instead of those of YAML 1.1."""

    yaml_implicit_resolvers = {}  # noqa: RUF012


for _tag, _pattern in SCALARS.items():
    _Loader.add_implicit_resolver(
        _tag, re.compile(rf"(?:{_pattern.pattern})\Z"), [*_FIRST[_tag], *([""] if _tag == NULL else [])]
    )


class _QuickLoader(Composer, BaseResolver):
    """The same by the parser in C, which is several times as fast.

    The nodes are put together here: what does so in C takes as much stack as the document wants.
    """

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def __init__(self, parser: "CParser") -> None:
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.check_event, self.peek_event, self.get_event = parser.check_event, parser.peek_event, parser.get_event


def composed(text: str) -> yaml.Node | None:
    """The nodes of the document. Raises ValueError, in words of our own where the package has those of Python."""
    if not yaml.__with_libyaml__:
        return _slowly(text)
    from yaml._yaml import CParser

    try:
        return _QuickLoader(CParser(text)).get_single_node()
    except yaml.MarkedYAMLError as error:
        # It takes no escaped surrogates, which may be a pair.
        if len(text) > LONGEST_READ_TWICE and "escape" not in str(error.problem):
            raise _mistake(error) from None
    except (yaml.YAMLError, ValueError, RecursionError):
        pass  # The other reader tells the place.
    return _slowly(text)


def _slowly(text: str) -> yaml.Node | None:
    try:
        loader = _Loader(text)
    except ReaderError as error:
        problem = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise ValueError(f"{place_of(text, error.position)}: {problem}") from None
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _mistake(error) from None
    except RecursionError:
        raise ValueError(f"{place_in_words(loader.get_mark())}: nested too deeply") from None
    except (ValueError, OverflowError):
        raise ValueError(f"{place_in_words(loader.get_mark())}: an escape or a version that is out of range") from None
    finally:
        loader.dispose()


def _mistake(error: yaml.MarkedYAMLError) -> ValueError:
    # What begins so goes on with what was expected.
    began = f"{error.context} " if str(error.problem).startswith("but ") else ""
    return ValueError(f"{place_in_words(error.problem_mark)}: {began}{error.problem}")


def place_in_words(mark: yaml.Mark | None) -> str:
    """The line and column of a mark, counted from 1."""
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else "line 1, column 1"
