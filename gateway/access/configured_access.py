"""The access of a gateway with identities: tokens of a file, and others."""

import asyncio
import time
from contextlib import suppress
from hashlib import sha256
from typing import Final

from msgspec.structs import replace

from gateway.access.access import Access
from gateway.access.bearer import bearer_token
from gateway.access.presented import Presented
from gateway.access.refusals import foreign_namespace, unauthenticated
from gateway.access.tokens_file import KnownTokens
from gateway.access.watched_file import WatchedFile
from gateway.concurrency.bounded_cache import BoundedCache
from gateway.core.caller import Caller, CallerView
from gateway.core.owner import Permission, is_namespace

LOOK_SECONDS: Final = 1.0
"""How often files are looked at, in seconds."""

MAX_CALLERS: Final = 10_000
"""How many callers are remembered. Those of them that have called last are."""

_CallerKey = tuple[bytes, str | None]


class ConfiguredAccess(Access):
    """Tells callers by what is configured. `start` before it is asked, so that changes of files are seen."""

    def __init__(self, tokens: WatchedFile[KnownTokens] | None = None) -> None:
        self._tokens = tokens
        self._callers: BoundedCache[_CallerKey, Caller] = BoundedCache(MAX_CALLERS)
        self._follower: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow the files."""
        self._follower = asyncio.create_task(self._follow())

    def known(self, presented: Presented) -> Caller | None:
        if presented.authorization is None:
            raise unauthenticated()
        # The token itself is kept nowhere.
        digest = sha256(bearer_token(presented.authorization).encode()).digest()
        key = digest, presented.namespace
        caller = self._callers.get(key)
        if caller is None:
            caller = self._remember(key, self._of_token(digest))
        if caller.expires is not None and caller.expires <= time.time():
            raise unauthenticated()
        return caller

    async def identify(self, presented: Presented) -> Caller:
        caller = self.known(presented)
        if caller is None:
            raise unauthenticated()
        return caller

    async def close(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower

    async def look(self) -> None:
        """Read files anew that have changed, and forget the callers that the old ones told."""
        if self._tokens is not None and await self._tokens.look():
            self._callers.clear()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    def _of_token(self, digest: bytes) -> Caller:
        caller = None if self._tokens is None else self._tokens.value.find(digest)
        if caller is None:
            raise unauthenticated()
        return caller

    def _remember(self, key: _CallerKey, caller: Caller) -> Caller:
        # An identity that has expired is told nothing about namespaces.
        if caller.expires is not None and caller.expires <= time.time():
            raise unauthenticated()
        caller = in_namespace(caller, key[1])
        self._callers.put(key, caller)
        return caller


def in_namespace(caller: Caller, namespace: str | None) -> Caller:
    """The caller, as it sees the namespace that it has named. Raises PermissionDenied if that is none of its own."""
    if namespace is None:
        return caller
    own = namespace in caller.namespaces or (Permission.ADMIN in caller.permissions and is_namespace(namespace))
    if not own:
        raise foreign_namespace()
    return replace(caller, view=CallerView(namespace, caller.view.run_id, caller.view.labels))
