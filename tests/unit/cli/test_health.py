"""The command `health`: what it asks, where, and how it ends."""

import socket
import threading
from pathlib import Path

import pytest

from gateway.cli.errors import ExitCode
from gateway.cli.program import run
from tests.support.metrics_page import MetricsPage, metrics_page

WELL = "[+]state ok\n{} check passed\n"


def address_of(page: MetricsPage) -> str:
    return page.url.removeprefix("http://").partition("/")[0]


@pytest.mark.parametrize("probe", ["livez", "readyz", "startupz"])
def test_the_address_comes_from_the_settings_of_the_gateway(probe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with metrics_page(WELL.format(probe)) as page:
        monkeypatch.setenv("RUNS_GATEWAY_HTTP_ADDRESS", address_of(page))
        assert run(["health", *([] if probe == "readyz" else [probe])]) == ExitCode.OK
        assert (page.heads[0]["path"], page.heads[0]["host"]) == (f"/{probe}?verbose", "localhost")


def test_a_gateway_that_listens_on_all_addresses_is_asked_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    with metrics_page(WELL.format("readyz")) as page:
        everywhere = address_of(page).replace("127.0.0.1", "0.0.0.0")
        assert run(["health", "--http-address", everywhere]) == ExitCode.OK
        page.status, page.text = 503, "[-]state failed: the disk is full\nreadyz check failed\n"
        assert run(["health", "--http-address", everywhere]) == ExitCode.UNAVAILABLE
    assert "[-]state failed: the disk is full readyz check failed" in capsys.readouterr().err


def test_a_gateway_on_a_unix_socket(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with metrics_page(WELL.format("livez"), home / "http"):
        assert run(["health", "livez", "--http-address", f"unix:{home}/http"]) == ExitCode.OK
    assert capsys.readouterr().out == WELL.format("livez")


def test_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert run(["health", "--http-address", address, "--timeout", "0.1"]) == ExitCode.UNAVAILABLE
        assert f"no answer at {address}: it took too long" in capsys.readouterr().err
    assert run(["health", "--http-address", address]) == ExitCode.UNAVAILABLE
    assert f"no answer at {address}: Connection refused" in capsys.readouterr().err


@pytest.mark.parametrize("status", [200, 404, 503])
@pytest.mark.parametrize("text", ["", "hi", "ok", "\x1b[31mred", "livez check passed", "x\nreadyz check passed"])
def test_who_is_no_gateway_is_not_well(capsys: pytest.CaptureFixture[str], status: int, text: str) -> None:
    with metrics_page(text) as page:
        page.status = status
        assert run(["health", "--http-address", address_of(page)]) == ExitCode.UNAVAILABLE
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.endswith(f"what answers at {address_of(page)} is no gateway: HTTP {status}\n")


def test_what_steers_terminals_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with metrics_page("[+]\x1b[31m ok\nreadyz check passed\n") as page:
        assert run(["health", "--http-address", address_of(page)]) == ExitCode.OK
    assert "\x1b" not in capsys.readouterr().out


def test_noise_is_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def noise() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4_096)
                connection.sendall(b"\x1b[31mnoise\xff\r\n\r\n")

        thread = threading.Thread(target=noise)
        thread.start()
        assert run(["health", "--http-address", address]) == ExitCode.UNAVAILABLE
        thread.join()
    assert capsys.readouterr().err.endswith(f"no answer at {address}: what is there does not speak HTTP\n")


def test_what_is_no_address_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["health", "--http-address", "http://127.0.0.1:1"]) == ExitCode.USAGE
    assert "--http-address: expected HOST:PORT" in capsys.readouterr().err
