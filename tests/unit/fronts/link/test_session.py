import asyncio

from msgspec.msgpack import encode

from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.model import SubmitParams
from gateway.core.runtime import Snapshot
from gateway.fronts.link.session import LinkSession
from gateway.fronts.link.states import SharedStates
from gateway.peers.link.messages import AskSubmit
from gateway.runs.hub import Hub
from tests.support.scripted_runtime import FLOW, ScriptedRuntime


class CountingRuntime(ScriptedRuntime):
    """Counts the submits that have been answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = 0

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        snapshot = await super().submit(params, scope)
        self.answered += 1
        return snapshot


async def test_submits_that_end_at_once_are_answered_in_the_turn_in_which_they_arrive() -> None:
    runtime, account = CountingRuntime(), MemoryAccount()
    flow_id = await runtime.put_blob(FLOW)
    hub = Hub(runtime)
    session = LinkSession(runtime, hub, account.share(), SharedStates(), lambda session: None)
    asked = [encode(AskSubmit(call, SubmitParams(flow_id=flow_id, inputs=["1"]))) for call in range(5)]
    answered = asyncio.get_running_loop().create_future()

    def arrive() -> None:
        session.connection.data_received(b"".join(len(frame).to_bytes(4) + frame for frame in asked))
        answered.set_result(runtime.answered)

    asyncio.get_running_loop().call_soon(arrive)

    assert await answered == 5
    assert account.held == 0
    await session.close()
    await hub.close()
