"""The command `health`: what it asks, where, and how it ends."""

import socket
from pathlib import Path

import pytest

from gateway.cli.errors import ExitCode
from gateway.cli.program import run
from tests.support.metrics_page import MetricsPage, metrics_page


def address_of(page: MetricsPage) -> str:
    return page.url.removeprefix("http://").partition("/")[0]


@pytest.mark.parametrize("probe", ["livez", "readyz", "startupz"])
def test_the_address_comes_from_the_settings_of_the_gateway(probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with metrics_page("ok") as page:
        monkeypatch.setenv("RUNS_GATEWAY_HTTP_ADDRESS", address_of(page))
        assert run(["health", *([] if probe == "readyz" else [probe])]) == ExitCode.OK
        assert (page.heads[0]["path"], page.heads[0]["host"]) == (f"/{probe}?verbose", "localhost")


def test_a_gateway_that_listens_on_all_addresses_is_asked_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    with metrics_page("ok") as page:
        everywhere = address_of(page).replace("127.0.0.1", "0.0.0.0")
        assert run(["health", "--http-address", everywhere]) == ExitCode.OK
        page.status, page.text = 503, "[-]state: the disk is full\nreadyz failed\n"
        assert run(["health", "--http-address", everywhere]) == ExitCode.UNAVAILABLE
    assert "[-]state: the disk is full readyz failed" in capsys.readouterr().err


def test_a_gateway_on_a_unix_socket(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with metrics_page("ok", home / "http"):
        assert run(["health", "livez", "--http-address", f"unix:{home}/http"]) == ExitCode.OK
    assert capsys.readouterr().out == "ok\n"


def test_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert run(["health", "--http-address", address, "--timeout", "0.1"]) == ExitCode.UNAVAILABLE
        assert f"no answer at {address}: it took too long" in capsys.readouterr().err
    assert run(["health", "--http-address", address]) == ExitCode.UNAVAILABLE
    assert f"no answer at {address}: Connection refused" in capsys.readouterr().err


def test_what_is_no_address_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["health", "--http-address", "http://127.0.0.1:1"]) == ExitCode.USAGE
    assert "--http-address: expected HOST:PORT" in capsys.readouterr().err
