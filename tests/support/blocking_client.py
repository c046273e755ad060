"""Makes the blocking client, `gateway/client/blocking.py`, from the asynchronous one.

Both clients have the same methods, parameters and retries. What differs is input and output: `connection_async` and
`connection_blocking`, which are written by hand.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

CLIENT: Final = Path(__file__).parents[2] / "gateway/client"
SOURCE: Final = CLIENT / "asynchronous.py"
MADE: Final = CLIENT / "blocking.py"

HEADER: Final = """\
# Made from asynchronous.py by `make blocking-client`; changes belong there.
"""

RULES: Final = (
    # Sentences of docstrings.
    ("The client for asyncio, from which the blocking one is made .*\\.", "The blocking client."),
    ("A client of the gateway for asyncio", "A blocking client of the gateway"),
    ("Create it while an event loop runs", "Threads may share it"),
    (" or `__aiter__`", ""),
    # Types.
    (" \\| AsyncIterable\\[object\\]", ""),
    ("AsyncGenerator\\[(.+), None\\]", r"Generator[\1, None, None]"),
    ("Awaitable\\[(\\w+)\\]", r"\1"),
    ("aio\\.Channel", "grpc.Channel"),
    ("\\bAsync(?=[A-Z])", ""),
    # Syntax.
    ("async (?=def|for|with)", ""),
    ("\\bawait ", ""),
    # Other names.
    ("__aenter__", "__enter__"),
    ("__aexit__", "__exit__"),
    ("\\baclosing\\b", "closing"),
    ("\\basynccontextmanager\\b", "contextmanager"),
    ("\\bimport asyncio\\b", "import time"),
    ("\\basyncio\\.sleep\\b", "time.sleep"),
    ("\\bconnection_async\\b", "connection_blocking"),
)
"""Regular expressions and their replacements, in this order."""


def blocking(asynchronous: str) -> str:
    """Return the source of the blocking client. Raises ValueError if there is a rule that has nothing to replace."""
    text = asynchronous[asynchronous.index('"""') :]
    for pattern, replacement in RULES:
        text, replaced = re.subn(pattern, replacement, text)
        if not replaced:
            raise ValueError(f"nothing matches {pattern!r}")
    # Imports that are not used any more are removed, the others sorted.
    return _ruff("format", _ruff("check", HEADER + text, "--fix-only", "--unsafe-fixes", "--quiet"))


def _ruff(command: str, text: str, *options: str) -> str:
    arguments = [sys.executable, "-m", "ruff", command, *options, "--stdin-filename", str(MADE), "-"]
    run = subprocess.run(arguments, cwd=CLIENT, input=text, text=True, stdout=subprocess.PIPE, check=True)
    return run.stdout


if __name__ == "__main__":
    MADE.write_text(blocking(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
