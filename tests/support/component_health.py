"""Waiting for the component servers of a gateway, as a deployment does: by its health."""

from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


async def components_available(address: str, prefixes: Iterable[str]) -> None:
    """Wait until the gateway at a gRPC address says that the components below these prefixes are available."""
    async with grpc.aio.insecure_channel(address) as channel:
        for prefix in prefixes:
            request = health_pb2.HealthCheckRequest(service=f"components/{prefix.strip('/')}")
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watch = stub.Watch(request)
            async for answer in watch:
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    break
            watch.cancel()
