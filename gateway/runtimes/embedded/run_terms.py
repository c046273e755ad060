"""What a run can be found by: a few terms, each of which many runs have."""

from typing import Final, NamedTuple

import msgspec

from gateway.core.model import RunState
from gateway.runtimes.embedded.journal import RunRecord
from gateway.runtimes.embedded.run_keys import key_at

STATE: Final = 1
"""The state of a run that has ended, or UNFINISHED; and whether it is inside another run, ROOT or NESTED."""

FLOW: Final = 2
"""The id of the flow, and its name."""

UNNAMED_FLOW: Final = 3
"""The id of a flow without a name."""

FLOW_LABEL: Final = 4
LABEL: Final = 5
"""The name of a label, and its value."""

PARENT_RUN: Final = 6
ROOT_RUN: Final = 7

OUT_OF_ORDER: Final = 8
"""Runs whose key does not tell when they were accepted, since the clock had been set back."""

_LABELS: Final = msgspec.json.Decoder(dict[str, str])

UNFINISHED: Final = "unfinished"
ROOT: Final = "root"
NESTED: Final = "nested"


class Term(NamedTuple):
    """Something that runs have in common: its kind, and up to two texts."""

    kind: int
    text: str = ""
    more: str = ""


def state_term(state: RunState | None, *, nested: bool) -> Term:
    """The term for the state of a run; None: it has not ended."""
    return Term(STATE, UNFINISHED if state is None else state.value, NESTED if nested else ROOT)


def terms_of(record: RunRecord, state: RunState | None, key: int) -> list[Term]:
    """All terms of a run."""
    name = record.flow_name
    flow = Term(UNNAMED_FLOW, record.flow_id) if name is None else Term(FLOW, record.flow_id, name)
    terms = [state_term(state, nested=record.root_id is not None), flow]
    if record.flow_label is not None:
        terms.append(Term(FLOW_LABEL, record.flow_label))
    if record.labels is not None:
        terms += [Term(LABEL, name, value) for name, value in _LABELS.decode(record.labels).items()]
    if record.parent_id is not None:
        terms.append(Term(PARENT_RUN, record.parent_id))
    if record.root_id is not None:
        terms.append(Term(ROOT_RUN, record.root_id))
    if key != key_at(record.created_at):
        terms.append(Term(OUT_OF_ORDER))
    return terms
