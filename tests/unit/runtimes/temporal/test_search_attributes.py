"""The search attributes are a promise between releases, and the document for operators names all of them."""

from pathlib import Path

from gateway.runtimes.temporal.search_attributes import SEARCH_ATTRIBUTES

PAGE = Path(__file__).parents[4] / "docs/operations.md"


def test_names_and_types_stay() -> None:
    assert {key.name: key.indexed_value_type.name for key in SEARCH_ATTRIBUTES} == {
        "RunsNamespace": "KEYWORD",
        "RunsFlowId": "KEYWORD",
        "RunsFlowName": "KEYWORD",
        "RunsFlowLabel": "KEYWORD",
        "RunsParent": "KEYWORD",
        "RunsRoot": "KEYWORD",
        "RunsState": "KEYWORD",
        "RunsLabels": "KEYWORD_LIST",
        "RunsCreated": "DATETIME",
    }


def test_operators_are_told_all_of_them() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [key.name for key in SEARCH_ATTRIBUTES if f"`{key.name}`" not in text] == []
