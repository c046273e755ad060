"""The report of the kit for people: a line for each promise, and what they come to."""

from collections import Counter
from collections.abc import Sequence

from gateway.conformance.conduct import TriedPromise, Verdict

_WIDTH = 10


def line_of(tried: TriedPromise) -> str:
    """The line of a promise. What was not kept has the promise, where it is made, and what the target did."""
    line = f"{tried.verdict:<{_WIDTH}} {tried.promise.name}"
    if tried.verdict is Verdict.KEPT:
        return line
    indent = " " * (_WIDTH + 1)
    promised = f"{indent}promised: {tried.promise.text}\n{indent}in: {tried.promise.place}\n"
    return f"{line}\n{promised if tried.verdict is Verdict.BROKEN else ''}{indent}{tried.reason}"


def summary_of(tried: Sequence[TriedPromise]) -> str:
    """How many promises came to what."""
    counts = Counter(one.verdict for one in tried)
    return f"{len(tried)} promises: " + ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)
