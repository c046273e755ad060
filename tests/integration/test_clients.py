"""The clients in `clients/`, each in its language: they play one scenario, and print the same.

A client whose tools are not on this machine is skipped, except in CI.
"""

import asyncio
import json
import os
import re
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import Blob, BlobType, SubmitParams
from tests.integration.conftest import Start
from tests.support.certificates import Certificates
from tests.support.client_languages import LANGUAGES, PROJECT, ClientLanguage
from tests.support.command_line import PROGRAM
from tests.support.free_port import free_port
from tests.support.scenario_modes import FILE, LEFT_OUT, MODES, RESPELLED, left_out
from tests.support.scenario_places import places

CLIENTS = PROJECT / "clients"

LIBRARIES = {
    "cpp": "clients/cpp/include",
    "go": "clients/go/runs",
    "java": "clients/java/library",
    "python": "gateway/client",
    "ruby": "clients/ruby/lib",
    "rust": "clients/rust/src",
    "typescript": "clients/typescript/src",
}

pytestmark = pytest.mark.slow

Play = Callable[[tuple[str, ...], str], Awaitable[None]]


@pytest.fixture(params=list(LANGUAGES))
def client(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The command that runs the client of a language, which has been built."""
    return built(LANGUAGES[request.param])


def built(language: ClientLanguage) -> tuple[str, ...]:
    """Build a client. Skips the test if that cannot be done here; in CI the test fails."""
    if missing := language.missing():
        reason = f"clients/{language.name}: {', '.join(missing)} not found; needed: {' '.join(missing.values())}"
        assert "CI" not in os.environ, reason
        pytest.skip(reason)
    return language.build()


async def output(*command: str) -> str:
    """What a client prints until it ends, which is in order."""
    code, out, err = await ran(*command)
    if code:  # An assert would shorten what the program has said.
        raise AssertionError(f"{out[-500:]}\n{err[-2000:]}")
    return out


async def ran(*command: str) -> tuple[int | None, str, str]:
    """How a client ends, and what it prints until then: its output, and its errors."""
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'generated'}"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=PROJECT, env=environment, stdout=pipe, stderr=pipe)
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), err.decode(errors="replace")


@pytest.fixture
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    """Plays the scenario in a mode, and checks what a client prints."""

    async def play(client: tuple[str, ...], mode: str) -> None:
        scenario, there, expected = tmp_path / "scenario.json", tmp_path / "places.json", _expected()
        steps = [step for step in _scenario() if left_out(mode, step) is None]
        scenario.write_text(json.dumps(steps))
        async with places(tmp_path, mode, lambda: request.getfixturevalue("temporal_server")) as found:
            there.write_text(json.dumps(found))
            printed = await output(*client, "play", str(scenario), str(there))
        lines = [expected[step["step"]] for step in steps]
        if mode in RESPELLED:
            assert [json.loads(line) for line in printed.split("\n")[:-1]] == [json.loads(line) for line in lines]
        else:
            assert printed == "".join(f"{line}\n" for line in lines)

    return play


async def test_each_client_prints_what_the_scenario_expects(client: tuple[str, ...], play: Play) -> None:
    await play(client, FILE)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != FILE])
async def test_clients_print_the_same_in_every_mode(mode: str, play: Play) -> None:
    """The one of Python does; all play the same calls, so that they would show the same differences."""
    await play(built(LANGUAGES["python"]), mode)


async def test_another_client_prints_the_same_behind_workers(play: Play) -> None:
    """The one of Go, whose library keeps its connections in another way."""
    await play(built(LANGUAGES["go"]), "workers")


def test_what_modes_leave_out_is_in_the_scenario() -> None:
    steps = _scenario()
    for mode, reasons in LEFT_OUT.items():
        assert mode in MODES
        assert {*reasons} <= {step["step"] for step in steps} | {step["do"] for step in steps}


async def test_each_client_keeps_the_promises_of_the_conformance_kit(client: tuple[str, ...]) -> None:
    # Patience is not what is tried: other tests run beside this one.
    report = await output(PROGRAM, "conformance", "--patience", "120", "--client", shlex.join(client))
    assert "client/keeps-numbers-exact" in report


async def test_each_client_refuses_what_is_of_no_use(client: tuple[str, ...], tmp_path: Path) -> None:
    scenario, there, rubbish = tmp_path / "scenario.json", tmp_path / "places.json", tmp_path / "rubbish.pem"
    scenario.write_text('[{"step":"get","at":"nobody","do":"get","runId":"0190f1f8-0000-7000-8000-00000000ffff"}]')
    rubbish.write_text("-----BEGIN NOTHING-----\n")
    authority = Certificates(tmp_path)
    own = authority.client("client", "spiffe://scenario/client")

    async def play(place: dict[str, str]) -> tuple[int | None, str, str]:
        # Without retries: a client that is made all the same prints at once that it cannot reach anybody.
        nobody = {"address": f"127.0.0.1:{free_port()}", "giveUpAfter": 0, **place}
        there.write_text(json.dumps({"nobody": nobody}))
        return await ran(*client, "play", str(scenario), str(there))

    for place in ({"token": "rgw_word"}, {"ca": authority.ca, "cert": own.cert, "key": own.key}):
        code, out, err = await play(place)
        assert (code, json.loads(out)["error"]["code"]) == (0, "UNAVAILABLE"), (place, out, err)
    refused: list[dict[str, str]] = [
        *({"token": f"rgw_secret{end}"} for end in ("\n", "\u00e9", "\0")),
        {"ca": str(rubbish)},
        {"ca": str(tmp_path / "none.pem")},
        {"ca": authority.ca, "cert": own.cert},
        {"ca": authority.ca, "cert": own.cert, "key": str(rubbish)},
        {"ca": authority.ca, "cert": str(rubbish), "key": own.key},
        *({"address": address} for address in ("", "127.0.0.1:port", "http://127.0.0.1:1")),
    ]
    for place in refused:
        code, out, err = await play(place)
        # Nor by a signal, which is less than 0.
        assert code not in {0, 64}, (place, code, out, err)
        assert (code or 0) > 0, (place, code, out, err)
        assert "rgw_secret" not in out + err, (place, out, err)


async def test_each_client_tells_ids_that_are_none_as_json(client: tuple[str, ...], start: Start) -> None:
    gateway = await start()
    ids = ["", "a\nb", 'quoted "', "back\\slash"]
    told = json.loads(await output(*client, "watch", gateway.addresses.grpc, *ids))
    assert told == {run_id: {"error": "INVALID_ARGUMENT"} for run_id in ids}
    assert await output(*client, "watch", gateway.addresses.grpc) == "{}\n"


@pytest.mark.parametrize("scheme", ["http", "connect+http"])
async def test_the_typescript_client_follows_as_a_page_does(start: Start, scheme: str) -> None:
    client = built(LANGUAGES["typescript"])
    gateway = await start()
    flow_id = await gateway.grpc.put_blob(Blob('{"steps":[],"output":{"$input":"$"}}', BlobType.FLOW))
    submitted = await gateway.grpc.submit(SubmitParams(flow_id=flow_id, inputs=["1e400", "9007199254740993"]))
    there = f"{scheme}://{gateway.addresses.http}", submitted.run_id
    results = [
        '{"itemIndex":0,"status":"success","value":1e400}',
        '{"itemIndex":1,"status":"success","value":9007199254740993}',
    ]
    followed = f'{{"status":"success","results":[{",".join(results)}]}}'
    assert await output(*client, "follow", *there) == f"{followed}\n"
    many = await output(*client, "watch", *there, "mine", submitted.run_id)
    assert many == f'{{"{submitted.run_id}":{followed},"mine":{{"error":"INVALID_ARGUMENT"}}}}\n'
    assert json.loads(await output(*client, "set", *there)) == {submitted.run_id: "success"}


def _scenario() -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = json.loads((CLIENTS / "scenario.json").read_text(encoding="utf-8"))
    return steps


def _expected() -> dict[str, str]:
    """The line of each step, in their order."""
    # Strings have separators of lines, too, that end no line here.
    lines = (CLIENTS / "expected.jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    expected = {json.loads(line)["step"]: line for line in lines}
    assert len(expected) == len(lines)
    return expected


def test_each_step_is_expected_once() -> None:
    assert [step["step"] for step in _scenario()] == [*_expected()]


def test_each_folder_of_a_client_has_a_row_and_a_readme() -> None:
    folders = {folder.name for folder in CLIENTS.iterdir() if folder.is_dir() and folder.name != "__pycache__"}
    assert folders == {*LANGUAGES}
    assert all((CLIENTS / name / "README.md").exists() for name in folders)
    listed = (CLIENTS / "README.md").read_text(encoding="utf-8")
    assert all(f"[{name}]({name})" in listed for name in folders)


def test_each_call_that_a_readme_shows_is_one_of_the_library() -> None:
    assert {*LIBRARIES} == {*LANGUAGES}
    for name, folder in LIBRARIES.items():
        shown = {*re.findall(r"\bclient\.(\w+)\(", (CLIENTS / name / "README.md").read_text(encoding="utf-8"))}
        files = (file for file in (PROJECT / folder).rglob("*.*") if file.suffix not in {".pyc", ".json"})
        sources = "\n".join(file.read_text(encoding="utf-8") for file in files if file.is_file())
        assert len(shown) >= 3, name
        assert {call for call in shown if not re.search(rf"\b{call}[(<]", sources)} == set(), name
