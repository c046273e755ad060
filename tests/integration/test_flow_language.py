"""docs/flow-language.md: each flow on it gives what it says, or is refused as it says."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from gateway.cli.program import run
from gateway.client import Json, RunsClient
from gateway.core.yaml_json import yaml_to_json
from gateway.flows.builtins import BUILTINS
from gateway.flows.expression_compiler import DATA_NAMES, MEMBERS
from gateway.testing import ComponentContext, InMemoryGateway, in_memory_gateway

PAGE: Final = (Path(__file__).parents[2] / "docs/flow-language.md").read_text(encoding="utf-8")
EXAMPLES: Final = re.findall(r"^```yaml\n(.*?)^```\n\n^```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


class Line(NamedTuple):
    """What a run is given, and what it comes to."""

    input: Json
    options: dict[str, Any]
    outcome: str

    @classmethod
    def read(cls, text: str) -> "Line":
        """Read `INPUT[, OPTION VALUE] -> OUTCOME`."""
        _, end = json.JSONDecoder().raw_decode(text)
        given, rest = text[:end], text[end:]
        options = {}
        if option := re.match(r", (\w+) ", rest):
            options[option[1]], end = json.JSONDecoder().raw_decode(rest, option.end())
            rest = rest[end:]
        assert rest.startswith(" -> "), text
        return cls(Json(given), options, rest.removeprefix(" -> "))


def count(text: Any) -> int:
    if not isinstance(text, str):
        raise ValueError("not a text")
    return len(text.split())


def shaky(text: Any, context: ComponentContext) -> int:
    if context.attempt == 1:
        raise ValueError("not yet")
    return count(text)


@pytest.fixture(scope="module")
def client() -> Iterator[RunsClient]:
    gateway: InMemoryGateway = in_memory_gateway(components={"/words/count": count, "/words/shaky": shaky})
    with gateway, gateway.client() as client:
        yield client


def outcome(client: RunsClient, flow: str, line: Line) -> Any:
    status = client.submit_and_wait(client.put_flow(yaml_to_json(flow)), [line.input], **line.options)
    assert status.results is not None
    (result,) = status.results
    return result.value_json if result.error is None else f"error {result.error.code}: {result.error.message}"


def test_all_flows_are_examples() -> None:
    assert len(EXAMPLES) == PAGE.count("```yaml\n") == PAGE.count("```text\n")


@pytest.mark.parametrize(("flow", "lines"), EXAMPLES)
def test_an_example(
    client: RunsClient,
    flow: str,
    lines: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flow.yaml").write_text(flow, encoding="utf-8")
    refused = lines.startswith("flow.yaml:")
    assert run(["check", "flow.yaml"]) == refused
    assert capsys.readouterr().out == (lines if refused else "flow.yaml: valid\n")
    for line in [] if refused else map(Line.read, lines.splitlines()):
        given = outcome(client, flow, line)
        if line.outcome.startswith("error"):
            assert given == line.outcome
        else:
            assert exact(given) == exact(line.outcome)


def exact(text: str) -> Any:
    """A value in which the spelling of numbers and the order of members count."""
    return json.loads(text, parse_int=str, parse_float=str, object_pairs_hook=lambda pairs: [*pairs, "object"])


@pytest.mark.parametrize("name", [*MEMBERS, *sorted(DATA_NAMES), *BUILTINS])
def test_everything_is_on_the_page(name: str) -> None:
    assert name in PAGE
