"""What a JSON-RPC method is: it reads its parameters and calls the service, and it writes the answer."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from gateway.access.audit import NO_ENTRY, AuditEntry, AuditLog
from gateway.access.limits import CallerLimits
from gateway.access.method_permissions import STORING, permit_jsonrpc
from gateway.adapter.json_members import Params
from gateway.core.caller import Caller
from gateway.core.errors import PermissionDenied
from gateway.core.model import JsonText, canonical_run_id
from gateway.fronts.http.long_texts import Held, LongText
from gateway.fronts.http.request import HttpRequest
from gateway.telemetry.observed_calls import NOBODY, CallSource, ObservedCall


class Origin(NamedTuple):
    """Where a call comes from: its caller, and the scope of its idempotency keys, which components have.

    `peer` is the address of a client, where that is to be told; `client` is its request. `call` observes the call.
    """

    caller: Caller
    scope: str = ""
    peer: str = ""
    client: HttpRequest | None = None
    call: ObservedCall = NOBODY

    @property
    def identity(self) -> str:
        """The name of the caller, or ""."""
        return self.caller.identity

    @property
    def source(self) -> CallSource:
        """Who calls, and from where."""
        return self if self.client is None else self.client

    def concerns(self, run_id: str) -> None:
        """A call is about a run."""
        self.call.run_id = canonical_run_id(run_id) or ""

    @property
    def front(self) -> str:
        """Where the call came in."""
        return "component" if self.scope else "http"

    def entry(self, audit: AuditLog, method: str) -> AuditEntry:
        """What the audit log is told of a call."""
        if not audit.on:
            return NO_ENTRY
        inside = canonical_run_id(self.scope.partition("/")[0]) or ""
        return audit.entry(self.caller, self.front, method, self.peer, inside)

    def permit(self, audit: AuditLog, method: str) -> None:
        """Raise PermissionDenied if the caller may not call a method."""
        try:
            permit_jsonrpc(self.caller, method)
        except PermissionDenied as error:
            audit.refused(error, self.front, method, self.peer, self.caller)
            raise

    def limit(self, limits: CallerLimits, method: str) -> None:
        """Raise QuotaExceeded if the namespace of a client is full, and the method would store something.

        What components ask for is not limited: their runs would break.
        """
        if limits.limited and not self.scope and method in STORING:
            limits.stored(self.caller)


class RpcMethod(NamedTuple):
    """`execute` is given the parameters, where the call comes from, and what counts its memory; `write` what it
    returns, and the count.
    """

    execute: Callable[[Params, Origin, Held], Awaitable[Any]]
    write: Callable[[Any, Held], Awaitable[JsonText | LongText]]


def give_back(held: Held) -> None:
    """Hold nothing any more of a request that has been read."""
    held.shrink(held.size)
