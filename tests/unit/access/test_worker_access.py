"""What workers tell of the callers that they have found."""

import msgspec
import pytest

from gateway.access.presented import Presented
from gateway.access.worker_access import WorkerAccess
from gateway.core.caller import ANYBODY, CallerView
from gateway.core.errors import InvalidRequest
from gateway.core.owner import Owner, Permission
from gateway.fronts.grpc.entrance import presented_in

OWNER = Owner("team", "ci", (Permission.SUBMIT,), (("app", "web"),))


async def test_the_owner_that_a_worker_tells_is_the_caller() -> None:
    access = WorkerAccess()
    presented = presented_in([("runs-namespace", "team"), ("runs-owner-bin", msgspec.msgpack.encode(OWNER))])
    caller = await access.identify(presented)
    assert caller.owner == OWNER
    assert access.known(Presented(namespace="team")).view == CallerView("team")
    assert access.known(presented_in([("user-agent", "x")])) is ANYBODY
    await access.close()


def test_an_owner_that_cannot_be_decoded_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        WorkerAccess().known(Presented(owner=b"\xc1"))


def test_what_is_presented_twice_is_nothing_that_anybody_accepts() -> None:
    presented = presented_in([("authorization", "Bearer a"), ("authorization", "Bearer b")])
    assert presented.authorization == "Bearer a, Bearer b"
