"""Lists of runs against a brute-force model, over both journals; deletions and new runs come in between."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.clock import LATEST
from gateway.core.errors import InvalidParams
from gateway.core.model import ItemResult, RunState, RunStatus
from gateway.core.owner import Owner
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.flows.run_ids import RUN_IDS, key_of
from gateway.flows.run_owners import owner_to_json
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded import run_search, sqlite_index
from gateway.runtimes.embedded.journal import Ended
from gateway.runtimes.embedded.run import Run
from tests.support.embedded import Embedded, opened

SECOND: Final = 10**9
START: Final = 1_700_000_000 * SECOND

FLOWS: Final = [f"sha256:{digit * 64}" for digit in "ab"]
NAMES: Final = [None, "", "n", "nightly", "night*"]
LABELS: Final = [None, "", "a", "ab", "abc", "b"]
KEYS: Final = ["team", "tier"]
VALUES: Final = ["", "x", "y"]
OWNERS: Final = [None, Owner("default", "alice"), Owner("team"), Owner("team-a", "alice"), Owner("team-a", "bob")]
NAMESPACES: Final = ["default", "team", "team-a", "nobodys"]
ENDS: Final[list[RunState]] = [RunState.SUCCESS, RunState.FAILED, RunState.CANCELLED]

PLAIN: Final[dict[str, Any]] = {
    "flow": FLOWS[0],
    "name": None,
    "label": None,
    "labels": {},
    "parent": None,
    "after": 1,
    "end": None,
    "how": "at once",
    "owner": None,
}
"""A run without anything special."""

labels: Final = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2)
runs: Final = st.fixed_dictionaries(
    {
        "flow": st.sampled_from(FLOWS),
        "name": st.sampled_from(NAMES),
        "label": st.sampled_from(LABELS),
        "labels": labels,
        "parent": st.none() | st.integers(0, 5),
        "after": st.integers(-3, 5),
        "end": st.sampled_from([None, *ENDS]),
        "how": st.sampled_from(["at once", "with a key", "later"]),
        "owner": st.sampled_from(OWNERS),
    }
)
patterns: Final = st.none() | st.sampled_from(["*", "a", "a*", "ab*", "n", "night*", "c", "z*"])
moments: Final = (
    st.none()
    | st.integers(-5, 40).map(lambda seconds: START + seconds * SECOND)
    | st.sampled_from([-LATEST, 0, LATEST])
)
filters: Final = st.fixed_dictionaries(
    {},
    optional={
        "states": st.lists(st.sampled_from(list(RunState)), unique=True).map(tuple),
        "flow_ids": st.lists(st.sampled_from([*FLOWS, f"sha256:{'c' * 64}"]), unique=True).map(tuple),
        "flow_label": patterns,
        "flow_name": patterns,
        "created_after": moments,
        "created_before": moments,
        "parent": st.integers(0, 5),
        "root": st.integers(0, 5),
        "roots_only": st.booleans(),
        "labels": labels,
        "namespace": st.sampled_from(NAMESPACES),
    },
)


class Model:
    """Runs as plain statuses, oldest first."""

    def __init__(self, embedded: Embedded) -> None:
        self._embedded = embedded
        self._moment = START
        self._submitted = 0
        self.runs: list[RunStatus] = []

    async def submit(self, given: dict[str, Any]) -> None:
        """Accept a run, and keep how it must be listed."""
        self._moment += given["after"] * SECOND
        parent = self._at(given["parent"])
        self._submitted += 1
        record = RunRecord(
            run_id=RUN_IDS.next(self._moment),
            flow_id=given["flow"],
            flow_name=given["name"],
            flow_label=given["label"],
            total=1,
            max_concurrency=None,
            overrides=None,
            variables="{}",
            observability=None,
            scope="",
            key=str(self._submitted) if given["how"] == "with a key" else None,
            fingerprint="",
            created_at=self._moment,
            depth=0 if parent is None else parent.depth + 1,
            root_id=None if parent is None else parent.root_run_id or parent.run_id,
            parent_id=None if parent is None else parent.run_id,
            labels="{" + ",".join(f'"{key}":"{value}"' for key, value in given["labels"].items()) + "}"
            if given["labels"]
            else None,
            owner=None if given["owner"] is None else owner_to_json(given["owner"]),
        )
        await self._create(record, given["end"], given["how"])
        self.runs.append(await self._status(record.run_id))

    async def delete(self, run: RunStatus) -> None:
        """Delete a run."""
        await self._embedded.runtime.delete(run.run_id, cancel=False)
        self.runs.remove(run)

    async def _create(self, record: RunRecord, end: RunState | None, how: str) -> None:
        journal = self._embedded.journal
        if end is None:
            await journal.create(record, ["1"])
            run = Run(record, epoch=journal.epoch)
            self._embedded.runtime._table.keep(run)
            if how == "later":
                run.start(0)
            return
        success, failed = int(end is RunState.SUCCESS), int(end is RunState.FAILED)
        cancelled = 1 - success - failed
        outcome = Outcome(end, success, failed, self._moment, cancelled)
        results = [ItemResult(item_index=0, status=end, value="1", completed_at=1)][cancelled:]
        if how == "later":
            await journal.create(record, ["1"])
            await journal.complete(record.run_id, [], outcome)
        else:
            await journal.create(record, (), Ended(outcome, results))

    async def _status(self, run_id: str) -> RunStatus:
        return (await self._embedded.runtime.get(run_id)).status

    def _at(self, number: int | None) -> RunStatus | None:
        return self.runs[number] if number is not None and number < len(self.runs) else None

    def filter(self, given: dict[str, Any]) -> RunFilter:
        """A filter; parents and roots are named by the number of the run."""
        fields = dict(given)
        for name in ("parent", "root"):
            if name in fields:
                run = self._at(fields.pop(name))
                fields[f"{name}_run_id"] = "0" * 36 if run is None else run.run_id
        return RunFilter(**fields)

    def matching(self, wanted: RunFilter, order: RunOrder) -> list[RunStatus]:
        """The runs that match, in order."""
        runs = self.runs[::-1] if order is RunOrder.NEWEST_FIRST else self.runs
        return [run for run in runs if wanted.matches(run)]


@asynccontextmanager
async def models() -> AsyncIterator[list[tuple[Embedded, Model]]]:
    """A model of each kind of state."""
    with TemporaryDirectory() as folder:
        async with opened() as memory, opened(Path(folder) / "state.db") as file:
            yield [(each, Model(each)) for each in (memory, file)]


async def pages(embedded: Embedded, wanted: RunFilter, order: RunOrder, limit: int) -> AsyncIterator[list[RunStatus]]:
    cursor = ""
    while True:
        page = await embedded.runtime.list_runs(wanted, order, cursor, limit)
        assert len(page.runs) == limit if page.cursor else len(page.runs) <= limit
        yield page.runs
        if not (cursor := page.cursor):
            return


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(runs, max_size=12), st.lists(filters, min_size=1, max_size=8), st.integers(1, 5))
def test_lists_are_what_a_model_lists(given_runs: list[Any], given_filters: list[Any], limit: int) -> None:
    async def body() -> None:
        async with models() as both:
            for embedded, model in both:
                for run in given_runs:
                    await model.submit(run)
                for given_filter in given_filters:
                    for order in RunOrder:
                        wanted = model.filter(given_filter)
                        expected = model.matching(wanted, order)
                        listed = [run async for page in pages(embedded, wanted, order, limit) for run in page]
                        assert listed == expected
                        assert await embedded.runtime.count_runs(wanted) == len(expected)

    asyncio.run(body())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(runs, min_size=1, max_size=10), filters, st.data())
def test_pages_have_all_runs_that_exist_throughout_and_none_twice(
    given_runs: list[Any], given_filter: dict[str, Any], data: st.DataObject
) -> None:
    """Between two pages, runs are deleted and others are submitted."""

    async def body() -> None:
        async with models() as both:
            for embedded, model in both:
                for run in given_runs:
                    await model.submit(run)
                wanted, order = model.filter(given_filter), data.draw(st.sampled_from(list(RunOrder)))
                before = model.matching(wanted, order)
                listed = []
                async for page in pages(embedded, wanted, order, data.draw(st.integers(1, 4))):
                    listed += page
                    ended = [run for run in model.runs if run.status.terminal]
                    if ended:
                        await model.delete(data.draw(st.sampled_from(ended)))
                    if len(listed) < 20:
                        await model.submit(data.draw(runs))
                after = model.matching(wanted, order)
                ids = [run.run_id for run in listed]
                assert len(set(ids)) == len(ids)
                assert ids == sorted(ids, reverse=order is RunOrder.NEWEST_FIRST)
                assert [run for run in listed if run in after and run in before] == [
                    run for run in before if run in after
                ]
                assert [run async for page in pages(embedded, wanted, order, 3) for run in page] == after

    asyncio.run(body())


@pytest.fixture(params=["memory", "sqlite"])
async def embedded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Embedded]:
    async with opened(None if request.param == "memory" else tmp_path / "state.db") as embedded:
        await embedded.start()
        yield embedded


async def test_a_submitted_run_is_listed_at_once(embedded: Embedded) -> None:
    for number in range(3):
        run = await embedded.submit({"name": "n", "output": number}, 1, flow_label="here", labels={"a": str(number)})
        wanted = RunFilter(labels={"a": str(number)}, flow_label="he*", states=(RunState.SUCCESS,), roots_only=True)
        page = await embedded.runtime.list_runs(wanted, RunOrder.NEWEST_FIRST, "", 10)
        assert [listed.run_id for listed in page.runs] == [run.run_id]


async def test_a_cursor_that_is_not_ours_is_refused(embedded: Embedded) -> None:
    with pytest.raises(InvalidParams, match="page_token"):
        await embedded.runtime.list_runs(RunFilter(), RunOrder.NEWEST_FIRST, "z", 10)


async def test_a_run_that_ends_between_two_steps_is_neither_missed_nor_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run moves from one term of the index to another while a list of both states is read."""
    monkeypatch.setattr(run_search, "STEP", 2)
    async with opened(tmp_path / "state.db") as embedded:
        model = Model(embedded)
        for number in range(20):
            await model.submit({**PLAIN, "end": None if number % 2 else RunState.FAILED})
        unfinished = [run.run_id for run in model.runs if not run.status.terminal]
        wanted = RunFilter(states=(RunState.PENDING, RunState.FAILED, RunState.CANCELLED))
        found = []
        async with aclosing(embedded.journal.search(wanted, None, newest_first=False)) as parts:
            async for part in parts:
                found += [run.record.run_id for run in part]
                for run_id in (unfinished.pop(), unfinished.pop(0)) if len(unfinished) > 1 else ():
                    outcome = Outcome(RunState.CANCELLED, 0, 0, 1, 1)
                    await embedded.journal.complete(run_id, [], outcome)
                    del embedded.runtime._table.active[run_id]
        assert found == [run.run_id for run in model.runs]


