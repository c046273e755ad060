"""Where the keys of an issuer come from: a file, or a URL that is asked again before its answer is old."""

import asyncio
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Final

from aiohttp import ClientResponse, ClientSession, ClientTimeout

from gateway.access.issuer_tokens import KeySource
from gateway.access.key_set import MAX_KEY_SET, KeySet
from gateway.access.watched_file import WatchedFile
from gateway.concurrency.single_flight import SingleFlight
from gateway.concurrency.tasks import create_shared_task
from gateway.core.backoff import Backoff
from gateway.core.errors import Unavailable
from gateway.peers.http.client import client_session, is_success, read_body, request
from gateway.peers.http.errors import HttpFailure

FETCH_SECONDS: Final = 5.0
"""How long one answer is waited for."""

LEAST_PAUSE: Final = 5.0
"""Seconds from one question to the next, however many tokens name keys that are not known."""

_LEAST_AGE: Final = 60.0
_USUAL_AGE: Final = 3_600.0
_MOST_AGE: Final = 86_400.0
"""For how long keys are taken for fresh, in seconds: what the answer says, within bounds; or an hour."""

_EARLY: Final = 0.8
"""After which part of that time they are fetched anew."""

_LAST_DELAY: Final = 300.0
_MAX_AGE: Final = re.compile(r"(?:^|[,\s])max-age=([0-9]{1,9})\b", re.IGNORECASE)

_log = logging.getLogger(__name__)


class FileKeys(KeySource):
    """The keys in a file. Who follows the file calls its `look`."""

    def __init__(self, file: WatchedFile[KeySet]) -> None:
        self._file = file

    @property
    def keys(self) -> KeySet:
        return self._file.value

    async def refresh(self) -> None:
        """Do nothing: a file that has changed is read within a second."""


class FetchedKeys(KeySource):
    """The keys at a URL. Those that were fetched last count for as long as there are no others.

    `read` makes keys of an answer, and raises ValueError if that is broken.
    """

    def __init__(self, url: str, read: Callable[[bytes], KeySet]) -> None:
        self._url = url
        self._read = read
        self._changed: Callable[[], None] = _nothing
        self._keys = KeySet()
        self._digest = b""
        self._age = 0.0
        self._asked = -LEAST_PAUSE
        self._session: ClientSession | None = None
        self._flights: SingleFlight[None, [], bool] = SingleFlight(self._fetch)
        self._keeper: asyncio.Task[None] | None = None

    @property
    def keys(self) -> KeySet:
        return self._keys

    async def start(self, changed: Callable[[], None]) -> None:
        """Fetch the keys, and do so again and again. Where they cannot be fetched, there are none until they can.

        `changed` is called when there are others.
        """
        self._changed = changed
        self._session = client_session(idle_seconds=0, limit=1)
        fetched = await self._flights.get(None)
        self._keeper = create_shared_task(self._keep(fetched=fetched))

    async def refresh(self) -> None:
        if time.monotonic() - self._asked < LEAST_PAUSE and None not in self._flights:
            return
        with suppress(Unavailable):
            await self._flights.get(None)

    async def close(self) -> None:
        """Fetch no more."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        await self._flights.close()
        if self._session is not None:
            await self._session.close()

    async def _keep(self, *, fetched: bool) -> None:
        backoff = Backoff(LEAST_PAUSE, _LAST_DELAY)
        while True:
            if fetched:
                backoff.reset()
            await asyncio.sleep(self._age * _EARLY if fetched else backoff.next())
            fetched = await self._flights.get(None)

    async def _fetch(self, _: None) -> bool:
        """Whether keys could be fetched. If not, the log tells why, and those of before count."""
        assert self._session is not None
        self._asked = time.monotonic()
        headers, times = {"Accept": "application/json"}, ClientTimeout(total=FETCH_SECONDS)
        try:
            async with request(self._session, "GET", self._url, headers=headers, times=times) as response:
                if not is_success(response):
                    raise ValueError(f"the answer has the status {response.status}")
                content = await read_body(response, MAX_KEY_SET)
                self._age = _age_of(response)
            keys = await asyncio.to_thread(self._read, content)
        except (HttpFailure, ValueError) as error:
            _log.error("the keys of the issuer of JWTs, at %s, cannot be fetched: %s", self._url, error)
            return False
        digest = sha256(content).digest()
        if digest != self._digest:
            self._digest, self._keys = digest, keys
            self._changed()
        return True


def _nothing() -> None:
    """Nobody is to be told."""


def _age_of(response: ClientResponse) -> float:
    """For how long an answer is fresh, in seconds."""
    said = _MAX_AGE.search(response.headers.get("Cache-Control", ""))
    return min(max(float(said[1]), _LEAST_AGE), _MOST_AGE) if said else _USUAL_AGE
