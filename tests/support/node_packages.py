"""Packages of npm that tests use: those that `tests/integration/node/package.json` names."""

from pathlib import Path
from typing import Final

from tests.support.environments import install, locked
from tests.support.session import say

NODE: Final = Path(__file__).parents[1] / "integration" / "node"


def node_package(name: str) -> Path:
    """The folder of an installed package. All of them are installed if it is not there."""
    folder = NODE / "node_modules" / name
    with locked(NODE / "node_modules"):
        if not folder.exists():
            say("setting up node_modules ...")
            install("npm", "install", "--prefix", str(NODE), "--no-package-lock", "--no-audit", "--no-fund")
    return folder
