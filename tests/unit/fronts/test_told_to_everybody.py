"""What health tells callers without an identity."""

import json
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from gateway.access.access import OpenAccess
from gateway.adapter.health_services import LIST_METHOD, service_names
from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.grpc import GrpcFront
from gateway.fronts.grpc.front import SERVICES
from gateway.fronts.grpc.server import Transport
from gateway.fronts.http.limits import HttpLimits
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.grpc_calls import Client, failure
from tests.support.http_front import running_front
from tests.support.scripted_runtime import ScriptedRuntime

COMPONENT = "components/secret-product"


class IdentityAccess(OpenAccess):
    """Lets everybody in, but has identities."""

    configured = True


@pytest.mark.parametrize("access", [OpenAccess(), IdentityAccess()])
async def test_grpc_names_components_only_where_there_are_no_identities(
    runtime: ScriptedRuntime, service: RunsService, transport: Transport, access: OpenAccess
) -> None:
    runtime.readiness.report_components("/early", available=False)
    front = GrpcFront(RunsServices(service), "127.0.0.1:0", access=access, transport=transport)
    await front.start()
    client = Client(front.address)
    runtime.readiness.report_components("/secret-product", available=True)
    listing: Any = client.channel.unary_unary(LIST_METHOD, response_deserializer=service_names)
    listed, asked = await listing(b""), health_pb2.HealthCheckRequest(service=COMPONENT)
    watch = client.health.Watch(asked)
    watched = (await watch.read()).status
    watch.cancel()
    if access.configured:
        assert sorted(listed) == sorted(["", *SERVICES])
        assert (await failure(client.health.Check(asked)))[0] is grpc.StatusCode.NOT_FOUND
        assert watched == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    else:
        assert sorted(listed) == sorted(["", *SERVICES, "components/early", COMPONENT])
        assert (await client.health.Check(asked)).status == watched == health_pb2.HealthCheckResponse.SERVING
    await client.close()
    await front.stop(0)


@pytest.mark.parametrize("access", [OpenAccess(), IdentityAccess()])
async def test_http_names_components_only_where_there_are_no_identities(access: OpenAccess) -> None:
    async with running_front(HttpLimits(), MemoryAccount(), access=access) as front:
        front.runtime.readiness.report_components("/secret-product", available=False)
        connection = await front.connect()
        answer = await connection.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").answer()
        await connection.close()
    missing = {} if access.configured else {"missing_components": ["/secret-product"]}
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "healthy", **missing})
