"""What a checked token and TLS cost, for a call and for an update, beside a bare grpc.aio with both."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import trustme

from benchmarks import measure, unary
from benchmarks.measure import GET_RUN, ITS_CORE, SETTLE, SUBMIT_RUN, Server, framed
from benchmarks.sample import FLOW, FLOW_ID, run_id
from benchmarks.scenarios import BARE, GATEWAY, MEMORY, Metrics, submit_request
from benchmarks.unary import Calls
from runs.v1 import blobs_pb2, blobs_pb2_grpc, runs_pb2, runs_pb2_grpc

TOKEN: Final = "rgw_token-of-benchmarks"

BARE_SECURED: Final = f"{BARE}, TLS, an interceptor"
TOKEN_ONLY, SECURED = "gateway, token", "gateway, TLS, token"
VARIANTS: Final = (BARE, BARE_SECURED, GATEWAY, TOKEN_ONLY, SECURED)

STREAMS: Final = 100
CHANGES: Final = 40
"""Streams that follow one run, and its changes a second: few enough for a client in Python to read all."""


class _Files(NamedTuple):
    cert: str
    key: str
    tokens: str
    ca: bytes


@contextmanager
def _files() -> Iterator[_Files]:
    """A certificate, its authority, and a file of tokens."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        issued = authority.issue_cert("localhost", "127.0.0.1")
        issued.private_key_pem.write_to_path(directory / "key.pem")
        for index, pem in enumerate(issued.cert_chain_pems):
            pem.write_to_path(directory / "cert.pem", append=bool(index))
        tokens = directory / "tokens.toml"
        digest = sha256(TOKEN.encode()).hexdigest()
        permissions = '["runs:submit", "runs:read", "blobs:write"]'
        tokens.write_text(f'[[tokens]]\nname = "load"\nsha256 = "{digest}"\npermissions = {permissions}\n')
        cert, key = str(directory / "cert.pem"), str(directory / "key.pem")
        yield _Files(cert, key, str(tokens), authority.cert_pem.bytes())


@contextmanager
def _serving(variant: str, files: _Files, *, executes: bool) -> Iterator[Server]:
    """A server of a variant: one that executes submits, or one whose run changes."""
    tls = ("--tls-cert", files.cert, "--tls-key", files.key) if variant in (SECURED, BARE_SECURED) else ()
    tokens = () if variant == GATEWAY else ("--tokens", files.tokens)
    if variant in (BARE, BARE_SECURED):
        token = ("--token", TOKEN) if variant == BARE_SECURED else ()
        running = measure.server("benchmarks.reference", *tls, *token)
    elif executes:
        running = measure.gateway(MEMORY, *tokens, *tls, cores=ITS_CORE)
    else:
        running = measure.server("benchmarks.served", *tokens, *tls)
    with running as server:
        yield server


def submits(variant: str, seconds: float) -> Metrics:
    """Measure many submits in flight."""
    with _files() as files, _serving(variant, files, executes=True) as target:
        flow_id = FLOW_ID if variant in (BARE, BARE_SECURED) else asyncio.run(_put_flow(target, variant, files))
        return unary.many(target, asyncio.run(_calls(target, variant, files, flow_id)), seconds)._asdict()


def updates(variant: str, seconds: float) -> Metrics:
    """Measure updates of one run to some streams."""
    with _files() as files, _serving(variant, files, executes=False) as target:
        return asyncio.run(_follow(target, variant, files, seconds))


async def _calls(target: Server, variant: str, files: _Files, flow_id: str) -> Calls:
    request = submit_request(flow_id)
    async with _channel(target, variant, files) as channel:
        stub: Any = runs_pb2_grpc.RunsServiceStub(channel)
        answer = await stub.SubmitRun(request, metadata=_metadata(variant))
    secure = variant in (SECURED, BARE_SECURED)
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    for name, value in _metadata(variant):
        headers += ["-H", f"{name}: {value}"]
    flags = (
        *headers,
        *(() if secure else ("-p", "h2c")),
        f"{'https' if secure else 'http'}://{target.grpc}{SUBMIT_RUN}",
    )
    in_flight = ("-c", str(unary.CONNECTIONS), "-m", str(unary.IN_FLIGHT // unary.CONNECTIONS))
    return Calls(flags, framed(request.SerializeToString()), answer.ByteSize() + 5, in_flight)


async def _put_flow(target: Server, variant: str, files: _Files) -> str:
    async with _channel(target, variant, files) as channel:
        stub: Any = blobs_pb2_grpc.BlobsServiceStub(channel)
        request = blobs_pb2.PutBlobRequest(json=FLOW, type=blobs_pb2.BLOB_TYPE_FLOW)
        return str((await stub.PutBlob(request, metadata=_metadata(variant))).blob_id)


async def _follow(target: Server, variant: str, files: _Files, seconds: float) -> Metrics:
    received = 0

    async def read(stream: Any) -> None:
        nonlocal received
        async for _ in stream:
            received += 1

    request = runs_pb2.GetRunRequest(run_id=run_id(0), wait=True).SerializeToString()
    async with _channel(target, variant, files) as channel:
        get = channel.unary_stream(GET_RUN)
        streams = [get(request, metadata=_metadata(variant)) for _ in range(STREAMS)]
        reading = [asyncio.create_task(read(stream)) for stream in streams]
        while received < STREAMS:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        target.command(rate=CHANGES)
        await asyncio.sleep(SETTLE)
        before, cpu, begun = received, target.cpu_seconds(), time.monotonic()
        await asyncio.sleep(seconds)
        messages, cpu = received - before, target.cpu_seconds() - cpu
        lasted = time.monotonic() - begun
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    return {"messages_per_s": messages / lasted, "cpu_us_per_message": cpu / max(1, messages) * 1e6}


def _channel(target: Server, variant: str, files: _Files) -> Any:
    if variant in (SECURED, BARE_SECURED):
        return grpc.aio.secure_channel(target.grpc, grpc.ssl_channel_credentials(files.ca))
    return grpc.aio.insecure_channel(target.grpc)


def _metadata(variant: str) -> tuple[tuple[str, str], ...]:
    return () if variant in (BARE, GATEWAY) else (("authorization", f"Bearer {TOKEN}"),)
