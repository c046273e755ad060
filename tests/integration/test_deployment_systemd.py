"""The unit of systemd: what systemd says of it, and the gateway under what it permits."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gateway.server.settings_sources import load_serve
from tests.support import deployment_tools
from tests.support.command_line import PROGRAM, CommandLine, finish
from tests.support.service_unit import ServiceUnit, analyzed

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy/systemd"
EXAMPLES: Final = ROOT / "examples"
TEXT: Final = (FOLDER / "runs-gateway.service").read_text(encoding="utf-8")
UNIT: Final = ServiceUnit(TEXT)
LAUNCHER: Final = ROOT / "tests/support/service_filter.py"
MOST_EXPOSED: Final = 1.5


@pytest.fixture
def manager(home: Path) -> Iterator[socket.socket]:
    """The socket of a service manager, at `notify` in `home`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{home}/notify")
        manager.settimeout(60)
        yield manager


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    file = tmp_path / "runs-gateway.service"
    file.write_text(TEXT.replace(UNIT.command[0], PROGRAM), encoding="utf-8")
    checked = analyzed("verify", "--man=no", file)
    # It looks at the units of the machine, too.
    assert file.name not in checked.stderr, checked.stderr


def test_the_unit_is_hardened() -> None:
    told = analyzed("security", "--offline=true", FOLDER / "runs-gateway.service").stdout
    exposed = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert exposed is not None, told
    assert float(exposed[1]) <= MOST_EXPOSED, told


def test_its_settings_exist_and_it_waits_for_the_end_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, option, file = UNIT.command
    assert (option, file) == ("--config", "/etc/runs-gateway/settings.toml")
    monkeypatch.setenv("XDG_STATE_HOME", UNIT.environment["XDG_STATE_HOME"])
    settings = load_serve({}, UNIT.environment, FOLDER / "settings.toml")
    assert Path(settings.state).parent == Path("/var/lib", UNIT["StateDirectory"])
    assert UNIT.seconds("TimeoutStopSec") >= 2 * (settings.drain_delay + settings.drain_seconds + 5)


async def test_wrong_settings_end_the_gateway_in_the_way_that_the_unit_does_not_try_again(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("drain_dely = 2\n", encoding="utf-8")
    ended = await CommandLine(tmp_path).run("serve", "--config", str(file))
    assert (str(ended.code), UNIT["Restart"]) == (UNIT["RestartPreventExitStatus"], "on-failure")


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one process", "workers"])
async def test_the_gateway_tells_systemd_how_it_does(
    tmp_path: Path, home: Path, manager: socket.socket, options: tuple[str, ...]
) -> None:
    told = {"NOTIFY_SOCKET": f"{home}/notify", "WATCHDOG_USEC": "10000"}
    async with CommandLine(tmp_path).serving("--state", ":memory:", *options, env=told) as serving:
        first = (await asyncio.to_thread(manager.recv, 4096)).decode()
        assert first.startswith(f"READY=1\nSTATUS=gRPC {serving.grpc}, HTTP {serving.http}"), first
        assert await asyncio.to_thread(manager.recv, 4096) == b"WATCHDOG=1"
        serving.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(until, manager, b"STOPPING=1")
        assert (await finish(serving.process)).code == 0


def until(manager: socket.socket, line: bytes) -> None:
    """Read datagrams until one has this line."""
    while line not in manager.recv(4096).split(b"\n"):
        pass


@pytest.fixture(scope="module")
def launcher() -> list[str]:
    """What starts a program with the system calls that the unit permits."""
    return [deployment_tools.tool("python"), str(LAUNCHER), ",".join(sorted(UNIT.system_calls))]


def test_what_the_unit_does_not_permit_fails(launcher: list[str]) -> None:
    refused = {
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "import ctypes, os; os.abort() if ctypes.CDLL(None).unshare(0x10000000) == 0 else exit(1)",
        "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        "import os; os.chroot('/')",
    }
    for program in refused:
        assert subprocess.run([*launcher, sys.executable, "-c", program], check=False).returncode == 1, program


@pytest.mark.parametrize("options", [(), ("--transport", "native"), ("--workers", "2")], ids=str)
async def test_the_gateway_works_with_the_system_calls_that_the_unit_permits(
    tmp_path: Path, launcher: list[str], options: tuple[str, ...]
) -> None:
    command = CommandLine(tmp_path, launcher)
    components = f"/demo={sys.executable} {EXAMPLES}/components_server.py"
    async with command.serving("--state", f"{tmp_path}/runs.db", "--component", components, *options) as serving:
        flow = await command.output("put", f"{EXAMPLES}/flow.yaml")
        done = await command.output("submit", flow, "--inputs", f"{EXAMPLES}/inputs.json", "--wait", "--json")
        assert json.loads(done)["status"] == "success"
        serving.process.terminate()
        assert (await finish(serving.process)).code == 0
