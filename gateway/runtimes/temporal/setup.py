"""Prepares a namespace of a Temporal server for runs: it exists, and has the search attributes.

Doing it again changes nothing. Several gateways may do it at the same time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final, NamedTuple

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeIndexedValueType
from temporalio.service import RPCError, RPCStatusCode

from gateway.core.backoff import Backoff
from gateway.runtimes.temporal.address import TemporalAddress
from gateway.runtimes.temporal.engine_errors import EngineUnprepared, attribute_is_missing, namespace_is_missing
from gateway.runtimes.temporal.search_attributes import SEARCH_ATTRIBUTES

DEFAULT_RETENTION: Final = 30 * 86_400.0
"""How long the engine keeps a workflow after its end in a namespace that is made here, in seconds."""

USABLE_SECONDS: Final = 60.0
"""How long to wait until all of an engine knows what has been made. Its servers look every 10 seconds, or less."""

CALL_SECONDS: Final = timedelta(seconds=5)

_REFUSED: Final = frozenset(
    {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.UNIMPLEMENTED}
)
"""What servers say that let only their operators do it. Some do not serve the calls at all."""

_VALUES: Final = {
    SearchAttributeIndexedValueType.KEYWORD: "''",
    SearchAttributeIndexedValueType.KEYWORD_LIST: "''",
    SearchAttributeIndexedValueType.DATETIME: "'2000-01-01T00:00:00Z'",
}
"""A value of each type, as queries write it."""

_QUERY: Final = " AND ".join(f"{key.name} = {_VALUES[key.indexed_value_type]}" for key in SEARCH_ATTRIBUTES)
"""A query that finds nothing, and is refused if a search attribute is not there, or of another type."""

COMMAND: Final = "runs-gateway temporal setup --runtime"
"""What an operator calls for an address."""


class SetupRefused(EngineUnprepared):
    """The engine does not let this gateway prepare the namespace at an address. `problem` is what is missing there."""

    def __init__(self, problem: str, address: TemporalAddress) -> None:
        super().__init__(f"{problem}, and this gateway may not make it; someone who may runs: {COMMAND} {address}")
        self.problem = problem


class SetupDone(NamedTuple):
    """What setting up has made."""

    namespace: bool
    """Whether the namespace was made."""
    search_attributes: tuple[str, ...]
    """Those that were added."""


def preparation(address: TemporalAddress) -> Callable[[Client], Awaitable[None]]:
    """What prepares the namespace at an address, for a connection to it."""

    async def prepare(client: Client) -> None:
        await set_up(client, address)

    return prepare


async def set_up(client: Client, address: TemporalAddress, retention: float = DEFAULT_RETENTION) -> SetupDone:
    """Make what is missing, and wait until it can be used. `retention` is for a namespace that is made, in seconds.

    Raises SetupRefused if only others may do it, EngineUnprepared if it is impossible, and RPCError.
    """
    made: bool | None = None
    added: tuple[str, ...] | None = None
    end, pace = time.monotonic() + USABLE_SECONDS, Backoff(0.05, 1.0)
    while (problem := await _problem(client)) is not None:
        try:
            if namespace_is_missing(problem) and made is None:
                made = await _made_namespace(client, retention)
            elif attribute_is_missing(problem) and added is None:
                added = await _added_attributes(client)
            elif time.monotonic() < end:
                await asyncio.sleep(pace.next())
            else:
                raise EngineUnprepared(f"{_lacking(problem)}, though it was made")
        except RPCError as error:
            if error.status not in _REFUSED:
                raise
            raise SetupRefused(_lacking(problem), address) from None
    return SetupDone(bool(made), added or ())


async def _problem(client: Client) -> RPCError | None:
    """What the engine says of a query that uses all that is needed; None if all is there."""
    wanted = CountWorkflowExecutionsRequest(namespace=client.namespace, query=_QUERY)
    try:
        await client.workflow_service.count_workflow_executions(wanted, timeout=CALL_SECONDS)
    except RPCError as error:
        if namespace_is_missing(error) or attribute_is_missing(error):
            return error
        raise
    return None


async def _made_namespace(client: Client, retention: float) -> bool:
    """Make the namespace. False if somebody else was first."""
    wanted = RegisterNamespaceRequest(namespace=client.namespace, description="Runs of runs-gateway")
    wanted.workflow_execution_retention_period.seconds = round(retention)
    try:
        await client.workflow_service.register_namespace(wanted, timeout=CALL_SECONDS)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise
        return False
    return True


async def _added_attributes(client: Client) -> tuple[str, ...]:
    """Add the search attributes that are not there, and return their names.

    Raises EngineUnprepared if one is there with another type.
    """
    operator = client.operator_service
    listed = await operator.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), timeout=CALL_SECONDS
    )
    missing = {}
    for key in SEARCH_ATTRIBUTES:
        there, kind = listed.custom_attributes.get(key.name), IndexedValueType.ValueType(key.indexed_value_type)
        if there is None:
            missing[key.name] = kind
        elif there != kind:
            raise EngineUnprepared(f"the namespace has a search attribute {key.name} of another type")
    if missing:
        wanted = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        await operator.add_search_attributes(wanted, timeout=CALL_SECONDS)
    return tuple(missing)


def _lacking(problem: RPCError) -> str:
    return "the namespace does not exist" if namespace_is_missing(problem) else "the namespace lacks search attributes"
