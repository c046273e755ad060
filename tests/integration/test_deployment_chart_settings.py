"""The chart admits the settings that the gateway takes, and no others."""

import json
from typing import Any, Final

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.server.settings import ServeSettings, settings_of
from tests.support import text_patterns
from tests.support.chart_settings import OF_THE_CHART, values_schema
from tests.support.helm_chart import SCHEMA, ChartError, rendered

ADMITTED: Final = json.loads(SCHEMA.read_text(encoding="utf-8"))
NAMES: Final = [name for name in settings_of(ServeSettings) if name not in OF_THE_CHART]
VALUES: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        0.5,
        5,
        64,
        65,
        1_000,
        3_600,
        3_601,
        65_536,
        1 << 26,
        1 << 31,
        1 << 60,
        1 << 62,
        10**15,
    ),
    *("", "x", "none", "forever", "30s", "1h30m", "1.5d", "0s", "30 s", "-1s", "999999w", "512MiB", "1KiB", "64 MiB"),
    *("63MiB", "2TiB", "512MB", "JSON", "text", "Info", "otlp", "off", "native", "grpcio", "optional", "0.10", "/a"),
    *(
        "embedded",
        "embeded",
        "grpc://a:1",
        "grpc://a",
        "grpcs://[::1]:65535",
        "grpc://a:65536",
        "unix:/a",
        "http://a:1",
    ),
    *(
        "jsonrpc+http://a:1/rpc",
        "stepflow+https://a:1",
        "stepflow+http://a:1/x",
        "temporal://a:1/runs",
        "temporal://a:1",
    ),
    *("http://a/b", "https://a:1/b?c", "s3://bucket/x", "gs://b", "s3://", "file:///a", "file://a/b", "https://a/keys"),
    *(
        "front",
        "front,worker",
        "worker, boss",
        "RS256",
        "RS256,ES512",
        "HS256",
        "https://app.example",
        "a.example",
        "*",
    ),
    *([], ["front"], ["boss"], ["RS256"], ["none"], ["a.example"], ["a:1"], ["https://app.example"], [1], ["a", "b"]),
    *({}, {"/a": "http://a"}, {"/a": 1}, {"/a": 0}, {"a": ["admin"]}, {"a": ["boss"]}, {"a": []}),
    *([{"keep": "30d"}], [{"keep": 0}], [{"keep": "forever", "states": ["failed"]}], [{"states": ["failed"]}]),
    *([{"max_calls": 5}], [{"max_calls": 0}], {"max_memory": "1MiB"}, {"max_memory": 0}, {"maxcalls": 1}),
    *([{"identity": "a", "permissions": ["admin"]}], [{"identity": "a"}]),
)
"""Good and bad ones, of each form."""

OF_THE_MACHINE: Final = {"file_directories": "directories are there or not", "transport": "`native` is an extra"}
"""Settings of which the schema cannot tell whether the gateway takes them."""


def takes(name: str, value: Any) -> bool:
    """Whether the gateway takes a setting, whatever the others are."""
    try:
        ServeSettings.model_validate({name: value})
    except ValidationError as error:
        return not any(fault["loc"][0] == name for fault in error.errors())
    return True


def admits(name: str, value: Any) -> bool:
    schema = ADMITTED["properties"]["settings"]["properties"][name]
    return jsonschema.Draft7Validator({**schema, "definitions": ADMITTED["definitions"]}).is_valid(value)


def test_the_schema_is_made_of_the_settings() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == values_schema(SCHEMA), "make manifests"
    assert {*ADMITTED["properties"]["settings"]["properties"]} == {*NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_admitted_is_what_the_gateway_takes(name: str) -> None:
    kind = {type(settings_of(ServeSettings)[name].default)}
    differ = {repr(value): takes(name, value) for value in VALUES if takes(name, value) != admits(name, value)}
    if name in OF_THE_MACHINE:
        assert not any(differ.values())
        return
    # A text of a number, or of a truth value, is what helm makes of one that somebody has quoted.
    quoted = {repr(value) for value in VALUES if isinstance(value, str)} if kind <= {bool, int} else set()
    # Patterns that helm reads exclude no words, as schemes of which browsers write no origin.
    refused = {repr(value) for value in VALUES if str(value).startswith("grpc")} if name == "allow_origins" else set()
    assert {value for value, taken in differ.items() if not taken} <= refused
    assert {*differ} <= quoted | refused


@pytest.mark.parametrize(
    "settings",
    [
        {"drain_delay": 0.5},
        {"drain_dely": 1},
        {"runtime": "embeded"},
        {"max_memory": "63MiB"},
        {"state": ":memory:"},
        {"runtime": "temporal://a:1/runs", "keep": "30d"},
        {"blobs": "s3://bucket"},
        {"retention": [{"keep": "30d", "state": "failed"}]},
        {"insecure": False},
    ],
    ids=str,
)
def test_helm_refuses_what_the_gateway_would(settings: dict[str, Any]) -> None:
    with pytest.raises(ChartError, match="|".join(settings)):
        rendered({"settings": settings})


def test_helm_takes_numbers_and_texts_of_them() -> None:
    settings = {"max_memory": "512MiB", "max_message_bytes": 1 << 30, "keep": "30d", "log_level": "INFO"}
    text = rendered({"settings": settings})["configmap.yaml"]
    assert "max_message_bytes: 1073741824\n" in text + "\n"


@given(low=st.integers(0, 10**6), more=st.integers(0, 10**6), number=st.integers(0, 3 * 10**6))
def test_numbers_are_those_between_two(low: int, more: int, number: int) -> None:
    pattern = {"type": "string", "pattern": f"^{text_patterns.numbers(low, low + more)}$"}
    assert jsonschema.Draft7Validator(pattern).is_valid(f"00{number}") == (low <= number <= low + more)
