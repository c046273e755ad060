"""Where gRPC calls come in: their callers are found before their requests are read."""

import asyncio
import time
from collections.abc import Awaitable, Iterable
from typing import Any, Final, TypeAlias

from gateway.access.access import Access
from gateway.access.limits import UNLIMITED
from gateway.access.method_permissions import GRPC_PERMISSIONS, STORING, STREAMS, is_for_everybody, permit_grpc
from gateway.access.presented import Presented
from gateway.access.refusals import count_refused_token, unauthenticated
from gateway.core.caller import ANYBODY, Caller
from gateway.core.errors import GatewayError, QuotaExceeded
from gateway.core.owner import NAMESPACE_KEY, OWNER_KEY
from gateway.fronts.grpc.connections import CallMemory

AUTHORIZATION: Final = "authorization"

Metadata: TypeAlias = Iterable[tuple[str, str | bytes]]

_NOTHING: Final = Presented()


class Entrance:
    """Lets callers in to one method, `/SERVICE/METHOD`, within their limits. What a call holds remembers its caller."""

    __slots__ = ("_access", "_in_table", "_path", "_stores", "_streams")

    def __init__(self, access: Access, path: str) -> None:
        self._access = access
        self._path = path
        self._in_table = path in GRPC_PERMISSIONS
        self._streams = path in STREAMS
        self._stores = path in STORING

    @classmethod
    def to(cls, path: str, access: Access | None) -> "Entrance | None":
        """The entrance to a method; None if everybody may call it."""
        return None if access is None or is_for_everybody(path) else cls(access, path)

    @property
    def limited(self) -> bool:
        """Whether there are limits, so that `refusal` is to be asked first."""
        return self._access.limits.limited

    def refusal(self, presented: Presented, peer: str) -> QuotaExceeded | None:
        """The error of a call whose caller is known and at a limit, before anything is made for it; None of others."""
        access = self._access
        try:
            caller = access.known(presented)
            if caller is None:
                return None
            permit_grpc(caller, self._path)
        except GatewayError:
            return None  # It is told so when it begins.
        try:
            access.limits.check(caller, self._streams)
        except QuotaExceeded as error:
            access.audit.refused(error, "grpc", self._path, peer, caller)
            return error
        return None

    def knows(self, presented: Presented, memory: CallMemory) -> bool:
        """Whether the caller is known at once. If not, `identify` finds it.

        Raises Unauthenticated, PermissionDenied if the caller may not call the method, and QuotaExceeded if it is at a
        limit.
        """
        try:
            caller = self._access.known(presented)
        except GatewayError as error:
            self._refused(error, memory)
            raise
        if caller is None:
            return False
        if not (caller is ANYBODY and self._is_open):
            self._let_in(caller, memory)
        return True

    async def identify(self, presented: Presented, memory: CallMemory) -> None:
        """Find the caller. Raises as `knows` does."""
        try:
            caller = await self._access.identify(presented)
        except GatewayError as error:
            self._refused(error, memory)
            raise
        self._let_in(caller, memory)

    @property
    def _is_open(self) -> bool:
        """Whether nothing is to be looked at for anybody, which most gateways are for."""
        return self._in_table and not self._access.limits.limited

    def _let_in(self, caller: Caller, memory: CallMemory) -> None:
        try:
            permit_grpc(caller, self._path)
            if (limits := self._access.limits).limited:
                if self._stores:
                    limits.stored(caller)
                if (limit := limits.call(caller, self._streams)) is not UNLIMITED:
                    memory.limit_by(limit)
        except GatewayError as error:
            self._refused(error, memory, caller)
            raise
        memory.caller = caller

    def _refused(self, error: GatewayError, memory: CallMemory, caller: Caller = ANYBODY) -> None:
        count_refused_token(error)
        self._access.audit.refused(error, "grpc", self._path, memory.peer, caller)


def presented_in(metadata: Metadata | None) -> Presented:
    """What the metadata of a call presents. A key that is there twice has both values, which nothing accepts."""
    authorization = namespace = None
    owner: bytes | None = None
    for key, value in metadata or ():
        if key == AUTHORIZATION:
            authorization = _both(authorization, str(value))
        elif key == NAMESPACE_KEY:
            namespace = _both(namespace, str(value))
        elif key == OWNER_KEY:
            owner = value if isinstance(value, bytes) else value.encode()
    if authorization is None and namespace is None and owner is None:
        return _NOTHING
    return Presented(authorization, namespace, owner=owner)


async def until_expired(answering: Awaitable[Any], expires: float) -> Any:
    """What a call is answered with; Unauthenticated is raised if the credentials expire before, at this time."""
    try:
        async with asyncio.timeout(max(0.0, expires - time.time())) as ending:
            return await answering
    except TimeoutError:
        if ending.expired():
            raise unauthenticated("expired") from None
        raise


def _both(earlier: str | None, value: str) -> str:
    return value if earlier is None else f"{earlier}, {value}"
