"""Makes the blocking client, `gateway/client/blocking.py` and its parts, from the asynchronous one.

Both clients have the same methods, parameters and retries. What differs is input and output, `connection_async` and
`connection_blocking`, and how they pause, `pauses_async` and `pauses_blocking`: these are written by hand.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

CLIENT: Final = Path(__file__).parents[2] / "gateway/client"
MADE: Final = {
    CLIENT / "asynchronous.py": CLIENT / "blocking.py",
    **{CLIENT / f"{part}_async.py": CLIENT / f"{part}_blocking.py" for part in ("calls", "control", "lists", "tokens")},
}
"""The files of the asynchronous client, and what is made from each."""

HEADER: Final = """\
# Made from {} by `make blocking-client`; changes belong there.
"""

RULES: Final = (
    # Sentences of docstrings.
    ("The client for asyncio, from which the blocking one is made .*\\.", "The blocking client."),
    ("A client of the gateway for asyncio", "A blocking client of the gateway"),
    ("\\b(a|the) client for asyncio", r"\1 blocking client"),
    ("Create it while an event loop runs", "Threads may share it"),
    (" or `__aiter__`", ""),
    # Types.
    (" \\| AsyncIterable\\[object\\]", ""),
    ("AsyncGenerator\\[(.+), None\\]", r"Generator[\1, None, None]"),
    ("Awaitable\\[([\\w.]+)\\]", r"\1"),
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
    ("\\b(\\w+)_async\\b", r"\1_blocking"),
)
"""Regular expressions and their replacements, in this order."""


def blocking_client() -> dict[Path, str]:
    """Return what is made, by its files. Raises ValueError if there is a rule that has nothing to replace."""
    unused = {pattern for pattern, _ in RULES}
    made = {}
    for source, file in MADE.items():
        text = source.read_text(encoding="utf-8")
        text = text[text.index('"""') :]
        for pattern, replacement in RULES:
            text, replaced = re.subn(pattern, replacement, text)
            if replaced:
                unused.discard(pattern)
        # Imports that are not used any more are removed, the others sorted.
        text = HEADER.format(source.name) + text
        made[file] = _ruff(file, "format", _ruff(file, "check", text, "--fix-only", "--unsafe-fixes", "--quiet"))
    if unused:
        raise ValueError(f"nothing matches {sorted(unused)}")
    return made


def _ruff(file: Path, command: str, text: str, *options: str) -> str:
    arguments = [sys.executable, "-m", "ruff", command, *options, "--stdin-filename", str(file), "-"]
    run = subprocess.run(arguments, cwd=CLIENT, input=text, text=True, stdout=subprocess.PIPE, check=True)
    return run.stdout


if __name__ == "__main__":
    for file, text in blocking_client().items():
        file.write_text(text, encoding="utf-8")
