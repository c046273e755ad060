"""What clients and the log are told when another server refuses the gateway itself."""

import time

import pytest

from gateway.core.errors import PermissionDenied, RunNotFound, Unauthenticated, Unavailable
from gateway.core.upstream_refusals import LOG_SECONDS, UpstreamRefusal, UpstreamRefusals


@pytest.fixture
def refusals() -> UpstreamRefusals:
    return UpstreamRefusals("the upstream", "host:1")


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_clients_are_told_that_the_call_cannot_be_served_now(refusals: UpstreamRefusals) -> None:
    told = refusals.told(Unauthenticated("credentials are missing, or are not accepted"))
    assert isinstance(told, UpstreamRefusal)
    assert (told.reason, told.grpc_status, told.retry_after) == ("UNAVAILABLE", "UNAVAILABLE", 1.0)
    assert told.message == "the upstream does not accept the credentials of this gateway"
    assert refusals.unaccepted
    told = refusals.told(PermissionDenied("the permission runs:submit is missing"))
    assert isinstance(told, Unavailable)
    assert told.message == "the upstream does not permit this to this gateway: the permission runs:submit is missing"
    assert not refusals.unaccepted, "it knows who the gateway is"
    other = RunNotFound("no run has this id")
    assert refusals.told(other) is other


def test_refusals_are_logged_once_and_counted(
    refusals: UpstreamRefusals, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(4):
        refusals.told(Unauthenticated("no"))
    first = (
        "the upstream does not accept the credentials of this gateway "
        "(--upstream-token-file, --upstream-cert, at host:1)"
    )
    assert lines(caplog) == [first]
    later = time.monotonic() + LOG_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    refusals.told(Unauthenticated("no"))
    assert lines(caplog)[1:] == [f"{first}; 3 more refusals since it was last told"]


def test_that_the_gateway_is_accepted_is_told_after_a_complaint_only(
    refusals: UpstreamRefusals, caplog: pytest.LogCaptureFixture
) -> None:
    refusals.accepted()
    assert not caplog.records
    for _ in range(3):
        refusals.told(Unauthenticated("no"))
        refusals.accepted()
    assert lines(caplog)[1:] == ["the upstream at host:1 accepts the credentials of this gateway now"]
