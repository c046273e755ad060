"""Idempotency keys: in memory and in a file they keep the same promises; those in a file hold over a restart."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.core.errors import IdempotencyConflict, Unavailable
from gateway.runtimes.embedded.sqlite_journal import SqliteJournal
from gateway.storage import idempotency
from gateway.storage.idempotency import Keys
from gateway.storage.owned_file import StateError


class Engine:
    """Accepts runs when `accepting` is set; fails if told to."""

    def __init__(self) -> None:
        self.runs = 0
        self.arrived = asyncio.Event()
        self.accepting = asyncio.Event()
        self.accepting.set()
        self.failure: Exception | None = None

    async def submit(self) -> str:
        self.arrived.set()
        await self.accepting.wait()
        if self.failure is not None:
            raise self.failure
        self.runs += 1
        return f"run-{self.runs}"


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture(params=["memory", "file"])
async def keys(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Keys]:
    keys = await Keys.open(":memory:" if request.param == "memory" else str(tmp_path / "keys.db"))
    yield keys
    await keys.close()


async def test_a_key_stands_for_one_run_within_its_scope(keys: Keys, engine: Engine) -> None:
    calls = [("", "k"), ("", "k"), ("a", "k"), ("a", "k"), ("", "ak")]
    answers = [await keys.once(scope, key, "mprint", engine.submit) for scope, key in calls]
    assert answers == [("run-1", True), ("run-1", False), ("run-2", True), ("run-2", False), ("run-3", True)]


async def test_a_key_cannot_be_used_with_other_parameters(keys: Keys, engine: Engine) -> None:
    await keys.once("", "k", "mprint", engine.submit)
    with pytest.raises(IdempotencyConflict):
        await keys.once("", "k", "mother", engine.submit)
    assert engine.runs == 1


async def test_a_submit_that_failed_leaves_the_key_free(keys: Keys, engine: Engine) -> None:
    engine.failure = Unavailable("away", retry_after=1.0)
    with pytest.raises(Unavailable, match="away"):
        await keys.once("", "k", "mprint", engine.submit)
    engine.failure = None
    assert await keys.once("", "k", "mother", engine.submit) == ("run-1", True)


async def test_concurrent_calls_wait_for_the_first(keys: Keys, engine: Engine) -> None:
    engine.accepting.clear()
    calls = [asyncio.create_task(keys.once("", "k", name, engine.submit)) for name in ("mprint", "mprint", "mother")]
    await engine.arrived.wait()
    engine.accepting.set()
    first, second, third = await asyncio.gather(*calls, return_exceptions=True)
    assert (first, second) == (("run-1", True), ("run-1", False))
    assert isinstance(third, IdempotencyConflict)


async def test_who_waits_with_other_parameters_has_the_key_when_the_first_failed(keys: Keys, engine: Engine) -> None:
    engine.accepting.clear()
    engine.failure = Unavailable("away", retry_after=1.0)
    first = asyncio.create_task(keys.once("", "k", "mprint", engine.submit))
    await engine.arrived.wait()
    other = Engine()
    second = asyncio.create_task(keys.once("", "k", "mother", other.submit))
    await asyncio.sleep(0)
    engine.accepting.set()
    with pytest.raises(Unavailable):
        await first
    assert await second == ("run-1", True)


async def test_a_submit_goes_on_when_its_caller_leaves(keys: Keys, engine: Engine) -> None:
    engine.accepting.clear()
    leaving = asyncio.create_task(keys.once("", "k", "mprint", engine.submit))
    await engine.arrived.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    engine.accepting.set()
    assert (await keys.once("", "k", "mprint", engine.submit))[0] == "run-1"
    assert engine.runs == 1


async def test_keys_in_a_file_hold_over_a_restart(tmp_path: Path, engine: Engine) -> None:
    path = str(tmp_path / "new" / "keys.db")
    for made in (True, False):
        keys = await Keys.open(path)
        assert await keys.once("scope", "kéy\0", "mprint", engine.submit) == ("run-1", made)
        await keys.close()


async def test_memory_forgets_the_keys_that_were_used_first(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "MEMORY_KEYS", 2)
    keys = await Keys.open(":memory:")
    for key in "abc":
        await keys.once("", key, "mprint", engine.submit)
    assert await keys.once("", "c", "mprint", engine.submit) == ("run-3", False)
    assert await keys.once("", "a", "mprint", engine.submit) == ("run-4", True)
    await keys.close()


async def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    keys = await Keys.open(str(path))
    with pytest.raises(StateError, match="in use by another process") as refused:
        await Keys.open(str(path))
    assert "\n" not in str(refused.value)
    await keys.close()
    with pytest.raises(StateError, match="for another runtime"):
        await SqliteJournal.open(path)
    runs = tmp_path / "runs.db"
    await (await SqliteJournal.open(runs)).close()
    with pytest.raises(StateError, match="for another runtime"):
        await Keys.open(str(runs))
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database" * 100)
    with pytest.raises(StateError, match="cannot use the state"):
        await Keys.open(str(garbage))
    with pytest.raises(StateError, match="cannot open the state"):
        await Keys.open(str(garbage / "keys.db"))


async def test_a_key_that_cannot_be_written_is_told(tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "keys.db"
    keys = await Keys.open(str(path))
    other = sqlite3.connect(path)
    other.execute("DROP TABLE keys")
    other.close()
    with pytest.raises(Unavailable, match="state cannot be"):
        await keys.once("", "k", "mprint", engine.submit)
    await keys.close()


async def test_a_run_that_was_accepted_while_its_key_could_not_be_kept_is_not_submitted_again(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "RETRY_SECONDS", 0.0)
    path = tmp_path / "keys.db"
    keys = await Keys.open(str(path))
    moved = path.with_name("moved.db")

    async def submit() -> str:
        path.rename(moved)
        return await engine.submit()

    first = asyncio.create_task(keys.once("", "k", "mprint", submit))
    while keys.readiness.obstacle is None:  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await keys.once("", "other", "mprint", engine.submit)
    moved.rename(path)
    assert await keys.once("", "k", "mprint", engine.submit) == ("run-1", False)
    assert await first == ("run-1", True)
    assert engine.runs == 1
    await keys.close()


async def test_a_key_of_an_earlier_version_stands_for_any_parameters(keys: Keys, engine: Engine) -> None:
    await keys.once("", "k", "ab" * 32, engine.submit)
    assert await keys.once("", "k", "m" + "cd" * 32, engine.submit) == ("run-1", False)
