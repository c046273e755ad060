"""Reads units of systemd."""

import re
import shlex
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Final

from tests.support.programs import program

PACKAGE: Final = "systemd"


class ServiceUnit:
    """The settings of a unit: all values of each, whatever its section."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, list[str]] = defaultdict(list)
        for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
            self._values[name].append(value)

    def __getitem__(self, name: str) -> str:
        [value] = self._values[name]
        return value

    @property
    def command(self) -> list[str]:
        """What it starts."""
        return shlex.split(self["ExecStart"])

    @property
    def environment(self) -> dict[str, str]:
        """The variables that it sets."""
        return dict(text.split("=", 1) for line in self._values["Environment"] for text in shlex.split(line))

    @property
    def system_calls(self) -> set[str]:
        """The names of the system calls that it permits: the first list permits, those with a tilde take away."""
        permitted: set[str] = set()
        for line in self._values["SystemCallFilter"]:
            named = {call for name in line.removeprefix("~").split() for call in _calls(name)}
            permitted = permitted - named if line.startswith("~") else permitted | named | _calls("@default")
        return permitted

    def seconds(self, name: str) -> float:
        """A setting that is a time, in seconds."""
        number, unit = re.fullmatch(r"(\d+)(s|min)", self[name]).groups()  # type: ignore[union-attr]
        return float(number) * {"s": 1, "min": 60}[unit]


def analyzed(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `systemd-analyze`, which needs no systemd that runs."""
    command = [program("systemd-analyze", PACKAGE), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def _calls(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    listed = analyzed("syscall-filter", name).stdout.splitlines()
    names = [line.strip() for line in listed if line.startswith("    ") and not line.strip().startswith("#")]
    assert names, name
    return {call for inner in names for call in _calls(inner)}
