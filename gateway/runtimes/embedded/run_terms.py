"""What a run can be found by: a few terms, each of which many runs have.

Each namespace has terms of its own, so that a search in one does not look at what others have. Those of the default one
are as if there were no others.
"""

from typing import Final, NamedTuple

import msgspec

from gateway.core.model import TERMINAL_STATES, RunState
from gateway.core.owner import DEFAULT_NAMESPACE
from gateway.flows.run_owners import blob_key
from gateway.flows.run_record import RunRecord
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

NAMESPACE: Final = 9
"""A namespace, but for the default one: tells that there is one."""

ELSEWHERE: Final = 16
"""What is added to the kinds of terms of runs outside of the default namespace; not to NAMESPACE.

With STATE, it is the state and the namespace.
"""

FLOWS: Final = (FLOW, UNNAMED_FLOW, FLOW + ELSEWHERE, UNNAMED_FLOW + ELSEWHERE)
"""The kinds whose text is the key of a blob."""

_LABELS: Final = msgspec.json.Decoder(dict[str, str])

UNFINISHED: Final = "unfinished"
ROOT: Final = "root"
NESTED: Final = "nested"
ROOT_ELSEWHERE: Final = "root elsewhere"
NESTED_ELSEWHERE: Final = "nested elsewhere"
"""In any namespace but the default one."""


class Term(NamedTuple):
    """Something that runs have in common: its kind, and up to two texts."""

    kind: int
    text: str = ""
    more: str = ""


def state_terms(state: RunState | None, *, nested: bool, namespace: str) -> list[Term]:
    """The terms for the state of a run; None: it has not ended. The first one is for searches in all namespaces."""
    text, within = UNFINISHED if state is None else state.value, NESTED if nested else ROOT
    if namespace == DEFAULT_NAMESPACE:
        return [Term(STATE, text, within)]
    all_elsewhere = NESTED_ELSEWHERE if nested else ROOT_ELSEWHERE
    return [Term(STATE, text, all_elsewhere), Term(STATE + ELSEWHERE, text, state_in(within, namespace))]


def all_state_terms(namespace: str) -> list[Term]:
    """The terms for all states of the runs of a namespace.

    Those that there are for one of its runs exist as long as it has any, so that a search knows all of them, whatever
    states runs reach meanwhile.
    """
    ends = (None, *sorted(TERMINAL_STATES))
    each = (state_terms(state, nested=nested, namespace=namespace) for state in ends for nested in (True, False))
    return [term for terms in each for term in terms]


def state_in(within: str, namespace: str) -> str:
    """The second text of the terms for states of a namespace other than the default one."""
    return f"{namespace}\n{within}"


def kind_in(kind: int, namespace: str) -> int:
    """What a kind of terms is in a namespace."""
    return kind if namespace == DEFAULT_NAMESPACE else kind + ELSEWHERE


def text_in(kind: int, text: str, namespace: str) -> str:
    """What the first text of terms is in a namespace, or how it begins."""
    if namespace == DEFAULT_NAMESPACE:
        return text
    return blob_key(text, namespace) if kind in {FLOW, UNNAMED_FLOW} else f"{namespace}\n{text}"


def more_in(kind: int, more: str, namespace: str) -> str:
    """What the second text of terms is in a namespace, or how it begins."""
    return more if namespace == DEFAULT_NAMESPACE or kind != FLOW else f"{namespace}\n{more}"


def term_in(term: Term, namespace: str) -> Term:
    """The term of a namespace other than the default one."""
    kind, text, more = term
    return Term(kind_in(kind, namespace), text_in(kind, text, namespace), more_in(kind, more, namespace))


def terms_of(record: RunRecord, state: RunState | None, key: int) -> list[Term]:
    """All terms of a run."""
    name = record.flow_name
    flow = Term(UNNAMED_FLOW, record.flow_id) if name is None else Term(FLOW, record.flow_id, name)
    terms = [flow]
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
    if (namespace := record.namespace) != DEFAULT_NAMESPACE:
        terms = [Term(NAMESPACE, namespace), *(term_in(term, namespace) for term in terms)]
    terms += state_terms(state, nested=record.root_id is not None, namespace=namespace)
    return terms
