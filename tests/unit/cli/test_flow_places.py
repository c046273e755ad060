"""Where parts of a flow stand in its file."""

from pathlib import Path

from gateway.cli.documents import FlowDocument, read_flow_document
from gateway.cli.flow_places import Place, places_of

YAML = """\
# a flow
steps:
  - &first
    id: a
    input: {x: [1, {y: 2}]}
  - *first
"""


def test_in_yaml(tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(YAML, encoding="utf-8")
    document = read_flow_document(file)
    paths = [(), ("steps", 0, "id"), ("steps", 0, "input", "x", 1, "y"), ("steps", 0, "component"), ("steps", 1, "id")]
    assert places_of(document, paths) == [Place(2, 1), Place(4, 9), Place(5, 24), Place(3, 5), Place(4, 9)]
    assert places_of(document, [("steps", 2), ("steps", "id"), ("steps", 0, "id", 0)]) == [
        Place(3, 3),
        Place(3, 3),
        Place(4, 9),
    ]


def test_in_json() -> None:
    text = '\n {"steps": [\n  {"id": "é",\n   "input": [1, {"y": 2}]}], "name": 1, "name":\n 2}\n'
    document = FlowDocument(text, text, is_yaml=False)
    paths = [(), ("steps", 0, "id"), ("steps", 0, "input", 1, "y"), ("steps", 0, "component"), ("steps", 7), ("name",)]
    assert places_of(document, paths) == [
        Place(2, 2),
        Place(3, 10),
        Place(4, 23),
        Place(3, 3),
        Place(2, 12),
        Place(5, 2),
    ]
