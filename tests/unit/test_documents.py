"""Links between the documents lead somewhere."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.adapter.control_json import CONTROL_MEMBERS
from gateway.adapter.items_json import ITEMS_MEMBERS
from gateway.adapter.params_json import GET_MEMBERS, SUBMIT_MEMBERS
from tests.support.site_pages import configuration, lay_out, pages

ROOT = Path(__file__).parents[2]
CLIENTS = [*sorted(ROOT.glob("clients/*.md")), *sorted(ROOT.glob("clients/*/*.md"))]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *CLIENTS]


def anchors(document: Path) -> set[str]:
    """The names of a document's headings, as GitHub and PyPI derive them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: Path) -> Iterator[str]:
    """The links to files of the project, and to headings."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for link in links(document):
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def places(navigation: list[dict[str, Any]]) -> Iterator[str]:
    """The pages that a navigation of the site leads to."""
    for entry in navigation:
        for target in entry.values():
            yield from [target] if isinstance(target, str) else places(target)


def test_the_site_leads_to_each_page_once() -> None:
    """`nav` in zensical.toml has a place for each page of docs/."""
    navigation = tomllib.loads(configuration(pages()))["project"]["nav"]
    assert sorted(places(navigation)) == sorted(map(str, pages().values()))


def test_links_in_the_site_lead_to_what_they_name(tmp_path: Path) -> None:
    """To other pages where there is one, and else into the repository."""
    lay_out(tmp_path)
    page = (tmp_path / "docs" / "project" / "contributing.md").read_text(encoding="utf-8")
    assert "](../architecture.md#where-to-add-a-setting)" in page
    assert "](https://github.com/runs-gateway/runs-gateway/blob/main/LICENSE)" in page
    for file in sorted((tmp_path / "docs").rglob("*.md")):
        for link in links(file):
            assert (file.parent / link.partition("#")[0]).exists() or link.endswith("mermaid.js"), (
                f"{file.name}: {link}"
            )


def test_the_members_of_requests_are_told() -> None:
    documents = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    told = documents.partition("- `runs/submit` has")[2]
    told = told.partition("\n- ")[0]
    assert set(re.findall(r"`(\w+)`", told)) == SUBMIT_MEMBERS | GET_MEMBERS
    told = documents.partition("- The calls that end runs and find them again have")[2]
    members = set(re.findall(r"`(\w+)`", re.split(r"\bThey\s", told)[0]))
    assert members == CONTROL_MEMBERS | ITEMS_MEMBERS
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "The idempotency key of `runs/submit` is its member `subflowKey`" in readme
