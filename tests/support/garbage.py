"""What stays in memory until the garbage collector runs: the collector is off, and cycles that hold anything show."""

import gc
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gateway

PAYLOAD = 100_000
"""The length from which text and bytes count as those of a request."""

_PACKAGE = str(Path(gateway.__file__).parent)


@contextmanager
def uncollected() -> Iterator[None]:
    """Leave the collector off for the block. What is there at its beginning does not count."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def left_behind() -> set[str]:
    """What only the collector frees, as far as it is ours: objects and frames of the gateway, messages, payloads.

    Cycles of libraries that hold nothing of a request do not count.
    """
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        found = {name for thing in gc.garbage if (name := _name(thing)) is not None}
        found |= {_large(held) for thing in gc.garbage for held in gc.get_referents(thing) if _large(held)}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
    return found


def _name(thing: object) -> str | None:
    """The name of an object of the gateway; None for any other."""
    code = getattr(thing, "f_code", None) or getattr(thing, "cr_code", None) or getattr(thing, "ag_code", None)
    if isinstance(code, types.CodeType):
        return f"a frame of {code.co_qualname}" if code.co_filename.startswith(_PACKAGE) else None
    kind = type(thing)
    return kind.__qualname__ if kind.__module__.startswith(("gateway.", "runs.v1")) else None


def _large(held: object) -> str:
    """Says that a payload is one; "" for anything else."""
    return f"a payload in {type(held).__name__}" if isinstance(held, (str, bytes)) and len(held) >= PAYLOAD else ""
