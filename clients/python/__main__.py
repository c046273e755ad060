"""Plays the scenario of all clients, or is a client for the conformance kit."""

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from clients.python.printing import folded, members, text
from clients.python.steps import Steps, collect
from gateway.client import GatewayError, ItemResult, RunEnded, RunsClient, RunStatus, RunUpdate


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
    last: dict[str, RunStatus] = {}
    results: defaultdict[str, list[ItemResult]] = defaultdict(list)
    told: dict[str, str] = {}
    with RunsClient(address) as client, closing(client.watch_many(run_ids, include_results=True)) as events:
        for run_id, event in events:
            if isinstance(event, RunUpdate):
                results[run_id] = [*([] if event.restarted else results[run_id]), *event.results]
                last[run_id] = event.run
            elif isinstance(event, RunEnded):
                told[run_id] = folded(replace(last[run_id], results=results[run_id]))
            else:
                told[run_id] = members(error=text(event.grpc_status))
    return members(**told)


def follow_set(address: str, run_id: str) -> str:
    """Return the states of all runs, when a run is among them and has ended."""
    with RunsClient(address) as client, closing(client.watch_set()) as events:
        picture, _ = collect(events, lambda runs: run_id in runs and runs[run_id].finished)
    return text({known: run.status.value for known, run in picture.items()})


if __name__ == "__main__":
    main()
