"""A gateway as a process that a command of the shell can restart, as an operator does: `python -m ... FOLDER`.

What the command has to know is in the folder: arguments, environment and process id. So it works from any process.
"""

import fcntl
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.support.command_line import PROGRAM
from tests.support.free_port import free_port
from tests.support.session import coverage_settings

_START_SECONDS: Final = 60.0
_PLAN, _PID, _LOCK = "plan.json", "pid", "lock"


class RestartedGateway:
    """One gateway. Its address is the same whenever it is started."""

    def __init__(self, folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        folder.mkdir()
        self._folder = folder
        self._command = [sys.executable, "-m", __name__, str(folder)]
        self.grpc = f"127.0.0.1:{free_port()}"
        places = {"HOME": str(folder), "XDG_STATE_HOME": str(folder), "PATH": os.defpath}
        plan = {
            "arguments": [
                *("serve", "--json", "--grpc-address", self.grpc, "--http-address", f"127.0.0.1:{free_port()}"),
                *("--metrics-address", "off", *arguments),
            ],
            "env": {**places, **coverage_settings(), **(env or {})},
        }
        (folder / _PLAN).write_text(json.dumps(plan))

    @property
    def restart_command(self) -> str:
        """The command that restarts it, and ends when it serves again."""
        return shlex.join(self._command)

    def start(self) -> None:
        """Start it, and wait until it takes calls."""
        # The process is no child of this one, which nobody else could wait for.
        subprocess.run(self._command, check=True, timeout=_START_SECONDS)

    def stop(self) -> None:
        """Have it end, whoever has started it last."""
        _stop(self._folder)


def _start(folder: Path) -> None:
    plan = json.loads((folder / _PLAN).read_text())
    with (folder / "log").open("ab") as log, (folder / _LOCK).open("wb") as lock:
        # The process holds the lock until it has ended, whoever its parent is then.
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [PROGRAM, *plan["arguments"]],
            env=plan["env"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=(lock.fileno(),),
            # It outlives the command that restarts it.
            start_new_session=True,
        )
    (folder / _PID).write_text(str(process.pid))
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline(), (folder / "log").read_text(errors="replace")[-3_000:]


def _stop(folder: Path) -> None:
    """Have the process end, if there is one."""
    if (folder / _PID).exists():
        with (folder / _LOCK).open("rb") as lock:
            with suppress(ProcessLookupError):
                os.kill(int((folder / _PID).read_text()), signal.SIGTERM)
            fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / _PID).unlink()


def main() -> None:
    folder = Path(sys.argv[1])
    _stop(folder)
    _start(folder)


if __name__ == "__main__":
    main()
