"""Spans of a process, sent to a collector of this test."""

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Mapping

import pytest

from gateway.server.settings import StartError
from gateway.server.trace_export import exported_traces, flush_seconds
from gateway.telemetry import tracing
from tests.support.collector import Collector, grpc_collector, http_collector
from tests.support.command_line import Finished, finish
from tests.support.session import coverage_settings

PROGRAM = """
import asyncio, logging
from gateway.server.trace_export import exported_traces
from gateway.telemetry import tracing
logging.basicConfig(format="%(message)s")
async def main():
    async with exported_traces("otlp"):
        with tracing.span("outer"):
            for _ in range({number}):
                with tracing.span("inner"):
                    pass
asyncio.run(main())
"""


@pytest.fixture(params=["grpc", "http/protobuf"])
async def collector(request: pytest.FixtureRequest) -> AsyncIterator[Collector]:
    opened = grpc_collector() if request.param == "grpc" else http_collector()
    async with opened as made:
        yield made


async def traced_program(environment: Mapping[str, str], number: int = 1) -> Finished:
    settings = {"PATH": os.defpath, **coverage_settings(), **environment}
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM.format(number=number), env=settings, stdout=PIPE, stderr=PIPE
    )
    return await finish(program)


def silent_endpoint() -> str:
    """Where nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return f"http://user:secret@127.0.0.1:{bound.getsockname()[1]}"


async def test_spans_reach_the_collector_as_the_variables_say(collector: Collector) -> None:
    ended = await traced_program(
        {
            **collector.environment,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-key=abc",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test,service.instance.id=one",
        }
    )
    assert ended == (0, "", "")
    assert {span.name for span in collector.spans} == {"outer", "inner"}
    (inner,), (outer,) = collector.named("inner"), collector.named("outer")
    assert inner.parent == outer.span_id
    assert inner.trace_id == outer.trace_id
    assert outer.parent == ""
    assert outer.resource["service.name"] == "runs-gateway"
    assert outer.resource["service.instance.id"] == "one"
    assert outer.resource["deployment.environment"] == "test"
    assert collector.headers["x-key"] == "abc"


async def test_the_name_of_the_service_is_that_of_the_environment(collector: Collector) -> None:
    assert await traced_program({**collector.environment, "OTEL_SERVICE_NAME": "mine"}) == (0, "", "")
    assert {span.resource["service.name"] for span in collector.spans} == {"mine"}


@pytest.mark.parametrize("variables", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_SAMPLER": "always_off"}])
async def test_the_environment_can_turn_spans_off(collector: Collector, variables: dict[str, str]) -> None:
    assert await traced_program({**collector.environment, **variables}) == (0, "", "")
    assert collector.spans == []


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
async def test_a_collector_that_is_away_is_two_lines_in_the_log_at_most(protocol: str) -> None:
    endpoint = silent_endpoint()
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    ended = await traced_program({**variables, "OTEL_EXPORTER_OTLP_TIMEOUT": "60"}, number=5_000)
    assert ended.code == 0
    place = endpoint.replace("user:secret@", "")
    lines = ended.err.splitlines()
    assert len(lines) <= 2, ended.err
    assert all(f"spans could not be sent to the collector at {place} ({protocol})" in line for line in lines)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "expected 'grpc' or 'http/protobuf', got 'http/json'"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "many"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "garbage", "expected http://HOST:PORT"),
        ("OTEL_TRACES_SAMPLER", "nope", "nope"),
        ("OTEL_TRACES_SAMPLER", "traceidratio 2", "OTEL_"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b,c", "OTEL_"),
    ],
)
async def test_a_variable_that_has_no_meaning_is_an_error_of_the_start(
    variable: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, _, argument = value.partition(" ")
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument or "1")
    with pytest.raises(StartError, match=said):
        async with exported_traces("otlp"):
            pass


async def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gateway.server.span_queue", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(StartError, match=r"pip install 'runs-gateway\[otel\]'"):
        async with exported_traces("otlp"):
            pass


async def test_nothing_is_set_up_unless_it_is_asked_for() -> None:
    async with exported_traces("off"):
        assert tracing.tracer is None
    assert flush_seconds("off") == 0
    assert flush_seconds("otlp") > 0
