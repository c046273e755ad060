"""Plays the scenario of all clients, or is a client for the conformance kit."""

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from clients.python.printing import folded, members, text
from clients.python.steps import Steps, collect, collect_many
from gateway.client import GatewayError, RunsClient


def main() -> None:
    """Do what the arguments say, and print one line of JSON for each thing."""
    match sys.argv[1:]:
        case ["play", scenario, places]:
            play(Path(scenario), Path(places))
        case ["follow", address, run_id]:
            print(follow(address, run_id))
        case ["watch", address, *run_ids]:
            print(follow_many(address, run_ids))
        case ["set", address, run_id]:
            print(follow_set(address, run_id))
        case _:
            print(
                "usage: play SCENARIO PLACES | follow ADDRESS RUN_ID | watch ADDRESS RUN_ID... | set ADDRESS RUN_ID",
                file=sys.stderr,
            )
            sys.exit(64)


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
        return members(error=text(error.grpc_status))


def follow_many(address: str, run_ids: Sequence[str]) -> str:
    """Return what came of each of many runs, which are followed on one stream."""
    with RunsClient(address) as client, closing(client.watch_many(run_ids, include_results=True)) as events:
        picture, _ = collect_many(events)
    told = {
        run_id: members(error=text(end.grpc_status)) if isinstance(end, GatewayError) else folded(end)
        for run_id, end in picture.items()
    }
    return members(**told)


def follow_set(address: str, run_id: str) -> str:
    """Return the states of all runs, when a run is among them and has ended."""
    with RunsClient(address) as client, closing(client.watch_set()) as events:
        picture, _ = collect(events, lambda runs: run_id in runs and runs[run_id].finished)
    return text({known: run.status.value for known, run in picture.items()})


if __name__ == "__main__":
    main()
