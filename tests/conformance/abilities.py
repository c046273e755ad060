"""What runtimes can do with runs besides executing them: one table, for its test and for docs/engines.md.

`python -m tests.conformance.abilities` writes the table into the document.
"""

from typing import Final, NamedTuple

from tests.conformance.differences import DOCUMENT_FILE
from tests.support.runtimes import DOCUMENT, STEPFLOW, SUPERSET, TEMPORALS
from tests.support.tables import markdown_table, write_table

TARGET: Final = "abilities-table"
"""The make target that writes the table."""

HEADS: Final = (
    "",
    "embedded, and relays, workers and JSON-RPC gateways over it",
    "Temporal",
    "Stepflow",
    "any other JSON-RPC server",
)
_UNKNOWN: Final = "no: the server does not know the method"


class Ability(NamedTuple):
    """Something to do with runs, and how far it goes on each kind of runtime; "no: why" where it is refused."""

    name: str
    here: str
    stepflow: str
    document: str = _UNKNOWN
    over_jsonrpc: str = ""
    """What differs if a gateway is reached over JSON-RPC."""
    temporal: str = ""
    """What differs on Temporal."""

    def on(self, runtime: str) -> str:
        """How far it goes on one of `RUNTIMES`."""
        if runtime == SUPERSET:
            return self.over_jsonrpc or self.here
        if runtime in TEMPORALS:
            return self.temporal or self.here
        return self.stepflow if runtime in STEPFLOW else self.document if runtime == DOCUMENT else self.here

    @property
    def cells(self) -> tuple[str, ...]:
        """Its row of the table."""
        here = f"{self.here}; over JSON-RPC {self.over_jsonrpc}" if self.over_jsonrpc else self.here
        return self.name, here, self.temporal or self.here, self.stepflow, self.document


CANCEL: Final = Ability(
    "cancel",
    "yes, with the runs inside; `wait` until nothing executes",
    "yes, with the runs inside; `wait` waits for nothing, since the engine does not tell what still executes",
    temporal="yes, with the runs inside; other gateways hear of it within 4 s",
)
LIST: Final = Ability(
    "list, by any filter",
    "yes: by indexes for each filter",
    "yes: flow names are found by the engine, all else by looking through 2,000 runs for each page",
    temporal="yes: by the engine's index, which follows by a moment",
)
COUNT: Final = Ability(
    "count",
    "yes",
    "up to 100,000 runs that are looked through",
    temporal="yes: by the engine's index",
)
ITEMS: Final = Ability(
    "items and their steps",
    "yes: inputs, attempts, times, what executes now",
    "0.12, 0.13: steps that have begun, no inputs; 0.10, 0.11: inputs, and steps that have ended",
    temporal="yes: inputs, attempts, and steps when their items have ended",
)
DELETE: Final = Ability(
    "delete",
    "yes",
    "no: the engine deletes nothing",
    temporal="yes: other gateways see it within 5 s, and the index within a minute",
)
SETS: Final = Ability(
    "following sets",
    "yes, over restarts, and on another worker or relay",
    "no: the engine tells of no changes of runs that nobody asks for",
    over_jsonrpc="no: relay to the upstream over gRPC",
    temporal="yes, over restarts, and on any gateway",
)
LABELS: Final = Ability(
    "labels",
    "yes",
    "kept by the gateway that submits the run",
    "no: the server would ignore them, and the submit is refused",
)
EXECUTION_TIMEOUT: Final = Ability(
    "execution timeout",
    "yes, over restarts",
    "no: the engine has no such limit, and the submit is refused",
    "no: the server would ignore it, and the submit is refused",
)
RETENTION: Final = Ability(
    "retention",
    "by the gateway that has the state",
    "none: what cannot be deleted is kept",
    "none: the server decides",
    temporal="by the engine: the retention of its namespace",
)
LINEAGE: Final = Ability(
    "parent and root",
    "yes",
    "of runs that the engine begins, by the engine; of those that components submit, by the gateway",
    "as the server tells",
)
NAMESPACES: Final = Ability(
    "namespaces",
    "yes: kept with runs, keys and blobs, and told to upstreams",
    "kept by the gateway that submits the run and puts the blob: with `--state FILE`, for ever",
    "kept by the gateway, as over Stepflow",
)

ABILITIES: Final = tuple(value for value in list(globals().values()) if isinstance(value, Ability))


def table() -> str:
    """The table in Markdown."""
    return markdown_table(HEADS, (ability.cells for ability in ABILITIES))


def main() -> None:
    """Write the table into the document."""
    write_table(DOCUMENT_FILE, TARGET, table())


if __name__ == "__main__":
    main()
