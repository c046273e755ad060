"""Lays out the pages of the site: `python -m tests.support.site_pages FOLDER`.

They are docs/ as it is, and the documents beside it. Links in them are those of the repository: one to a file that is
no page of the site leads to that file in the repository. The configuration stands beside them: the program that builds
the site takes the folder `.cache` beside it for its own.
"""

import html
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = "https://github.com/runs-gateway/runs-gateway"

DIAGRAMS: Final = Path("site/mermaid.js")
"""The script that draws diagrams, in the pages."""

_OTHERS: Final = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}
_BAR: Final = "\\|"
_LINK: Final = re.compile(r"^```.*?^```|(\]\()([^)\s]+)(\))", re.DOTALL | re.MULTILINE)
"""A link, or a block of code, in which there are none."""


def pages() -> dict[Path, Path]:
    """The documents, and where each is in the site."""
    documents = {file: file.relative_to(ROOT / "docs") for file in sorted((ROOT / "docs").rglob("*.md"))}
    documents |= {ROOT / name: Path(place) for name, place in _OTHERS.items()}
    for file in sorted((ROOT / "clients").glob("README.md")) + sorted((ROOT / "clients").glob("*/README.md")):
        name = "index" if file.parent.name == "clients" else file.parent.name
        documents[file] = Path("clients", f"{name}.md")
    return documents


def configuration(places: dict[Path, Path]) -> str:
    """The configuration of the site, whose navigation has the libraries of all languages that there are."""
    text = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    first = '    { "Libraries" = "clients/index.md" },\n'
    others = sorted(place for place in places.values() if place.parent.name == "clients" and place.stem != "index")
    return text.replace(first, first + "".join(f'    {{ "{_title(place)}" = "{place}" }},\n' for place in others))


def _title(place: Path) -> str:
    return {"cpp": "C++", "typescript": "TypeScript"}.get(place.stem, place.stem.capitalize())


def with_links(document: Path, text: str, places: dict[Path, Path]) -> str:
    """The text of a document with links that lead to the same things from its place in the site."""

    def moved(match: re.Match[str]) -> str:
        target, mark, anchor = (match[2] or "").partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        file = (document.parent / target).resolve()
        if file in places:
            target = os.path.relpath(places[file], places[document].parent)
        elif not file.is_relative_to(ROOT / "docs"):
            kind = "tree" if file.is_dir() else "blob"
            target = f"{SOURCE}/{kind}/main/{file.relative_to(ROOT)}"
        return f"{match[1]}{target}{mark}{anchor}{match[3]}"

    return _LINK.sub(moved, text)


def with_bars(text: str) -> str:
    """The text with each `\\|` of code in tables as a bar: it is one in a repository, and would not be in the site."""

    def written(match: re.Match[str]) -> str:
        return f"<code>{html.escape(match[1]).replace(_BAR, '&#124;')}</code>"

    return re.sub(rf"(?<=[| ,(])`([^`\n]*{re.escape(_BAR)}[^`\n]*)`", written, text)


def lay_out(folder: Path) -> None:
    """Write the configuration, all pages, and the files that they show, into a folder that is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.md"))
    places = pages()
    (folder / "zensical.toml").write_text(configuration(places), encoding="utf-8")
    for document, place in places.items():
        page = with_bars(with_links(document, document.read_text(encoding="utf-8"), places))
        if "```mermaid" in page:
            # Otherwise the theme fetches it from another host.
            page += f'\n<script src="{os.path.relpath(DIAGRAMS, place.parent)}"></script>\n'
        file = folder / "docs" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
