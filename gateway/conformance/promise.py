"""A promise of the contract, and how a try of it ends."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeAlias

PROTO: Final = "protos/runs/v1/runs.proto"
GUARANTEES: Final = "docs/guarantees.md"

Check: TypeAlias = Callable[[Any], Awaitable[None]]
"""Tries a promise on a `Scene`, which has a server, or on a `ClientUnderTest`."""


class PromiseBroken(Exception):
    """The target has not done what was promised. The message says what it did."""


class NotTried(Exception):
    """A promise cannot be tried on this target. The message says what the target lacks."""


class Promise(NamedTuple):
    """What is promised, where, and a function that tries it.

    The function raises PromiseBroken or NotTried if the promise is not kept, or cannot be tried.
    """

    name: str
    text: str
    place: str
    check: Check


class Promises(list[Promise]):
    """The promises of one group, in order. `place` is where most of them are promised."""

    def __init__(self, group: str, place: str) -> None:
        super().__init__()
        self._group = group
        self._place = place

    def promise(self, text: str, place: str | None = None) -> Callable[[Check], Check]:
        """Add the function below as a promise that has its name."""

        def add(check: Check) -> Check:
            name = f"{self._group}/{getattr(check, '__name__', '').replace('_', '-')}"
            self.append(Promise(name, text, place or self._place, check))
            return check

        return add


def hold(condition: object, otherwise: str) -> None:
    """Raise PromiseBroken if a condition does not hold."""
    if not condition:
        raise PromiseBroken(otherwise)


def same(found: object, expected: object, what: str) -> None:
    """Raise PromiseBroken if two values differ."""
    if found != expected:
        raise PromiseBroken(f"{what}: expected {shown(expected)}, got {shown(found)}")


def shown(value: object) -> str:
    """A value as texts show it, or its beginning."""
    try:
        text = repr(value)
    except RecursionError:
        return f"<a {type(value).__name__} that is nested too deeply>"
    return text if len(text) <= 300 else f"{text[:300]}..."
