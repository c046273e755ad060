"""Links between the documents lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.adapter.control_json import CONTROL_MEMBERS
from gateway.adapter.items_json import ITEMS_MEMBERS
from gateway.adapter.params_json import GET_MEMBERS, SUBMIT_MEMBERS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(document: Path) -> set[str]:
    """The names of a document's headings, as GitHub and PyPI derive them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: Path) -> Iterator[str]:
    """The links to files of the project, and to headings."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
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


def test_the_members_of_requests_are_told() -> None:
    documents = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    told = documents.partition("- `runs/submit` has")[2]
    told = told.partition("\n- ")[0]
    assert set(re.findall(r"`(\w+)`", told)) == SUBMIT_MEMBERS | GET_MEMBERS
    told = documents.partition("- The calls that end runs and find them again have")[2].partition("They\n")[0]
    members = set(re.findall(r"`(\w+)`", told))
    assert members == CONTROL_MEMBERS | ITEMS_MEMBERS
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "The idempotency key of `runs/submit` is its member `subflowKey`" in readme
