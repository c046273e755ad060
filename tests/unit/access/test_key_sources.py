"""Where the keys of an issuer come from."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from gateway.access.key_set import MAX_KEY_SET, read_key_set
from gateway.access.key_sources import FetchedKeys
from tests.support.identities import Issuer, key_set

ONE, TWO = Issuer("ES256", "one"), Issuer("ES256", "two")


class KeyServer:
    """Answers with what it is told to, and counts."""

    def __init__(self) -> None:
        self.answer: bytes | int = key_set(ONE).encode()
        self.headers: dict[str, str] = {}
        self.asked = 0
        self.asked_now = asyncio.Event()
        self.held: asyncio.Event | None = None

    async def serve(self, _: web.Request) -> web.Response:
        self.asked += 1
        self.asked_now.set()
        if self.held is not None:
            await self.held.wait()
        if isinstance(self.answer, int):
            return web.Response(status=self.answer, headers={"Location": "/other"})
        return web.Response(body=self.answer, headers=self.headers)


@pytest.fixture
def server() -> KeyServer:
    return KeyServer()


@pytest.fixture
async def source(server: KeyServer) -> AsyncIterator[FetchedKeys]:
    application = web.Application()
    application.router.add_get("/keys", server.serve)
    async with TestServer(application) as running:
        made = FetchedKeys(str(running.make_url("/keys")), partial(read_key_set, algorithms=("ES256",)))
        yield made
        await made.close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between questions for keys that are not known."""
    monkeypatch.setattr("gateway.access.key_sources.LEAST_PAUSE", 0.0)


class Changes:
    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> None:
        self.number += 1


@pytest.mark.usefixtures("pauses")
async def test_keys_are_fetched_and_fetched_anew(server: KeyServer, source: FetchedKeys) -> None:
    changes = Changes()
    await source.start(changes)
    assert [key.kid for key in source.keys.find("ES256", None)] == ["one"]
    server.answer = key_set(TWO).encode()
    await source.refresh()
    assert [key.kid for key in source.keys.find("ES256", None)] == ["two"]
    await source.refresh()
    assert (changes.number, server.asked) == (2, 3)


async def test_tokens_with_unknown_keys_cause_few_questions(
    server: KeyServer, source: FetchedKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    await source.start(Changes())
    for _ in range(10):
        await source.refresh()
    assert server.asked == 1
    moment = time.monotonic() + 6
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    server.held = asyncio.Event()
    server.asked_now.clear()
    waiting = [asyncio.create_task(source.refresh()) for _ in range(100)]
    await server.asked_now.wait()
    server.held.set()
    await asyncio.gather(*waiting)
    assert server.asked == 2


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("broken", [500, 302, 404, b"no keys", b"x" * (MAX_KEY_SET + 1), b'{"keys": []}'])
async def test_old_keys_stay_while_there_are_no_new_ones(
    server: KeyServer, source: FetchedKeys, broken: bytes | int, caplog: pytest.LogCaptureFixture
) -> None:
    changes = Changes()
    await source.start(changes)
    server.answer = broken
    await source.refresh()
    assert [key.kid for key in source.keys.find("ES256", None)] == ["one"]
    assert changes.number == 1
    assert len(caplog.records) == 1
    assert "the keys of the issuer" in caplog.text


async def test_the_log_says_in_words_why_keys_cannot_be_fetched(caplog: pytest.LogCaptureFixture) -> None:
    url = f"https://127.0.0.1:{unused_port()}/keys"
    source = FetchedKeys(url, partial(read_key_set, algorithms=("ES256",)))
    await source.start(Changes())
    await source.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"the keys of the issuer of JWTs, at {url}, cannot be fetched: no connection: Connection refused"
    ]


async def test_it_starts_without_keys_and_gets_them_by_and_by(
    server: KeyServer, source: FetchedKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.access.key_sources.LEAST_PAUSE", 0.001)
    server.answer = 503
    changed = asyncio.Event()
    await source.start(changed.set)
    assert source.keys.find("ES256", None) == []
    server.answer = key_set(ONE).encode()
    await changed.wait()
    assert len(source.keys.find("ES256", "one")) == 1


async def test_keys_are_fetched_before_their_answer_is_old(
    server: KeyServer, source: FetchedKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.access.key_sources._LEAST_AGE", 0.001)
    server.headers = {"Cache-Control": "public, max-age=0"}
    changed = asyncio.Event()
    await source.start(changed.set)
    changed.clear()
    server.answer = key_set(TWO).encode()
    await changed.wait()
    assert [key.kid for key in source.keys.find("ES256", None)] == ["two"]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("max-age=600", 600),
        ("no-cache, Max-Age=7200", 7_200),
        ("max-age=1", 60),
        ("max-age=999999999", 86_400),
        ("s-maxage=5", 3_600),
        ("max-age=x", 3_600),
        ("", 3_600),
    ],
)
async def test_how_long_keys_are_fresh_is_bounded(
    server: KeyServer, source: FetchedKeys, said: str, seconds: float
) -> None:
    server.headers = {"Cache-Control": said}
    await source.start(Changes())
    assert source._age == seconds


async def test_a_server_that_does_not_answer_is_waited_for_a_while(
    server: KeyServer, source: FetchedKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.access.key_sources.FETCH_SECONDS", 0.01)
    server.held = asyncio.Event()
    await source.start(Changes())
    assert source.keys.find("ES256", None) == []
    server.held.set()
