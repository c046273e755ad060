"""Images of containers, built and run by podman: as root, with a base of Debian's packages, for no registry is asked.

Podman gets a store of its own in the cache; the storage of the machine's user stays as it is.
"""

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support.environments import CACHE, install, locked
from tests.support.programs import program
from tests.support.session import started_with

PROJECT: Final = Path(__file__).parents[2]
IMAGE: Final = "localhost/runs-gateway:test"
RELEASE: Final = "2"
"""Changes with what the base has."""

BASE_PACKAGES: Final = "python3-venv,ca-certificates,libstdc++6,systemd,systemd-sysv"
"""What the base of the Dockerfile has, too, and systemd for its unit."""

CERTIFICATES: Final = Path("/etc/ssl/certs")


class Podman:
    """Podman with a store in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Control groups of both versions at once are beyond crun.
        runtime = ("--runtime", program("runc", "runc"))
        store = ("--root", f"{folder}/store", "--runroot", f"{folder}/run", "--cgroup-manager", "cgroupfs")
        self._command = (program("podman", "podman"), *store, *runtime)

    def output(self, *arguments: str) -> str:
        """Run a command that succeeds, and return what it prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = (*self._command, *arguments)
        return subprocess.run(command, check=False, capture_output=True, text=True, env=started_with(), timeout=600)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start a command."""
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            *self._command, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=started_with()
        )


def built(folder: Path) -> Podman:
    """Podman that has the image of the Dockerfile. Skips the test where it cannot be built, but not in CI."""
    if os.geteuid() != 0:
        pytest.skip("images are built by root")
    podman = Podman(folder)
    podman.output("import", "--quiet", str(base()), "localhost/base:test")
    # Where a proxy stands before the package index, its authority is one of the machine's.
    trusted = ("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro") if CERTIFICATES.exists() else ()
    podman.output(
        *("build", "--quiet", "--isolation", "chroot", "--format", "docker", "--build-arg", "BASE=localhost/base:test"),
        *(*trusted, "--tag", IMAGE, str(PROJECT)),
    )
    return podman


def with_systemd(podman: Podman, folder: Path) -> str:
    """An image whose first process is systemd, with the unit of the gateway, which is enabled; its name."""
    shutil.copytree(PROJECT / "deploy/systemd", folder / "systemd")
    containerfile = f"""
        FROM localhost/base:test
        COPY --from={IMAGE} /opt/runs-gateway /opt/runs-gateway
        COPY systemd/runs-gateway.service /etc/systemd/system/
        COPY systemd/settings.toml /etc/runs-gateway/settings.toml
        RUN systemctl enable runs-gateway
        CMD ["/sbin/init"]
    """
    (folder / "Containerfile").write_text(containerfile, encoding="utf-8")
    name = "localhost/runs-gateway-systemd:test"
    podman.output("build", "--quiet", "--isolation", "chroot", "--tag", name, str(folder))
    return name


def base() -> Path:
    """An archive of the file system that stands for the base of the Dockerfile."""
    file = CACHE / f"image-base/{RELEASE}.tar"
    with locked(file):
        if not file.exists():
            made = file.with_suffix(".new.tar")
            suite = re.search(r"VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(encoding="utf-8"))
            assert suite is not None
            maker = program("mmdebstrap", "mmdebstrap")
            install(maker, "--quiet", "--variant=essential", f"--include={BASE_PACKAGES}", suite[1], str(made))
            made.rename(file)
    return file
