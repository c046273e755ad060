"""The connection to a real Temporal server: how it is prepared, and what happens when it is away or refuses."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import grpc
import pytest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from gateway.core.client_tls import ClientTls
from gateway.core.errors import Overloaded, TooLarge, Unavailable
from gateway.core.token_file import TokenFile
from gateway.core.upstream_credentials import UpstreamCredentials
from gateway.core.upstream_refusals import UpstreamRefusal
from gateway.runtimes.temporal import connection as module
from gateway.runtimes.temporal import setup, timely_calls
from gateway.runtimes.temporal.address import TemporalAddress
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.engine_errors import EngineAbsent, EngineUnprepared, NoSuchWorkflow
from gateway.runtimes.temporal.search_attributes import CREATED, LABELS, SEARCH_ATTRIBUTES, STATE
from gateway.runtimes.temporal.setup import SetupDone, SetupRefused, set_up
from tests.support.certificates import Certificates, overwrite
from tests.support.temporal_proxy import TemporalProxy, server_credentials
from tests.support.temporal_server import TemporalServer

pytestmark = pytest.mark.slow

NAMES = tuple(key.name for key in SEARCH_ATTRIBUTES)


@pytest.fixture
def namespace() -> str:
    """One that no other test has, and that does not exist."""
    return f"test-{uuid.uuid4()}"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TemporalServer]:
    """A server of its own, for tests that end it."""
    server = TemporalServer(tmp_path)
    await server.start()
    yield server
    await server.kill()


@pytest.fixture
async def proxy(temporal_server: TemporalServer) -> AsyncIterator[TemporalProxy]:
    async with TemporalProxy(temporal_server.address).running() as proxy:
        yield proxy


@pytest.fixture
async def connect() -> AsyncIterator["Connect"]:
    connect = Connect()
    yield connect
    for connection in connect.made:
        await connection.close()


class Connect:
    """Makes connections, and closes them after the test."""

    def __init__(self) -> None:
        self.made: list[TemporalConnection] = []

    def __call__(
        self, runtime: str, *, token: Path | None = None, tls: ClientTls | None = None, patience: float = 10.0
    ) -> TemporalConnection:
        address = TemporalAddress.parse(runtime)
        shown = UpstreamCredentials(tls or ClientTls(), None if token is None else TokenFile(str(token), 0.0))
        connection = TemporalConnection(
            address, shown, prepare=lambda client: _prepared(client, address), patience=patience
        )
        self.made.append(connection)
        return connection


async def _prepared(client: Client, address: TemporalAddress) -> None:
    await set_up(client, address)


async def started(connection: TemporalConnection, name: str = "a") -> None:
    """Start a workflow that has search attributes of each type, and that nobody executes."""
    attributes = TypedSearchAttributes(
        [
            SearchAttributePair(STATE, "running"),
            SearchAttributePair(LABELS, ["a=b"]),
            SearchAttributePair(CREATED, datetime.now().astimezone()),
        ]
    )
    async with connection.engine_call("StartWorkflowExecution") as client:
        await client.start_workflow(
            "nobody executes it",
            id=name,
            task_queue="none",
            search_attributes=attributes,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )


async def described(connection: TemporalConnection, name: str = "a") -> None:
    async with connection.engine_call("DescribeWorkflowExecution") as client:
        await client.get_workflow_handle(name).describe()


async def test_setting_up_makes_all_that_runs_need_and_again_changes_nothing(
    temporal_server: TemporalServer, namespace: str
) -> None:
    address = TemporalAddress.parse(temporal_server.runtime(namespace))
    client = await Client.connect(address.target, namespace=namespace)
    assert await set_up(client, address, 86_400.0) == SetupDone(namespace=True, search_attributes=NAMES)
    assert await set_up(client, address, 5 * 86_400.0) == SetupDone(namespace=False, search_attributes=())
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=namespace))
    assert described.config.workflow_execution_retention_ttl.seconds == 86_400


async def test_what_was_set_up_can_be_used_at_once(
    temporal_server: TemporalServer, namespace: str, connect: Connect
) -> None:
    connection = connect(temporal_server.runtime(namespace))
    await started(connection)
    await described(connection)
    with pytest.raises(WorkflowAlreadyStartedError):
        await started(connection)
    with pytest.raises(NoSuchWorkflow):
        await described(connection, "b")
    with pytest.raises(TooLarge):
        async with connection.engine_call("StartWorkflowExecution") as client:
            await client.start_workflow("a", b"x" * 3_000_000, id="c", task_queue="none")
    with pytest.raises(TooLarge):
        async with connection.engine_call("StartWorkflowExecution") as client:
            await client.start_workflow("a", b"x" * 5_000_000, id="c", task_queue="none")


async def test_gateways_that_start_together_set_up_one_namespace(
    temporal_server: TemporalServer, namespace: str, connect: Connect
) -> None:
    connections = [connect(temporal_server.runtime(namespace)) for _ in range(5)]
    await asyncio.gather(*(started(each, str(number)) for number, each in enumerate(connections)))


async def test_a_search_attribute_of_another_type_cannot_be_set_up(
    temporal_server: TemporalServer, namespace: str
) -> None:
    address = TemporalAddress.parse(temporal_server.runtime(namespace))
    client = await Client.connect(address.target, namespace=namespace)
    with pytest.MonkeyPatch.context() as other:
        other.setattr(setup, "SEARCH_ATTRIBUTES", (SearchAttributeKey.for_int("RunsState"),))
        other.setattr(setup, "_QUERY", "RunsState = 0")
        await set_up(client, address)
    with pytest.raises(EngineUnprepared) as told:
        await set_up(client, address)
    assert told.value.what == "the namespace has a search attribute RunsState of another type"


async def test_a_gateway_that_may_not_set_up_says_who_has_to_and_goes_on_when_it_is_done(
    proxy: TemporalProxy, temporal_server: TemporalServer, namespace: str, connect: Connect, caplog
) -> None:
    proxy.refused = {"RegisterNamespace": grpc.StatusCode.PERMISSION_DENIED}
    connection = connect(proxy.runtime(namespace), patience=0.0)
    with pytest.raises(Unavailable, match="the engine is not prepared for runs"):
        await started(connection)
    warning = (
        f"the engine at {proxy.runtime(namespace)} cannot be used: the namespace does not exist, and this gateway may "
        f"not make it; someone who may runs: runs-gateway temporal setup --runtime {proxy.runtime(namespace)}"
    )
    assert caplog.messages == [warning]
    address = TemporalAddress.parse(temporal_server.runtime(namespace))
    await set_up(await Client.connect(address.target, namespace=namespace), address)
    assert await connection.connect(60.0)
    await started(connection)


@pytest.mark.parametrize(
    "status", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNAUTHENTICATED]
)
@pytest.mark.parametrize("method", ["RegisterNamespace", "ListSearchAttributes", "AddSearchAttributes"])
async def test_setting_up_without_the_permission_names_the_command(
    proxy: TemporalProxy, namespace: str, method: str, status: grpc.StatusCode
) -> None:
    proxy.refused = {method: status}
    address = TemporalAddress.parse(proxy.runtime(namespace))
    client = await Client.connect(address.target, namespace=namespace)
    with pytest.raises(SetupRefused) as told:
        await set_up(client, address)
    missing = "does not exist" if method == "RegisterNamespace" else "lacks search attributes"
    assert told.value.what == (
        f"the namespace {missing}, and this gateway may not make it; someone who may runs: "
        f"runs-gateway temporal setup --runtime {address}"
    )


async def test_a_gateway_starts_without_its_engine_and_goes_on_when_it_is_there(
    server: TemporalServer, connect: Connect, namespace: str
) -> None:
    runtime = server.runtime(namespace)
    await server.kill()
    connection = connect(runtime)
    assert not await connection.connect(0.001)
    assert connection.presence.is_away()
    call = asyncio.create_task(started(connection))
    await server.start()
    await call
    assert not connection.presence.is_away()


async def test_calls_wait_for_an_engine_that_restarts(server: TemporalServer, connect: Connect, namespace: str) -> None:
    connection = connect(server.runtime(namespace))
    await started(connection)
    await server.stop()
    calls = [asyncio.create_task(started(connection, f"b{number}")) for number in range(20)]
    await asyncio.sleep(0)
    await server.start()
    await asyncio.gather(*calls)
    await described(connection, "b19")


async def test_after_the_patience_calls_fail_at_once_until_the_engine_is_back(
    server: TemporalServer, connect: Connect, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = connect(server.runtime(namespace), patience=0.2)
    await started(connection)
    await server.kill()
    with pytest.raises(EngineAbsent) as told:
        await described(connection)
    assert told.value.retry_after == 1.0
    for _ in range(100):
        with pytest.raises(Unavailable, match="the engine cannot be reached"):
            await described(connection)
    assert connection.presence.is_away()
    await server.start()
    assert await connection.connect(60.0)
    await described(connection)


async def test_an_outage_is_noticed_while_nobody_calls(
    server: TemporalServer, connect: Connect, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.05)
    connection = connect(server.runtime(namespace))
    noticed = asyncio.Event()
    lost = connection.presence.lost

    def note() -> None:
        lost()
        noticed.set()

    monkeypatch.setattr(connection.presence, "lost", note)
    assert await connection.connect(60.0)
    await server.kill()
    await noticed.wait()
    with pytest.raises(Unavailable):
        await described(connection)
    assert connection.presence.is_away()
    await server.start()
    assert await connection.connect(60.0)


async def test_a_server_that_does_not_tell_its_health_is_used(
    proxy: TemporalProxy, namespace: str, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.01)
    proxy.refused = {"Check": grpc.StatusCode.UNIMPLEMENTED}
    connection = connect(proxy.runtime(namespace))
    assert await connection.connect(60.0)
    await proxy.called("Check", 2)
    assert connection.presence.is_here
    await started(connection)


async def test_an_engine_that_has_lost_its_state_is_set_up_again(
    tmp_path: Path, connect: Connect, namespace: str
) -> None:
    server = TemporalServer(tmp_path)
    await server.start()
    try:
        connection = connect(server.runtime(namespace))
        await started(connection)
        await server.kill()
        server.forget()
        await server.start()
        with pytest.raises((Unavailable, NoSuchWorkflow)):
            await described(connection)
        assert await connection.connect(60.0)
        await started(connection)
    finally:
        await server.kill()


async def test_an_engine_that_hangs_keeps_no_caller(server: TemporalServer, connect: Connect, namespace: str) -> None:
    connection = connect(server.runtime(namespace), patience=0.1)
    await started(connection)
    server.pause()
    with pytest.MonkeyPatch.context() as short:
        short.setattr(timely_calls, "CALL_TIMEOUT", timedelta(seconds=0.2))
        short.setattr(setup, "CALL_SECONDS", timedelta(seconds=0.2))
        with pytest.raises(EngineAbsent):
            await described(connection)
        with pytest.raises(Unavailable):
            await started(connection, "b")
    server.go_on()
    assert await connection.connect(60.0)
    await described(connection)


async def test_a_client_for_workers_comes_when_the_engine_is_there(
    server: TemporalServer, connect: Connect, namespace: str
) -> None:
    connection = connect(server.runtime(namespace))
    client = await connection.worker_client()
    assert client is await connection.worker_client()
    assert client is not connection.client
    assert client.namespace == namespace


async def test_a_token_is_shown_and_read_anew(
    proxy: TemporalProxy, namespace: str, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    proxy.tokens = ["Bearer first"]
    file = tmp_path / "token"
    file.write_text("first\n")
    connection = connect(proxy.runtime(namespace), token=file)
    assert await connection.connect(60.0)
    worker = await connection.worker_client()
    await started(connection)
    proxy.tokens = ["Bearer second"]
    with pytest.raises(UpstreamRefusal, match="the engine does not accept the credentials of this gateway"):
        await described(connection)
    file.write_text("second\n")
    assert await connection.connect(60.0)
    await described(connection)
    assert await worker.service_client.check_health()
    assert {token for _, token in proxy.calls} == {"Bearer first", "Bearer second"}


async def test_a_gateway_whose_token_is_not_accepted_looks_until_it_is(
    proxy: TemporalProxy, namespace: str, connect: Connect, tmp_path: Path, caplog
) -> None:
    proxy.tokens = ["Bearer good"]
    file = tmp_path / "token"
    file.write_text("bad\n")
    connection = connect(proxy.runtime(namespace), token=file)
    with pytest.raises(UpstreamRefusal, match="does not accept the credentials"):
        await started(connection)
    file.write_text("good\n")
    assert await connection.connect(60.0)
    await started(connection)
    assert "--upstream-token-file" in caplog.messages[0]
    assert "accepts the credentials of this gateway now" in caplog.messages[-1]
    assert "bad" not in caplog.text.replace("bad_", "")


async def test_what_a_token_does_not_permit_is_refused_and_nothing_else(
    proxy: TemporalProxy, namespace: str, connect: Connect
) -> None:
    connection = connect(proxy.runtime(namespace))
    await started(connection)
    proxy.refused = {"DescribeWorkflowExecution": grpc.StatusCode.PERMISSION_DENIED}
    with pytest.raises(UpstreamRefusal, match="does not permit this to this gateway"):
        await described(connection)
    await started(connection, "b")


async def test_a_limit_of_the_engine_is_told_as_one(proxy: TemporalProxy, namespace: str, connect: Connect) -> None:
    connection = connect(proxy.runtime(namespace), patience=0.1)
    await started(connection)
    proxy.refused = {"DescribeWorkflowExecution": grpc.StatusCode.RESOURCE_EXHAUSTED}
    with pytest.raises(Overloaded) as told:
        await described(connection)
    assert told.value.retry_after == 1.0


async def test_over_tls_both_ends_show_certificates_and_other_files_make_other_clients(
    temporal_server: TemporalServer,
    namespace: str,
    connect: Connect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.01)
    certificates, others = Certificates(tmp_path), Certificates(tmp_path, "other")
    mine, theirs = certificates.client(), others.client()
    file = certificates.client("used")
    overwrite(file.cert, theirs.cert)
    overwrite(file.key, theirs.key)
    proxy = TemporalProxy(temporal_server.address)
    tls = ClientTls(certificates.ca, file.cert, file.key)
    async with proxy.running(server_credentials(certificates)):
        connection = connect(proxy.runtime(namespace, scheme="temporals"), tls=tls, patience=0.0)
        with pytest.raises(Unavailable, match="the engine cannot be reached"):
            await started(connection)
        overwrite(file.cert, mine.cert)
        overwrite(file.key, mine.key)
        assert await connection.connect(60.0)
        await started(connection)
        before, worker = connection.client, await connection.worker_client()
        renewed: asyncio.Queue[Client] = asyncio.Queue()
        connection.on_worker_client = renewed.put_nowait
        again = certificates.client("again")
        overwrite(file.key, again.key)
        overwrite(file.cert, again.cert)
        assert await renewed.get() is not worker
        assert connection.client is not before
        await described(connection)


async def test_an_engine_whose_certificate_is_of_nobody_trusted_is_not_used(
    temporal_server: TemporalServer, namespace: str, connect: Connect, tmp_path: Path, caplog
) -> None:
    certificates, others = Certificates(tmp_path), Certificates(tmp_path, "other")
    proxy = TemporalProxy(temporal_server.address)
    async with proxy.running(server_credentials(certificates, asks=False)):
        connection = connect(proxy.runtime(namespace, scheme="temporals"), tls=ClientTls(others.ca), patience=0.0)
        with pytest.raises(Unavailable, match="the engine cannot be reached"):
            await started(connection)
    assert "certificate" in caplog.text.lower()
    assert proxy.calls == []
