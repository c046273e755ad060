"""How runtimes differ for clients: one table, for the conformance suite and for docs/engines.md.

Everything that is not in the table is the same on every runtime. Each row is tested: clients see the difference on its
runtimes and on no others. `python -m tests.conformance.differences` writes the table into the document.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from tests.support.runtimes import DOCUMENT, RUNTIMES, STEPFLOW, TEMPORALS
from tests.support.tables import markdown_table, write_table

DOCUMENT_FILE: Final = Path(__file__).parents[2] / "docs/engines.md"
TARGET: Final = "engines-table"
"""The make target that writes the table."""

ENGINES: Final = frozenset(STEPFLOW)
WORDS: Final = frozenset({"stepflow-0.11.1", "stepflow-0.10.0"})
"""The releases whose payloads are JSON."""

PROTO: Final = ENGINES - WORDS
"""The releases whose payloads are google.protobuf.Value."""


class Difference(NamedTuple):
    """What clients see on `runtimes`, in the place of what they see on all others, and why."""

    runtimes: frozenset[str]
    subject: str
    seen: str
    reason: str


RESULTS_AT_THE_END: Final = Difference(
    ENGINES,
    "results of a run that goes on",
    "appear all at once when the run has ended, in the requested order",
    "the engine records the results of all items when the last one has ended",
)
COUNTED_AS_RUNNING: Final = Difference(
    ENGINES,
    "items that have not begun",
    "count as running: with 0.12 and 0.13 until step events tell more, at most a second; with 0.10 and 0.11 throughout",
    "the engine counts every item that has not finished as running, and has no events before 0.12",
)
NO_LABELS: Final = Difference(
    frozenset({DOCUMENT}),
    "flow labels",
    "are accepted, but do not appear in answers",
    "the specification has no parameter for them",
)
NO_VARIABLES: Final = Difference(
    frozenset({DOCUMENT}),
    "variables",
    "are sent, but the server ignores them",
    "the specification has no parameter for them",
)
LATE_ROUTES: Final = Difference(
    ENGINES,
    "components that no route leads to",
    "the run is accepted, and the items that need one fail (`error routing component`)",
    "only the engine knows its routes, and it looks for one when a step starts",
)
UNSPECIFIC_REFUSALS: Final = Difference(
    frozenset({DOCUMENT}),
    "invalid flows and overrides",
    "are refused with the right code, but as INVALID_PARAMS in general, with the server's message and no field path",
    "the specification gives errors no reasons and no fields",
)
NO_BYTES: Final = Difference(
    frozenset({DOCUMENT}),
    "binary blobs",
    "are refused",
    "its blobs are JSON values",
)
NO_FLOW_IN_DATA: Final = Difference(
    ENGINES,
    "running a flow that was stored as data",
    "ends with FLOW_NOT_FOUND: it must be stored as a flow",
    "the engine keeps a type with each blob, and runs flows only",
)
SHORT_PATHS: Final = Difference(
    ENGINES,
    "paths without `$` that hold a dot (`x.y`)",
    "name one field, `x.y`; with `$.x.y` they are read alike everywhere",
    "the engine reads them so in a flow that it has not rewritten, and flows are stored so that it rewrites nothing",
)
NO_EMPTY_RUNS: Final = Difference(
    frozenset({"stepflow-0.10.0"}),
    "runs without inputs",
    "are refused",
    "the release breaks the connection off",
)
SMALL_MESSAGES: Final = Difference(
    WORDS,
    "submits and blobs above 2 MB",
    "are refused with PAYLOAD_TOO_LARGE",
    "the engine takes no larger request",
)
OTHER_CODES: Final = Difference(
    frozenset({"stepflow-0.10.0"}),
    "codes of failed items",
    "are 1 for an expression that has no value, and 500 for other failures of the engine",
    "the release has these codes; later ones have -32200 and more",
)
OTHER_NESTED_CODES: Final = Difference(
    PROTO | {"stepflow-0.10.0"},
    "codes in the results of `/builtin/map`, of inner items that failed",
    "are those of the release",
    "they are part of a payload, which the gateway leaves as it is",
)
INPUTS_AS_DOUBLES: Final = Difference(
    frozenset({"stepflow-0.12.0"}),
    "whole numbers of inputs, where they reach a component",
    "are doubles: one that insists on an integer (`max_iterations` of `/builtin/iterate`) fails; integers of the flow "
    "itself are integers",
    "google.protobuf.Value has doubles only, and this release does not make integers of them again",
)
REWRITTEN: Final = Difference(
    ENGINES | {DOCUMENT},
    "the text of payloads and blobs",
    "is written anew: white space, escapes and the spelling of numbers (`1e2` as `100.0`); a blob has the id of the "
    "new text; values are the same",
    "the server reads JSON into values, and writes these",
)
SORTED_KEYS: Final = Difference(
    PROTO,
    "the order of keys in results",
    "is alphabetical",
    "google.protobuf.Struct has no order, and the engine gives another one each time",
)
WHOLE_NUMBERS: Final = Difference(
    PROTO,
    "whole numbers with a fraction or exponent",
    "become integers: `6.0` and `6` are both `6`",
    "google.protobuf.Value has doubles only; the engine prints all of them as `6.0`",
)
NO_NEGATIVE_ZERO: Final = Difference(
    frozenset({"stepflow-0.13.0"}),
    "`-0.0`",
    "becomes `0`",
    "the engine makes integers of whole doubles, and integers have no negative zero",
)
INTEGERS_OF_53_BITS: Final = Difference(
    PROTO,
    "integers above 2^53",
    "are refused with the path of the first; `--lossy-numbers` has them rounded",
    "google.protobuf.Value has doubles only",
)
INTEGERS_OF_64_BITS: Final = Difference(
    WORDS,
    "integers of more than 64 bits",
    "are refused with the path of the first; `--lossy-numbers` has them rounded",
    "the engine keeps larger ones as doubles",
)
DECIMALS_REFUSED: Final = Difference(
    ENGINES,
    "decimals with more digits than a double has",
    "are refused with the path of the first; `--lossy-numbers` has them rounded",
    "the engine keeps them as doubles",
)
DECIMALS_ROUNDED: Final = Difference(
    frozenset({DOCUMENT}),
    "decimals with more digits than a double has",
    "are rounded",
    "the gateway cannot know how a server treats numbers; this one keeps them as doubles",
)
RANGE_OF_DOUBLES: Final = Difference(
    ENGINES | {DOCUMENT},
    "numbers beyond the range of doubles (`1e400`)",
    "are refused",
    "the server keeps them as doubles, which cannot hold numbers so large",
)
NO_CONTROL: Final = Difference(
    frozenset({DOCUMENT}),
    "cancelling and listing runs, items",
    "are refused with UNIMPLEMENTED",
    "the specification has no methods for them; another gateway has",
)
NO_DELETE: Final = Difference(
    ENGINES | {DOCUMENT},
    "deleting runs",
    "is refused with UNIMPLEMENTED",
    "the engine deletes nothing, and the specification has no method for it",
)
CANCEL_WAITS_NOT: Final = Difference(
    ENGINES,
    "`wait` of a cancel",
    "has no effect",
    "the engine goes on with what executes, and does not tell when that ends",
)
NO_INPUTS: Final = Difference(
    PROTO,
    "inputs of items",
    "are not told",
    "these releases do not show them",
)
SHORT_CONTEXTS: Final = Difference(
    TEMPORALS,
    "`observability`, and names of flows, of more than 128 Ki characters",
    "are refused as INVALID_PARAMS, with the name of the field",
    "they go through the engine with each of its items, and it takes 2 MiB altogether",
)
STEPS_AT_THE_END: Final = Difference(
    TEMPORALS,
    "steps of items that execute",
    "are told when the items have ended, up to a second later",
    "only the gateway that executes an item knows its steps, and tells them with the result",
)

CANCELLED_ITEMS: Final = Difference(
    TEMPORALS | ENGINES,
    "items that were cancelled",
    "are among the results of the run, with the state `cancelled` and no outcome",
    "a run has a result for each item there, however it has ended",
)

DIFFERENCES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Difference))


def table(differences: Iterable[Difference] = DIFFERENCES) -> str:
    """The table in Markdown."""
    rows = [(each.subject, _names(each.runtimes), each.seen, each.reason) for each in differences]
    return markdown_table(("what", "where", "what clients see there", "why"), rows)


def _names(runtimes: frozenset[str]) -> str:
    names = [name for name in RUNTIMES if name in runtimes]
    if runtimes >= ENGINES:
        names = [name for name in names if name not in ENGINES] + ["Stepflow"]
    return ", ".join(
        {DOCUMENT: "a server of the document"}.get(name, name.replace("stepflow-", "Stepflow ")) for name in names
    )


def main() -> None:
    """Write the table into the document."""
    write_table(DOCUMENT_FILE, TARGET, table())


if __name__ == "__main__":
    main()
