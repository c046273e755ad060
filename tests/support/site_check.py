"""Checks a site that is built: `python -m tests.support.site_check FOLDER`.

Every link leads to a page and a heading that are there, nothing is loaded from another host, and no list has become a
paragraph: pages of a repository may begin a list without a blank line before it, those of the site may not.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

LOADS: Final = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}
"""What a browser fetches by itself."""


class Page(HTMLParser):
    """What a page holds: its ids, what it links to, and what it loads."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.broken_lists: list[str] = []
        text = file.read_text(encoding="utf-8")
        self.feed(text)
        for paragraph in re.findall(r"<p>(.*?)</p>", text, re.DOTALL):
            self.broken_lists += re.findall(r"^(?:[-*] |\d+\. ).*", paragraph, re.MULTILINE)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.add(value or "")
            elif (tag, name) in LOADS:
                self.loads.append(value or "")
            elif (tag, name) == ("a", "href"):
                self.links.append(value or "")


def faults(site: Path) -> Iterator[str]:
    """What is wrong with the pages of a site."""
    pages = {file.resolve(): Page(file) for file in site.rglob("*.html") if file.name != "404.html"}
    for file, page in pages.items():
        place = file.relative_to(site.resolve())
        yield from (f"{place}: this is no list: {line}" for line in page.broken_lists)
        for url in page.loads:
            if urlsplit(url).netloc or not (file.parent / unquote(urlsplit(url).path)).exists():
                yield f"{place}: loads {url}"
        for url in page.links:
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                yield f"{place}: leads nowhere: {url}"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                yield f"{place}: no such heading: {url}"
    for file in site.rglob("*.css"):
        for url in re.findall(r"(?:url\(|@import\s+)[\"']?(https?:[^\"')]*)", file.read_text(encoding="utf-8")):
            yield f"{file.relative_to(site)}: loads {url}"


def main() -> None:
    """Exit with what is wrong, if anything is."""
    found = list(faults(Path(sys.argv[1])))
    if found:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
