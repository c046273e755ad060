"""Executes the commands of a document as somebody does who follows it: in one shell, in an empty home directory.

The shell is in a network of its own, so that the addresses are those that the document names. A block of `sh` that
begins with a server goes on in the background once it is ready, in place of the servers before it unless it has an
address of its own. A block of `python` or `js` is a program. A block of `text` is what the block before it prints, but
for ids, digests and times, and for what `...` stands for.
"""

import asyncio
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.page_blocks import Block
from tests.support.programs import program

SERVERS: Final = ("runs-gateway serve", "runs-gateway bridge")
MARK: Final = "@@block@@"

_LOOPBACK: Final = (
    "import fcntl, socket, struct\n"
    "fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh', b'lo', 0x41))  # SIOCSIFFLAGS: up and running"
)
"""Brings up the loopback interface, which a new network has, but not up."""

_BEGIN: Final = f"""set -euo pipefail
servers=()
block() {{ printf '\\n{MARK}\\n'; }}
ready() {{ while read -r line <&$fd; do [ "$line" != ready ] || return 0; done; echo "no server" >&2; exit 1; }}
stop() {{ for each in "${{servers[@]}}"; do kill $each || true; done; servers=(); cat <&${{fd:-0}} >/dev/null; }}
trap stop EXIT
"""
_PROGRAMS: Final = {"python": "python3 -", "js": "node --input-type=module -"}
_CHANGING: Final = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID"),
    (r"sha256:[0-9a-f]+(?:\.\.\.)?", "DIGEST"),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
    (r"(?<=\"resumeToken\":\")[^\"]*", "TOKEN"),
)


class Followed(NamedTuple):
    """What became of a session: the output of each block, and what went wrong."""

    outputs: list[str]
    failure: str


def stable(output: str) -> str:
    """An output without what differs from time to time: ids, digests, times, and space at its ends."""
    for pattern, name in _CHANGING:
        output = re.sub(pattern, name, output)
    return "\n".join(line.rstrip() for line in output.strip().splitlines())


def is_like(printed: str, told: str) -> bool:
    """Whether an output is what a page tells of it, where `...` stands for what is left out of a line."""
    pattern = ".*".join(re.escape(part) for part in stable(told).split("..."))
    return re.fullmatch(pattern, stable(printed)) is not None


def script(steps: Sequence[Block], online: int = 0) -> str:
    """The commands of blocks; the first `online` blocks are executed in the network of the machine."""
    parts = [_step(block) for block in steps]
    up = f"{shlex.quote(sys.executable)} -c {shlex.quote(_LOOPBACK)}\n"
    separated = [_BEGIN, up, *parts[online:]]
    if not online:
        return "".join(separated)
    return "".join(
        [_BEGIN, *parts[:online], "trap - EXIT\n", f"exec {_apart()} bash -c {shlex.quote(''.join(separated))}"]
    )


def _step(block: Block) -> str:
    text = block.text.rstrip("\n")
    if block.language in _PROGRAMS:
        text = f"{_PROGRAMS[block.language]} <<'END OF PROGRAM'\n{text}\nEND OF PROGRAM"
    elif text.startswith(SERVERS):
        before = "" if "--grpc-address" in text else "stop\n"
        text = f"{before}exec {{fd}}< <(exec {text}\n)\nservers+=($!)\nready"
    return f"block\n{text}\n"


def _apart() -> str:
    """The command that executes another one in a network of its own."""
    user = "" if os.geteuid() == 0 else "--map-root-user "
    return f"{program('unshare', 'util-linux')} {user}--net --"


async def follow(steps: Sequence[Block], home: Path, environment: Mapping[str, str], online: int = 0) -> Followed:
    """Execute the blocks in an empty directory, which is home."""
    text = script(steps, online)
    command = ["bash", "-c", text] if online else [*_apart().split(), "bash", "-c", text]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=home,
        env={"HOME": str(home), "LC_ALL": "C.UTF-8", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    outputs = out.decode().split(f"\n{MARK}\n")[1:]
    ended = (
        ""
        if process.returncode == 0
        else f"exit code {process.returncode} in block {len(outputs)}: {err.decode()[-2_000:]}"
    )
    return Followed(outputs, ended)
