"""The clients in `clients/`, each in its language: they play one scenario, and print the same.

A client whose tools are not on this machine is skipped, except in CI.
"""

import asyncio
import json
import os
import re
import shlex
from pathlib import Path

import pytest

from gateway.core.model import Blob, BlobType, SubmitParams
from tests.integration.conftest import Start
from tests.support.client_languages import LANGUAGES, PROJECT, ClientLanguage
from tests.support.command_line import PROGRAM
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
    """What a client prints until it ends."""
    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'generated'}"}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=PROJECT, env=environment, stdout=pipe, stderr=pipe)
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (out[-1000:], err.decode(errors="replace"))
    return out.decode()


async def test_each_client_prints_what_the_scenario_expects(client: tuple[str, ...], tmp_path: Path) -> None:
    async with places(tmp_path) as there:
        file = tmp_path / "places.json"
        file.write_text(json.dumps(there))
        printed = await output(*client, "play", str(CLIENTS / "scenario.json"), str(file))
    assert printed.split("\n") == (CLIENTS / "expected.jsonl").read_text(encoding="utf-8").split("\n")


async def test_each_client_keeps_the_promises_of_the_conformance_kit(client: tuple[str, ...]) -> None:
    # Patience is not what is tried: other tests run beside this one.
    report = await output(PROGRAM, "conformance", "--patience", "120", "--client", shlex.join(client))
    assert "client/keeps-numbers-exact" in report


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
    assert await output(*client, "follow", *there) == f'{{"status":"success","results":[{",".join(results)}]}}\n'
    assert json.loads(await output(*client, "set", *there)) == {submitted.run_id: "success"}


def test_each_step_is_expected_once() -> None:
    steps = [step["step"] for step in json.loads((CLIENTS / "scenario.json").read_text(encoding="utf-8"))]
    # Strings have separators of lines, too, that end no line here.
    expected = (CLIENTS / "expected.jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    assert [json.loads(line)["step"] for line in expected] == steps
    assert len({*steps}) == len(steps)


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
