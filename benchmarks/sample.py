"""The flow, the input and the runs that every benchmark uses."""

import json
from typing import Final

FLOW: Final = '{"name":"echo","steps":[],"output":{"$input":"$"}}'
"""A flow without steps."""

FLOW_ID: Final = "sha256:" + "0" * 64
"""The flow of runs that only change."""

INPUT: Final = json.dumps({"album": "summer", "photos": [f"photo-{number:04}.jpeg" for number in range(9)]})
"""An input of 200 bytes."""

ITEMS: Final = 1_000_000
"""The number of items of a run that only changes."""


def run_id(number: int) -> str:
    """Return the id of a run that only changes."""
    return f"00000000-0000-4000-8000-{number:012x}"


RESULTS_RUN_ID: Final = run_id(0xFFFFFFFF)
"""The reference's finished run with results."""
