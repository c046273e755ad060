"""Calls that wait for what is away."""

import pytest

from gateway.core.errors import ComponentUnavailable, GatewayError, NotFound, Overloaded, QuotaExceeded, Unavailable
from gateway.core.time_away import TimeAway, patiently


class Attempts:
    """Fails with these errors, one after the other, and then no more."""

    def __init__(self, *errors: GatewayError) -> None:
        self.errors = list(errors)

    async def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def test_what_is_back_is_used() -> None:
    attempts = Attempts(Unavailable("away", retry_after=0.001), Overloaded("full", retry_after=0.001))
    assert await patiently(attempts, 60) == "done"


@pytest.mark.parametrize("error", [NotFound("none"), ComponentUnavailable("away"), QuotaExceeded("full")])
async def test_other_errors_are_raised(error: GatewayError) -> None:
    attempts = Attempts(error)
    with pytest.raises(type(error)):
        await patiently(attempts, 60)


async def test_patience_ends() -> None:
    with pytest.raises(Unavailable, match="away"):
        await patiently(Attempts(Unavailable("away")), 0.0)


async def test_who_stops_does_not_wait() -> None:
    with pytest.raises(Unavailable, match="away"):
        await patiently(Attempts(Unavailable("away")), 60, lambda: False)


async def test_a_success_begins_another_time() -> None:
    patience = TimeAway(60)
    assert patience.failure()
    patience.success()
    assert patience.failure()
