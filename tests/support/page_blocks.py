"""The blocks of code in documents: fenced ones with their language, and indented ones without."""

import re
from pathlib import Path
from textwrap import dedent
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]

_FENCED: Final = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_INDENTED: Final = re.compile(r"(?<=\n\n)((?: {4}.*\n|\n+(?= {4}))+)")
_LIST: Final = re.compile(r"^(?:[-*]|\d+\.) ")


class Block(NamedTuple):
    """A block of code: its language, empty if it is not told, and its text."""

    language: str
    text: str

    @property
    def name(self) -> str:
        """Its first line, which tells it from others."""
        return self.text.partition("\n")[0].strip()


def blocks(document: Path) -> list[Block]:
    """The blocks of a document, in their order."""
    text = document.read_text(encoding="utf-8")
    found = {match.start(): Block(match[2], dedent(match[3])) for match in _FENCED.finditer(text)}
    # What is indented below an entry of a list is its text.
    bare = _FENCED.sub(lambda match: re.sub(r"[^\n]", "x", match[0]), text)
    for match in _INDENTED.finditer(bare):
        before = bare[: match.start()].rstrip("\n").rpartition("\n\n")[2]
        if not _LIST.match(before):
            found[match.start()] = Block("", dedent(match[1]).strip("\n") + "\n")
    return [found[place] for place in sorted(found)]
