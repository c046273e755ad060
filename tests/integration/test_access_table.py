"""Every method of both fronts, by every kind of caller: nothing is let in that should not be, and nothing is told.

The methods come from the descriptors and from the registry, so a new one cannot be forgotten. The callers are data.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import aiohttp
import grpc
import pytest
import pytest_asyncio
from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from gateway.access.method_permissions import GRPC_PERMISSIONS, JSONRPC_PERMISSIONS
from gateway.core.owner import Permission
from gateway.fronts.grpc.reflection import REFLECTION_SERVICES
from gateway.fronts.http.entrance import BLOBS_PATH
from runs.v1 import blobs_pb2, runs_pb2
from tests.support.command_line import CommandLine
from tests.support.identities import (
    ALL_PERMISSIONS,
    AUDIENCE,
    ISSUER,
    Issuer,
    bearer,
    key_set,
    token_entry,
    token_of,
    write_tokens,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODES = {
    "grpcio": ("--transport", "grpcio"),
    "native": ("--transport", "native"),
    "workers": ("--workers", "2"),
}
TEAM = "team"
OTHERS = "others"
UNAUTHENTICATED, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
NOWHERE = "01a2193a-d05f-7968-82f1-c10618dc6f7d"
BLOB = f"sha256:{'0' * 64}"


class GrpcMethod(NamedTuple):
    """A method as the table calls it."""

    path: str
    takes_stream: bool
    gives_stream: bool


def described() -> Iterator[GrpcMethod]:
    for file in (runs_pb2, blobs_pb2):
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                path = f"/{service.full_name}/{method.name}"
                yield GrpcMethod(path, method.client_streaming, method.server_streaming)
    for name in REFLECTION_SERVICES:
        yield GrpcMethod(f"/{name}/ServerReflectionInfo", True, True)


GRPC_METHODS = tuple(described())

PARAMS: dict[str, Any] = {
    "runs/submit": {"flowId": BLOB, "inputs": [1]},
    "runs/watch": {},
    "runs/list": {},
    "runs/token": {"permissions": ["runs:read"]},
    "blobs/put": {"data": 1, "blobType": "data"},
    "blobs/get": {"blobId": BLOB},
    "rpc.discover": {},
}
"""What the methods are called with; the others are called for a run that does not exist."""


class Kind(NamedTuple):
    """A kind of callers: the headers of one, and what both fronts answer."""

    headers: Mapping[str, str]
    code: grpc.StatusCode
    status: int
    reason: int
    """The code of JSON-RPC."""


def with_token(token: str, namespace: str | None = None) -> dict[str, str]:
    return {"authorization": bearer(token), **({"runs-namespace": namespace} if namespace else {})}


def strangers(issuer: Issuer) -> dict[str, dict[str, str]]:
    """The headers of everybody who has no identity, by what is wrong."""
    return {
        "no": {},
        "no token": {"authorization": "Bearer"},
        "another scheme": {"authorization": "Basic dGVhbTp0ZWFt"},
        "several words": {"authorization": "Bearer a b"},
        "long": with_token("x" * 4_000),
        "wrong": with_token(token_of("stranger")),
        "wrong case": {"authorization": bearer(token_of("all")).upper()},
        "expired": with_token(token_of("expired")),
        **{f"JWT, {name}": with_token(token) for name, token in issuer.wrong_tokens().items()},
        "wrong, for a namespace": with_token(token_of("stranger"), TEAM),
        "wrong, for a namespace that is not there": with_token(token_of("stranger"), "nowhere"),
    }


def refused(issuer: Issuer) -> dict[str, Kind]:
    """The kinds that no method lets in."""
    kinds = {name: Kind(headers, UNAUTHENTICATED, 401, -32016) for name, headers in strangers(issuer).items()}
    for name, token in (("token", token_of("all")), ("JWT", issuer.token(namespaces=[TEAM]))):
        for namespace in (OTHERS, "nowhere"):
            headers = with_token(token, namespace)
            kinds[f"{name}, foreign namespace {namespace}"] = Kind(headers, DENIED, 403, -32017)
    return kinds


def without(permission: Permission) -> str:
    return f"without-{permission.replace(':', '.')}"


def only(permission: Permission) -> str:
    return f"only-{permission.replace(':', '.')}"


class Table(NamedTuple):
    """A gateway with identities, and what calls it."""

    issuer: Issuer
    channel: aio.Channel
    session: aiohttp.ClientSession
    url: str

    async def grpc(self, method: GrpcMethod, headers: Mapping[str, str]) -> tuple[grpc.StatusCode, str, bytes]:
        """How a call ends: its code, message and details."""
        metadata = tuple(headers.items())
        make: Any = {
            (False, False): self.channel.unary_unary,
            (False, True): self.channel.unary_stream,
            (True, False): self.channel.stream_unary,
            (True, True): self.channel.stream_stream,
        }[method.takes_stream, method.gives_stream]
        try:
            if method.takes_stream:
                # Of a client of grpcio that writes to a call that has ended, one in a hundred reports INTERNAL.
                call: Any = make(method.path)(metadata=metadata, timeout=20)
                await call.done_writing()
            else:
                call = make(method.path)(b"", metadata=metadata, timeout=20)
            if method.gives_stream:
                while await call.read() is not aio.EOF:
                    pass
            else:
                await call
        except aio.AioRpcError as error:
            trailers = dict(error.trailing_metadata())
            return error.code(), error.details() or "", bytes(trailers.get("grpc-status-details-bin", b""))
        return grpc.StatusCode.OK, "", b""

    async def http(
        self, method: str, headers: Mapping[str, str], *, path: str = "/", body: bytes | None = None
    ) -> tuple[int, bytes, str | None]:
        """An answer: its status, its body, and how to authenticate."""
        kept = {"Content-Type": "application/json", **headers}
        async with self.session.request(method, f"{self.url}{path}", data=body, headers=kept) as response:
            return response.status, await response.read(), response.headers.get("WWW-Authenticate")


def call(method: str, **members: Any) -> bytes:
    params = PARAMS.get(method, {"runId": NOWHERE, **members})
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=MODES)
async def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Table]:
    home = tmp_path_factory.mktemp("home")
    issuer = Issuer()
    (home / "keys.json").write_text(key_set(issuer))
    (home / "signing.key").write_text("k" * 48)
    past = (datetime.now(UTC) - timedelta(seconds=2)).isoformat()
    tokens = write_tokens(
        home / "tokens.toml",
        token_entry("all", ALL_PERMISSIONS, [TEAM]),
        token_entry("other", ALL_PERMISSIONS, [OTHERS]),
        token_entry("expired", ALL_PERMISSIONS, [TEAM], expires=past),
        token_entry("root", ["admin"]),
        *(
            token_entry(without(missing), [each for each in ALL_PERMISSIONS if each != missing], [TEAM])
            for missing in Permission
            if missing is not Permission.ADMIN
        ),
        *(token_entry(only(each), [each], [TEAM]) for each in Permission if each is not Permission.ADMIN),
    )
    arguments = (
        *("--state", ":memory:", "--tokens", str(tokens), "--signing-key", str(home / "signing.key")),
        *("--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE, "--jwt-keys", str(home / "keys.json")),
        *MODES[request.param],
    )
    async with (
        CommandLine(home).serving(*arguments, env={"TMPDIR": str(home)}) as serving,
        aio.insecure_channel(serving.grpc) as channel,
        aiohttp.ClientSession() as session,
    ):
        yield Table(issuer, channel, session, serving.http)


async def test_grpc_lets_in_nobody_else_and_tells_nothing(table: Table) -> None:
    told = set()
    for method in GRPC_METHODS:
        for name, kind in refused(table.issuer).items():
            code, message, details = await table.grpc(method, kind.headers)
            assert code is kind.code, (method.path, name)
            told.add((code, message, details))
    assert len(told) == 2, told


async def test_jsonrpc_lets_in_nobody_else_and_tells_nothing(table: Table) -> None:
    told = set()
    bodies = [call(method) for method in JSONRPC_PERMISSIONS]
    bodies += [b"[" + b",".join(bodies) + b"]", b"{", b"", call("runs/unknown")]
    for accept in ("application/json", "text/event-stream"):
        for body in bodies:
            for name, kind in refused(table.issuer).items():
                status, answer, how = await table.http("POST", {**kind.headers, "Accept": accept}, body=body)
                assert (status, how) == (kind.status, "Bearer" if kind.status == 401 else None), (name, body)
                error = json.loads(answer)
                assert (error["id"], error["error"]["code"]) == (None, kind.reason)
                told.add(answer)
    assert len(told) == 2, told


async def test_no_path_lets_in_anybody_else(table: Table) -> None:
    told = set()
    for method, path in (
        ("POST", BLOBS_PATH),
        ("GET", f"{BLOBS_PATH}/{BLOB}"),
        ("DELETE", f"{BLOBS_PATH}/{BLOB}"),
        ("GET", "/"),
        ("GET", "/c/forged/api/v1/blobs"),
        ("POST", "/unknown"),
    ):
        for name, kind in refused(table.issuer).items():
            if path.startswith("/c/") and kind.status == 403:
                continue
            status, _, how = await table.http(method, kind.headers, path=path, body=b"1" if method == "POST" else None)
            assert (status, how) == (kind.status, "Bearer" if kind.status == 401 else None), (name, path)
            told.add(status)
    assert told == {401, 403}


async def test_a_refusal_does_not_wait_for_the_request(table: Table) -> None:
    """A body that is announced and never sent keeps nobody waiting."""
    host, _, port = table.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()


@pytest.mark.parametrize("method", GRPC_METHODS, ids=lambda method: method.path)
async def test_grpc_asks_for_one_permission(table: Table, method: GrpcMethod) -> None:
    permission = GRPC_PERMISSIONS[method.path]
    if permission is not None:
        code, message, _ = await table.grpc(method, with_token(token_of(without(permission))))
        assert (code, permission in message) == (DENIED, True)
    for name in (only(permission or Permission.READ), "all", "root"):
        code, _, _ = await table.grpc(method, with_token(token_of(name)))
        assert code not in (UNAUTHENTICATED, DENIED, grpc.StatusCode.INTERNAL), name
    code, _, _ = await table.grpc(method, with_token(table.issuer.token()))
    assert code not in (UNAUTHENTICATED, DENIED)


@pytest.mark.parametrize("method", JSONRPC_PERMISSIONS)
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
async def test_jsonrpc_asks_for_one_permission(table: Table, method: str, accept: str) -> None:
    permission = JSONRPC_PERMISSIONS[method]
    body = call(method, wait=True) if method == "runs/get" else call(method)
    if permission is not None:
        headers = {**with_token(token_of(without(permission))), "Accept": accept}
        status, answer, _ = await table.http("POST", headers, body=body)
        error = json.loads(answer)
        assert (status, error["id"], error["error"]["code"]) == (403, 7, -32017)
        assert permission in error["error"]["message"]
        status, answer, _ = await table.http("POST", headers, body=b"[" + body + b"]")
        assert (status, json.loads(answer)[0]["error"]["code"]) == (200, -32017)
    if (method, accept) != ("runs/watch", "text/event-stream"):  # It goes on for ever.
        for token in (token_of(only(permission or Permission.READ)), token_of("root"), table.issuer.token()):
            status, answer, _ = await table.http("POST", {**with_token(token), "Accept": accept}, body=body)
            assert status == 200
            assert b'"error":{"code":-32016' not in answer
            assert b'"error":{"code":-32017' not in answer


async def test_the_blob_api_asks_for_the_permissions_of_blobs(table: Table) -> None:
    for method, path, permission in (
        ("POST", BLOBS_PATH, Permission.WRITE_BLOBS),
        ("GET", f"{BLOBS_PATH}/{BLOB}", Permission.READ_BLOBS),
    ):
        body = b'{"data":1,"blobType":"data"}' if method == "POST" else None
        status, answer, _ = await table.http(method, with_token(token_of(without(permission))), path=path, body=body)
        assert (status, permission in answer.decode()) == (403, True)
        status, _, _ = await table.http(method, with_token(token_of(only(permission))), path=path, body=body)
        assert status == (200 if method == "POST" else 404)


@pytest.mark.parametrize("method", ["DeleteRun", "DeleteRuns"])
async def test_what_cancels_on_its_way_needs_that_permission_too(table: Table, method: str) -> None:
    request: Any = runs_pb2.DeleteRunRequest(run_id=NOWHERE, cancel=True)
    make: Any = table.channel.unary_unary
    if method == "DeleteRuns":
        request = runs_pb2.DeleteRunsRequest(filter=runs_pb2.RunFilter(), cancel=True)
        make = table.channel.unary_stream
    metadata = tuple(with_token(token_of(only(Permission.DELETE))).items())
    made = make(f"/runs.v1.RunsService/{method}")(request.SerializeToString(), metadata=metadata)
    with pytest.raises(aio.AioRpcError, match=r"runs:cancel") as refusal:
        await (made.read() if method == "DeleteRuns" else made)
    assert refusal.value.code() is DENIED
    named: dict[str, Any] = {"filter": {}} if method == "DeleteRuns" else {"runId": NOWHERE}
    params = {"cancel": True, **named}
    body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "runs/delete", "params": params}).encode()
    status, answer, _ = await table.http("POST", with_token(token_of(only(Permission.DELETE))), body=body)
    assert (status, b"runs:cancel" in answer) == (403, True)


async def test_health_needs_no_identity(table: Table) -> None:
    for method in health_pb2.DESCRIPTOR.services_by_name["Health"].methods:
        if method.name != "Watch":
            path = GrpcMethod(f"/grpc.health.v1.Health/{method.name}", False, False)
            assert (await table.grpc(path, {}))[0] is grpc.StatusCode.OK
    assert (await table.http("GET", {}, path="/health"))[0] == 200
    assert (await table.http("GET", {"authorization": "Bearer forged"}, path="/health"))[0] == 200


async def test_one_that_is_let_in_is_served(table: Table) -> None:
    """The table would pass on a gateway that refuses everybody."""
    request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    method: Any = table.channel.stream_stream(f"/{REFLECTION_SERVICES[0]}/ServerReflectionInfo")
    made = method(iter([request]), metadata=tuple(with_token(token_of("all")).items()))
    assert [message async for message in made]
    status, answer, _ = await table.http("POST", with_token(token_of("all")), body=call("runs/token"))
    token = json.loads(answer)["result"]["token"]
    assert status == 200
    status, answer, _ = await table.http("POST", with_token(token), body=call("runs/list"))
    assert (status, json.loads(answer)["result"]["runs"]) == (200, [])
    status, _, _ = await table.http("POST", with_token(token), body=call("blobs/put"))
    assert status == 403