async def test_many_terms_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_search, "TERMS_TOGETHER", 4)
    monkeypatch.setattr(sqlite_index, "TERMS_TOGETHER", 4)
    async with opened(tmp_path / "state.db") as embedded:
        await embedded.start()
        ids = []
        for number in range(60):
            run = await embedded.submit({"output": 1}, 1, flow_label=f"label-{number % 23}")
            ids.append(run.run_id)
        for order in RunOrder:
            found = [
                run.run_id async for page in pages(embedded, RunFilter(flow_label="label-*"), order, 7) for run in page
            ]
            assert found == (ids[::-1] if order is RunOrder.NEWEST_FIRST else ids)
        both = RunFilter(flow_label="label-1*", states=(RunState.SUCCESS,))
        wanted = [number for number in range(60) if str(number % 23).startswith("1")]
        page = await embedded.runtime.list_runs(both, RunOrder.OLDEST_FIRST, "", 100)
        assert [run.run_id for run in page.runs] == [ids[number] for number in wanted]


async def test_runs_of_many_namespaces_are_counted(embedded: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_search, "PROBED", 2)
    model = Model(embedded)
    for number in range(12):
        given = {"owner": Owner(f"team-{number % 6}"), "labels": {"team": "x", "tier": "xy"[number % 2]}}
        given["label"] = "ab"[number // 6]
        await model.submit({**PLAIN, **given, "end": RunState.SUCCESS})
    for labels, expected in (({"team": "x", "tier": "y"}, 3), ({"team": "x"}, 6), ({"team": "y", "tier": "y"}, 0)):
        wanted = RunFilter(labels=labels, flow_label="a", states=(RunState.SUCCESS,))
        assert await embedded.runtime.count_runs(wanted) == expected
        assert len((await embedded.runtime.list_runs(wanted, RunOrder.NEWEST_FIRST, "", 100)).runs) == expected


async def test_runs_of_before_are_listed_and_only_those_of_the_page_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with opened(path) as embedded:
        flow_id = await embedded.put({"output": 1})
        model = Model(embedded)
        for _ in range(20):
            await model.submit({**PLAIN, "flow": flow_id})
    async with opened(path) as embedded:
        page = await embedded.runtime.list_runs(RunFilter(states=(RunState.PENDING,)), RunOrder.NEWEST_FIRST, "", 3)
        assert [run.run_id for run in page.runs] == [run.run_id for run in model.runs[:-4:-1]]
        assert len(embedded.runtime._table.active) <= 4
        assert await embedded.runtime.count_runs(RunFilter(states=(RunState.PENDING,))) == 20
        assert len(embedded.runtime._table.active) <= 4
        nothing = await embedded.runtime.list_runs(RunFilter(states=(RunState.RUNNING,)), RunOrder.NEWEST_FIRST, "", 3)
        assert nothing.runs == []


def test_keys_are_the_numbers_in_ids() -> None:
    earlier, later = (key_of(RUN_IDS.next(moment)) for moment in (START, START + 1))
    assert earlier is not None
    assert later is not None
    assert earlier < later
    assert key_of("0192aaaa-0000-4000-8000-000000000000") is None
    assert key_of("run-1") is None
