"""The image of the Dockerfile, built and run without privileges and with a read-only file system; and under systemd."""

import asyncio
import json
import re
import subprocess
import time
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

from gateway.client import AsyncRunsClient
from tests.support import deployment_tools, images
from tests.support.free_port import free_port
from tests.support.images import IMAGE, PROJECT, Podman

FLOW: Final = {"steps": [], "output": {"$input": "$"}}
LIMITS: Final = ("--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")
"""Podman would raise them beyond those of the machine."""
OPTIONS: Final = (
    *("--rm", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges"),
    *(*LIMITS, "--network=host"),
)
NAME: Final = "runs-gateway-test"


def test_the_linter_finds_nothing() -> None:
    subprocess.run([deployment_tools.tool("hadolint"), str(PROJECT / "Dockerfile")], check=True)


def test_the_image_has_the_version_of_the_package() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    dockerfile = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^ARG VERSION=(.*)$", dockerfile, re.MULTILINE) == [version]


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    """Podman that has the image."""
    # Podman wants a path of 50 characters at most, which the folders of tests exceed.
    with TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as folder:
        podman = images.built(Path(folder))
        yield podman
        # What it has mounted would be in the way of those that clean up.
        podman.run("rm", "--all", "--force")
        podman.run("rmi", "--all", "--force")


@asynccontextmanager
async def serving(podman: Podman, *options: str, arguments: tuple[str, ...] = ()) -> AsyncIterator[str]:
    """Run the image until the block is left; the address of gRPC."""
    ports = {name: f"127.0.0.1:{free_port()}" for name in ("GRPC", "HTTP", "METRICS")}
    variables = (f"--env=RUNS_GATEWAY_{name}_ADDRESS={address}" for name, address in ports.items())
    process = await podman.start("run", *OPTIONS, f"--name={NAME}", *variables, *options, IMAGE, *arguments)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while (line := await process.stdout.readline()) != b"ready\n":
                assert line, (await process.communicate())[1]
        yield ports["GRPC"]
    finally:
        await asyncio.to_thread(podman.run, "stop", "--time=20", NAME)
        await process.communicate()
    assert process.returncode == 0


@pytest.mark.slow
async def test_a_gateway_in_a_container_keeps_its_state_in_its_volume(podman: Podman) -> None:
    volume = "--volume=runs-gateway-state:/var/lib/runs-gateway"
    async with serving(podman, volume) as address:
        async with AsyncRunsClient(address, retry_for=0) as client:
            run = await client.submit_and_wait(await client.put_flow(FLOW), [1], idempotency_key="k")
        assert "ok" in await asyncio.to_thread(podman.output, "exec", NAME, "runs-gateway", "health")
        assert await asyncio.to_thread(podman.output, "healthcheck", "run", NAME) == ""
        user = await asyncio.to_thread(podman.output, "exec", NAME, "sh", "-c", "id -u; touch /x || echo read-only")
        assert user.split() == ["10001", "read-only"]
    async with serving(podman, volume) as address, AsyncRunsClient(address, retry_for=0) as client:
        again = await client.submit(await client.put_flow(FLOW), [1], idempotency_key="k")
        assert again.run_id == run.run_id


@pytest.mark.slow
async def test_workers_in_a_container_need_a_place_for_their_sockets(podman: Podman) -> None:
    started = serving(podman, "--tmpfs=/tmp:mode=1777", arguments=("serve", "--workers", "2"))
    async with started as address, AsyncRunsClient(address, retry_for=0) as client:
        assert (await client.submit_and_wait(await client.put_flow(FLOW), [1])).finished


@pytest.mark.slow
def test_a_gateway_that_others_reach_does_not_start_without_identities(podman: Podman) -> None:
    done = podman.run("run", *OPTIONS, IMAGE)
    assert done.returncode == 2
    assert "--insecure" in done.stderr


@pytest.mark.slow
def test_the_image_says_what_it_is(podman: Podman) -> None:
    [image] = json.loads(podman.output("inspect", IMAGE))
    config = image["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert image["Healthcheck"]["Test"] == ["CMD", "runs-gateway", "health"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


@pytest.mark.slow
def test_the_unit_starts_restarts_and_stops_under_systemd(podman: Podman, tmp_path: Path) -> None:
    image, name = images.with_systemd(podman, tmp_path), f"{NAME}-systemd"
    options = ("--systemd=always", "--privileged", "--cgroupns=private", "--network=none", *LIMITS)
    podman.output("run", "--detach", f"--name={name}", *options, image)
    end = time.monotonic() + 60
    while (told := podman.run("exec", name, "systemctl", "is-system-running").stdout.strip()) not in (
        "running",
        "degraded",
    ):
        assert time.monotonic() < end, told

    def unit(*command: str) -> str:
        return podman.output("exec", name, "systemctl", *command, "runs-gateway")

    # It has started when it says so.
    unit("start")
    assert "127.0.0.1:50051" in unit("show", "--property=StatusText")
    assert "ok" in podman.output("exec", name, "/opt/runs-gateway/bin/runs-gateway", "health")
    unit("restart")
    unit("stop")
    ended = unit("show", "--property=Result,ExecMainStatus,ActiveState").splitlines()
    assert {*ended} == {"Result=success", "ExecMainStatus=0", "ActiveState=inactive"}
    # Wrong settings are not tried again.
    podman.output("exec", name, "sed", "-i", "s/drain_delay/drain_dely/", "/etc/runs-gateway/settings.toml")
    assert podman.run("exec", name, "systemctl", "start", "runs-gateway").returncode != 0
    failed = unit("show", "--property=NRestarts,ExecMainStatus,ActiveState").splitlines()
    assert {*failed} == {"NRestarts=0", "ExecMainStatus=2", "ActiveState=failed"}
