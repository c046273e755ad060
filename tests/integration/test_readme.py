"""The README: its commands and programs, as they are printed."""

import asyncio
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from textwrap import dedent
from typing import Final

import pytest

from gateway.server.settings_sources import load_serve

ROOT: Final = Path(__file__).parents[2]
BLOCKS: Final = [
    dedent(block).strip("\n")
    for block in re.findall(r"\n\n((?: {4}.*\n|\n)+)", (ROOT / "README.md").read_text(encoding="utf-8"))
]
SETTINGS: Final = {
    f"RUNS_GATEWAY_{front}_ADDRESS": address
    for front, address in (("GRPC", "127.0.0.1:0"), ("HTTP", "127.0.0.1:0"), ("METRICS", "off"))
}


def block(beginning: str) -> str:
    """The one block that begins so."""
    [text] = [text for text in BLOCKS if text.startswith(beginning)]
    return text


class Gateway:
    """The gateway that the README starts, and its addresses in place of the default ones."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._addresses: dict[str, str] = {}

    async def start(self) -> asyncio.subprocess.Process:
        """Run the command of the README that serves, until it is ready. The environment of this test is complete."""
        serve = block("make serve").partition("#")[0].strip()
        process = await self._shell(f"exec {serve} BIN={Path(sys.executable).parent} -o .venv/.ready")
        assert process.stdout is not None
        async for line in process.stdout:
            name, _, value = line.decode().strip().partition(" ")
            self._addresses[name] = value.strip().removeprefix("http://")
            if name == "ready":
                return process
        raise AssertionError(f"has ended with {await process.wait()}")

    async def output(self, command: str) -> str:
        """Run commands, which must succeed, and return what they print."""
        command = command.replace("127.0.0.1:50051", self._addresses["gRPC"])
        command = command.replace("127.0.0.1:8080", self._addresses["HTTP"])
        self._environment["RUNS_GATEWAY_ADDRESS"] = self._addresses["gRPC"]
        process = await self._shell(command)
        output = (await process.communicate())[0].decode()
        assert process.returncode == 0, output
        return output

    async def _shell(self, command: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            "bash", "-euc", command, cwd=ROOT, env=self._environment, stdout=asyncio.subprocess.PIPE
        )


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    gateway = Gateway({**SETTINGS, "HOME": str(tmp_path), "PATH": path})
    process = await gateway.start()
    yield gateway
    process.terminate()
    await process.communicate()


async def test_the_commands_work_as_printed(gateway: Gateway) -> None:
    lines = (await gateway.output(block("export PATH="))).splitlines()
    updates = [json.loads(line) for line in lines if line.startswith("{")]
    assert updates[-1]["status"] == "success"
    state = dict(line.split(maxsplit=1) for line in lines[len(updates) :])
    assert state["state"] == "success"
    assert state["0"].startswith("success")


async def test_runs_are_found_and_ended_as_printed(gateway: Gateway) -> None:
    session, control = block("export PATH="), block("runs-gateway list")
    lines = (await gateway.output(f"{session}\necho CONTROL\n{control}")).partition("CONTROL\n")[2].splitlines()
    last = lines.index("cancelled 0 runs")
    shown = list(map(json.loads, lines[:last]))
    places = [place for place, each in enumerate(shown) if "itemIndex" in each]
    listed, items, tree = shown[: places[0]], shown[places[0] : places[-1] + 1], shown[places[-1] + 1 :]
    assert tree[0] in listed
    assert {run["rootRunId"] for run in tree[1:]} <= {tree[0]["runId"]}
    assert [item["status"] for item in items] == ["success"] * tree[0]["items"]["total"]
    assert [line.split()[0] for line in lines[last + 1 : last + 3]] == ["gateway", "runs"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands use curl")
async def test_runs_are_read_by_json_rpc(gateway: Gateway) -> None:
    session = block("export PATH=")
    single, events = block("curl http://127.0.0.1:8080/ "), block("curl -N")
    output = await gateway.output(f"{session}\necho SINGLE\n{single}\necho\necho EVENTS\n{events}")
    answer, _, stream = output.partition("SINGLE\n")[2].partition("EVENTS\n")
    assert json.loads(answer)["result"]["status"] == "success"
    response = json.loads(stream.rstrip().rpartition("data:")[2])
    assert response["result"] == json.loads(answer)["result"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the command uses curl")
async def test_the_contract_is_called_by_curl(gateway: Gateway) -> None:
    session, listing = block("export PATH="), block("curl http://127.0.0.1:8080/runs.v1")
    output = await gateway.output(f"{session}\necho LISTED\n{listing}")
    runs = json.loads(output.partition("LISTED\n")[2])["runs"]
    assert "RUN_STATE_SUCCESS" in {run["status"] for run in runs}


async def test_the_python_client_works_as_printed(gateway: Gateway, tmp_path: Path) -> None:
    program = block("from gateway.client import").replace("100_000", "100")
    output = await gateway.output(f"{sys.executable} - <<'END'\n{program}\nEND")
    lines = output.splitlines()
    assert "[{'n': 1}, {'price': 12.3}]" in lines[0]
    assert sorted(map(int, (line.split()[0] for line in lines[1:]))) == list(range(100))


def test_the_file_of_settings_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(block("# settings.toml"), encoding="utf-8")
    assert load_serve({}, {}, file).components.keys() == {"/sdk", "/demo"}
