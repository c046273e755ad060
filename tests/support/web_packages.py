"""Clients of Connect and gRPC-Web from npm: the contract as they read it, and scripts of pages."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.support.environments import install
from tests.support.node_packages import NODE, node_package

PROJECT: Final = Path(__file__).parents[2]
BUF: Final = NODE / "node_modules" / ".bin" / "buf"

_PACKAGES: Final = (
    "@bufbuild/buf",
    "@connectrpc/connect-node",
    "@connectrpc/connect-web",
    "esbuild",
    "grpc-web",
    "xhr2",
)


def installed() -> None:
    """Have all packages. Skips the test where npm is missing; in CI the test fails."""
    if shutil.which("npm") is None and not os.environ.get("CI"):
        pytest.skip("npm was not found; CI runs this test")
    for name in _PACKAGES:
        node_package(name)


def built_contract(folder: Path) -> Path:
    """The contract in a file, as `buf build` writes it."""
    installed()
    image = folder / "image.binpb"
    install(str(BUF), "build", str(PROJECT), "--path", str(PROJECT / "protos" / "runs"), "--output", str(image))
    return image


def bundled(script: str, folder: Path) -> Path:
    """A script with all that it imports, as one file for browsers."""
    installed()
    file = folder / script
    esbuild = NODE / "node_modules" / ".bin" / "esbuild"
    install(str(esbuild), str(NODE / script), "--bundle", "--format=esm", "--log-level=warning", f"--outfile={file}")
    return file
