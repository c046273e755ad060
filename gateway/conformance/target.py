"""A server under test, and the services that it has."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from gateway.client.channels import CHANNEL_OPTIONS
from gateway.client.security import Security, open_aio
from runs.v1 import blobs_pb2_grpc, runs_pb2_grpc

_SILENT: Final = logging.NullHandler()

_REPEATED: Final = ("SubmitRun", "CancelRun", "DeleteRun", "ListRuns")
"""What prepares the runs of the kit. UNAVAILABLE, after which the contract lets a client call again, breaks no promise.
PutBlob comes first, and fails at once where nobody listens."""

_REPEATS: Final = {
    "methodConfig": [
        {
            "name": [{"service": "runs.v1.RunsService", "method": method} for method in _REPEATED],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.5s",
                "maxBackoff": "5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


class Target:
    """The services of a server. `patience` is for how many seconds the kit waits for what has to come."""

    def __init__(
        self, runs: "runs_pb2_grpc.RunsServiceAsyncStub", blobs: "blobs_pb2_grpc.BlobsServiceAsyncStub", patience: float
    ) -> None:
        self.runs = runs
        self.blobs = blobs
        self.patience = patience


@asynccontextmanager
async def opened_target(security: Security, patience: float) -> AsyncIterator[Target]:
    """A channel to a server, while the block lasts."""
    # Of bytes that are no message, a promise tells: grpc would print a traceback of each.
    logging.getLogger("grpc._common").addHandler(_SILENT)
    channel = open_aio(security, (*CHANNEL_OPTIONS, ("grpc.service_config", json.dumps(_REPEATS))))
    try:
        around = security.around(channel)
        yield Target(runs_pb2_grpc.RunsServiceStub(around), blobs_pb2_grpc.BlobsServiceStub(around), patience)
    finally:
        await channel.close()
