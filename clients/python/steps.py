"""The steps of the scenario, by the calls of the client."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from clients.python.printing import array, failure, members, results, state, summary, text
from gateway.client import (
    CaughtUp,
    GatewayError,
    ItemResult,
    Json,
    ResultOrder,
    RunEvent,
    RunFilter,
    RunsClient,
    RunSet,
    RunSetEvent,
    RunState,
    RunStatus,
    RunUpdate,
)

Step = Mapping[str, Any]


class Steps:
    """Plays steps, each with the client of its place, and remembers what they are called by later ones."""

    def __init__(self, places: Mapping[str, Mapping[str, Any]]) -> None:
        self._places = places
        self._clients: dict[str, RunsClient] = {}
        self._named: dict[str, str] = {}
        self._plays: dict[str, Callable[[RunsClient, Step], dict[str, str]]] = {
            "put": self._put,
            "submit": self._submit,
            "get": self._get,
            "watch": self._watch,
            "watchMany": self._watch_many,
            "results": self._results,
            "set": self._set,
            "cancel": self._cancel,
            "delete": self._delete,
            "list": self._list,
        }

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, *error: object) -> None:
        for client in self._clients.values():
            client.close()

    def play(self, step: Step) -> str:
        """Play a step, and return its line."""
        try:
            told = members(**self._plays[step["do"]](self._client(step["at"]), step))
        except GatewayError as error:
            told = failure(error)
        return f'{{"step":{text(step["step"])},{told[1:]}'

    def _client(self, name: str) -> RunsClient:
        if name not in self._clients:
            place = self._places[name]
            self._clients[name] = RunsClient(
                place["address"],
                retry_for=place.get("giveUpAfter", 60.0),
                ca=place.get("ca"),
                cert=place.get("cert"),
                key=place.get("key"),
                token=place.get("token"),
            )
        return self._clients[name]

    def _put(self, client: RunsClient, step: Step) -> dict[str, str]:
        flow_id = client.put_flow(step["flow"])
        self._named[step.get("as", "")] = flow_id
        return {"flowId": text(flow_id)}

    def _submit(self, client: RunsClient, step: Step) -> dict[str, str]:
        run = client.submit(
            self._id(step, "flow"),
            [Json(given) for given in inputs(step["inputs"])],
            idempotency_key=step.get("key"),
            labels=step.get("labels", {}),
        )
        self._named[step.get("as", "")] = run.run_id
        told = {"flowName": text(run.flow_name), "total": text(run.items.total)}
        if "sameAs" in step:
            told["same"] = text(self._named[step["sameAs"]] == run.run_id)
        return told

    def _get(self, client: RunsClient, step: Step) -> dict[str, str]:
        return state(client.get(self._id(step, "run")))

    def _watch(self, client: RunsClient, step: Step) -> dict[str, str]:
        run_id, reconnected, last = self._id(step, "run"), False, None
        came: list[ItemResult] = []
        watching = client.watch(run_id, include_results=True, heartbeat_interval=step.get("heartbeat", 10.0))
        with closing(watching) as updates:
            for update in updates:
                if last is None and step.get("slow"):
                    client.wait(run_id)
                if update.restarted:
                    came.clear()
                came += update.results
                reconnected |= update.reconnected
                last = update.run
        assert last is not None
        shown = summary(came) if step.get("summary") else results(came)
        return {**state(last), "results": shown, "reconnected": text(reconnected)}

    def _watch_many(self, client: RunsClient, step: Step) -> dict[str, str]:
        run_ids = [*(self._named[name] for name in step["runs"]), *step.get("runIds", ())]
        order, heartbeat = ResultOrder(step.get("order", "byIndex")), step.get("heartbeat", 10.0)
        events = client.watch_many(run_ids, include_results=True, order=order, heartbeat_interval=heartbeat)
        picture, reconnected = collect_many(events)
        shown = summary if step.get("summary") else results
        runs = [
            failure(end)
            if isinstance(end := picture[run_id], GatewayError)
            else members(**state(end), results=shown(end.results or ()))
            for run_id in run_ids
        ]
        return {"runs": array(runs), "reconnected": text(reconnected)}

    def _results(self, client: RunsClient, step: Step) -> dict[str, str]:
        came = list(client.results(self._id(step, "run"), order=ResultOrder(step["order"])))
        return {"results": summary(came) if step.get("summary") else results(came)}

    def _set(self, client: RunsClient, step: Step) -> dict[str, str]:
        with closing(client.watch_set(wanted(step), include_results=step.get("results", False))) as events:
            picture, reconnected = collect(events, lambda runs: is_complete(runs, step["until"]))
        runs = []
        for run in sorted(picture.values(), key=lambda run: run.labels["name"]):
            shown = {"results": results(run.results or ())} if step.get("results") else {}
            runs.append(members(name=text(run.labels["name"]), **state(run), **shown))
        return {"runs": array(runs), "reconnected": text(reconnected)}

    def _cancel(self, client: RunsClient, step: Step) -> dict[str, str]:
        return state(client.cancel(self._id(step, "run"), reason=step.get("reason")))

    def _delete(self, client: RunsClient, step: Step) -> dict[str, str]:
        client.delete(self._id(step, "run"), cancel=step.get("cancel", False))
        return {"deleted": "true"}

    def _list(self, client: RunsClient, step: Step) -> dict[str, str]:
        runs, page_token = [], ""
        while True:
            page = client.runs_page(wanted(step), page_size=step["pageSize"], page_token=page_token, include_total=True)
            runs += page.runs
            page_token = page.next_page_token
            if not page_token:
                return {"runs": text([run.labels["name"] for run in runs]), "total": text(page.total_size)}

    def _id(self, step: Step, kind: str) -> str:
        """Return the id that a step gives, or that of what an earlier one has called so."""
        given = step.get(f"{kind}Id")
        return given if given is not None else self._named[step[kind]]


def inputs(given: list[Any]) -> list[str]:
    """Return the texts of inputs: they are given as such, or many alike by their number and length."""
    texts = []
    for each in given:
        if isinstance(each, str):
            texts.append(each)
        else:
            texts += [f'[{index},"{"x" * each["pad"]}"]' for index in range(each["count"])]
    return texts


def wanted(step: Step) -> RunFilter:
    """Return the filter of a step."""
    return RunFilter(states=map(RunState, step.get("states", ())), labels=step.get("labels", {}))


def collect(
    events: Iterable[RunSetEvent], wanted: Callable[[Mapping[str, RunStatus]], bool]
) -> tuple[Mapping[str, RunStatus], bool]:
    """Follow a set until its picture is complete, and is as it is wanted. Return it, and whether there was a cut."""
    picture, reconnected, caught_up = RunSet(), False, False
    for event in events:
        picture.add(event)
        # After a cut, the set tells what has happened meanwhile, and is complete then.
        caught_up = isinstance(event, CaughtUp) or (caught_up and not event.restarted and not event.reconnected)
        reconnected |= event.reconnected
        if caught_up and wanted(picture.runs):
            break
    return picture.runs, reconnected


def collect_many(
    events: Iterable[tuple[str, RunEvent]],
) -> tuple[Mapping[str, RunStatus | GatewayError], bool]:
    """Follow many runs until each has ended. Return how each did, with its results, and whether there was a cut."""
    picture: dict[str, RunStatus | GatewayError] = {}
    came: defaultdict[str, list[ItemResult]] = defaultdict(list)
    reconnected = False
    for run_id, event in events:
        if isinstance(event, GatewayError):
            picture[run_id] = event
        elif isinstance(event, RunUpdate):
            came[run_id] = [*([] if event.restarted else came[run_id]), *event.results]
            picture[run_id] = replace(event.run, results=came[run_id])
            reconnected |= event.reconnected
    return picture, reconnected


def is_complete(picture: Mapping[str, RunStatus], until: str) -> bool:
    """Return whether a set that is complete has come to where a step follows it to."""
    runs = picture.values()
    return until == "caughtUp" or (not runs if until == "empty" else bool(runs) and all(run.finished for run in runs))
