"""Which errors count as refusals."""

import pytest

from gateway.core.errors import (
    FlowNotFound,
    GatewayError,
    InvalidParams,
    Overloaded,
    PermissionDenied,
    QuotaExceeded,
    StateUnavailable,
    TooLarge,
    Unauthenticated,
    Unavailable,
    go_away,
)
from gateway.core.refusals import count_refusal
from gateway.telemetry.gateway_metrics import REFUSALS


@pytest.mark.parametrize(
    "kind", [Overloaded, QuotaExceeded, TooLarge, Unavailable, StateUnavailable, Unauthenticated, PermissionDenied]
)
def test_a_refusal_counts_under_its_reason(kind: type[GatewayError]) -> None:
    before = REFUSALS.labels(kind.reason).value
    count_refusal(kind("no"))
    assert REFUSALS.labels(kind.reason).value == before + 1


@pytest.mark.parametrize("error", [FlowNotFound("no"), InvalidParams([]), go_away()])
def test_what_the_caller_got_wrong_and_an_orderly_end_are_none(error: GatewayError) -> None:
    before = REFUSALS.family().samples
    count_refusal(error)
    assert REFUSALS.family().samples == before
