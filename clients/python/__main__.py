"""Plays the scenario of all clients, or follows one run: `python -m clients.python play SCENARIO PLACES`, or
`python -m clients.python follow ADDRESS RUN_ID`.
"""

import json
import sys
from pathlib import Path

from clients.python.printing import failure, folded
from clients.python.steps import Steps
from gateway.client import GatewayError, RunsClient


def main() -> None:
    """Do what the arguments say, and print one line of JSON for each thing."""
    match sys.argv[1:]:
        case ["play", scenario, places]:
            play(Path(scenario), Path(places))
        case ["follow", address, run_id]:
            print(follow(address, run_id))
        case _:
            sys.exit("usage: play SCENARIO PLACES | follow ADDRESS RUN_ID")


def play(scenario: Path, places: Path) -> None:
    """Play each step at its place."""
    with Steps(json.loads(places.read_text(encoding="utf-8"))) as steps:
        for step in json.loads(scenario.read_text(encoding="utf-8")):
            print(steps.play(step), flush=True)


def follow(address: str, run_id: str) -> str:
    """Return what came of a run."""
    try:
        with RunsClient(address) as client:
            return folded(client.wait(run_id, include_results=True))
    except GatewayError as error:
        return failure(error)


if __name__ == "__main__":
    main()
