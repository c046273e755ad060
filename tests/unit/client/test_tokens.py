"""Both clients ask for tokens, and show what they got without telling it."""

import asyncio
from datetime import UTC, datetime

import pytest

from gateway.access.access import OpenAccess
from gateway.client import AsyncRunsClient, InvalidParams, RunsClient, Unsupported
from gateway.core.caller import Caller
from gateway.core.tokens import CreatedToken, TokenParams
from gateway.fronts.grpc import GrpcFront
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.scripted_runtime import ScriptedRuntime

EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)


class MakingAccess(OpenAccess):
    """Makes tokens that are written down."""

    def __init__(self) -> None:
        self.asked: list[TokenParams] = []

    def create_token(self, caller: Caller, params: TokenParams) -> CreatedToken:
        self.asked.append(params)
        return CreatedToken("secret", int(EXPIRES.timestamp()) * 10**9)


async def test_both_clients_make_tokens() -> None:
    service, access = RunsService(ScriptedRuntime(), grace=0), MakingAccess()
    front = GrpcFront(RunsServices(service), "127.0.0.1:0", access=access)
    await front.start()
    async with AsyncRunsClient(front.address) as client:
        created = await client.create_token(["runs:read"], run_id="r", lifetime=60)
        assert (created.token, created.expires_at) == ("secret", EXPIRES)
        assert "secret" not in repr(created)
        with pytest.raises(InvalidParams, match="permissions"):
            await client.create_token(["runs:fly"])

    def blocking() -> str:
        with RunsClient(front.address) as client:
            return client.create_token(["runs:read"], labels={"a": "b"}, namespace="team").token

    assert await asyncio.to_thread(blocking) == "secret"
    assert [(params.run_id, params.labels, params.namespace, params.lifetime) for params in access.asked] == [
        ("r", {}, None, 60.0),
        (None, {"a": "b"}, "team", None),
    ]
    await front.stop(0)
    await service.close()


async def test_a_gateway_without_a_signing_key_makes_none() -> None:
    service = RunsService(ScriptedRuntime(), grace=0)
    front = GrpcFront(RunsServices(service), "127.0.0.1:0")
    await front.start()
    async with AsyncRunsClient(front.address) as client:
        with pytest.raises(Unsupported, match="signing key"):
            await client.create_token(["runs:read"])
    await front.stop(0)
    await service.close()
