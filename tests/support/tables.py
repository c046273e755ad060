"""Tables in documents that are made from the code: how they look, and where they stand."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

END: Final = "<!-- The end of the table. -->\n"


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The table in Markdown."""
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def with_table(document: str, target: str, table: str) -> str:
    """The document with the table that `make TARGET` writes. Raises ValueError if it has no place for the table."""
    before, begin, rest = document.partition(f"<!-- This table is made by `make {target}`. -->\n")
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no place for the table of `make {target}`")
    return f"{before}{begin}{table}{end}{after}"


def write_table(file: Path, target: str, table: str) -> None:
    """Write the table into a document."""
    file.write_text(with_table(file.read_text(encoding="utf-8"), target, table), encoding="utf-8")
