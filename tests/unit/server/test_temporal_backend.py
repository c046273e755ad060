"""What a gateway says without the SDK of Temporal, which is an extra, and that nothing else needs it."""

import subprocess
import sys
from contextlib import AsyncExitStack

import pytest

from gateway.server.settings import ServeSettings, StartError
from gateway.server.temporal_backend import open_connection
from gateway.server.temporal_sdk import check_sdk
from gateway.telemetry.gateway_metrics import UPSTREAM_UP
from tests.support.free_port import free_port


def test_without_the_sdk_the_start_fails_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    check_sdk()
    monkeypatch.setitem(sys.modules, "temporalio", None)
    with pytest.raises(StartError) as told:
        check_sdk()
    assert str(told.value) == (
        "a Temporal server needs the extra 'temporal': pip install 'runs-gateway[temporal]' (--runtime)"
    )


def test_nothing_else_imports_the_sdk() -> None:
    modules = "gateway.server.app, gateway.server.temporal_backend, gateway.cli.program, gateway.testing"
    code = f"import sys; sys.modules['temporalio'] = None; import {modules}"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


async def test_a_gateway_starts_while_the_engine_is_away(caplog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.server.temporal_backend.CONNECT_SECONDS", 0.0)
    settings = ServeSettings(runtime=f"temporal://127.0.0.1:{free_port()}/default")
    async with AsyncExitStack() as stack:
        connection = await open_connection(settings, stack)
        assert connection.presence.is_away()
        assert (("temporal",), [0]) in UPSTREAM_UP.family().samples
    assert "cannot be used" in caplog.messages[0]
