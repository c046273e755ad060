"""Histories of workflows, as releases wrote them: `tests/data/temporal/RELEASE/NAME.json`, long ones with gzip."""

import gzip
import json
from pathlib import Path
from typing import Any, Final

from temporalio.client import WorkflowHistory

FOLDER: Final = Path(__file__).parents[1] / "data" / "temporal"

LONG: Final = 64 << 10
"""From so many characters on, a history is kept with gzip."""

_HOSTS: Final = "identity"
"""Where a history names the process and the machine that did something."""

_RANDOM: Final = frozenset({"requestId", "taskId"})
"""What no replay reads, and is another one each time."""


def names() -> list[str]:
    """The names of all histories."""
    return sorted(str(file.relative_to(FOLDER)) for file in FOLDER.glob("*/*.json*"))


def read(name: str) -> WorkflowHistory:
    """A history."""
    data = (FOLDER / name).read_bytes()
    return WorkflowHistory.from_json("run", (gzip.decompress(data) if name.endswith(".gz") else data).decode())


def write(history: WorkflowHistory, release: str, name: str) -> Path:
    """Keep a history for a release; what it tells of this machine is left out."""
    text = json.dumps(_without_machine(history.to_json_dict()), indent=1) + "\n"
    file = FOLDER / release / f"{name}.json"
    if len(text) < LONG:
        file.write_text(text)
        return file
    file = file.with_suffix(".json.gz")
    file.write_bytes(gzip.compress(text.encode(), mtime=0))
    return file


def _without_machine(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_machine(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _without_machine(each) for name, each in value.items() if name not in _RANDOM}
    if _HOSTS in kept:
        kept[_HOSTS] = "gateway"
    if kept.get("kind") == "TASK_QUEUE_KIND_STICKY":
        # Its name is made of the identity.
        kept["name"] = "sticky"
    return kept
