"""Overrides of the steps of a flow: applied, or refused with violations; without effect if they are empty."""

import json
from typing import Final

from hypothesis import strategies as st

from gateway.core.json_text import json_text
from gateway.flows.flow import Flow
from tests.fuzz.flow_calls import compiled, overridden
from tests.fuzz.invariants import in_tree, respelled
from tests.fuzz.targets import expressions, flows

_COMPILED: Final = compiled(
    '{"steps":[{"id":"a","component":"/x","input":{"$input":"$"}},'
    '{"id":"b","component":"/y","input":{"k":[{"$step":"a"},1]},"onError":{"action":"retry"}}],'
    '"output":{"$step":"b","path":"$.k"}}'
)
assert isinstance(_COMPILED, Flow)
FLOW: Final = _COMPILED

_PATCHES: Final = st.fixed_dictionaries(
    {},
    optional={
        "$type": st.sampled_from(("merge_patch", "other", None)),
        "value": st.fixed_dictionaries(
            {},
            optional={
                "id": st.sampled_from(("a", "b", "c")),
                "component": st.sampled_from(("/z", "z", None)),
                "input": expressions.EXPRESSIONS | st.none(),
                "onError": expressions.VALUES,
                "mustExecute": st.booleans() | st.none(),
            },
        )
        | expressions.VALUES,
    },
)
_BY_STEP: Final = st.dictionaries(st.sampled_from(("a", "b", "c", "steps")), _PATCHES | expressions.VALUES, max_size=3)

DOCUMENTS: Final[st.SearchStrategy[bytes]] = (
    _BY_STEP | _BY_STEP.map(lambda patches: {"steps": patches}) | expressions.VALUES
).map(lambda overrides: json.dumps(overrides).encode())


def check(data: bytes) -> None:
    """Apply the overrides, in several spellings, and again to their result."""
    with in_tree() as read:
        text = json_text(data)
        changed = overridden(FLOW, text)
    if read.refused:
        return
    assert [*changed.steps] == [*FLOW.steps], "overrides change which steps there are"
    for other in respelled(text):
        assert flows.of(overridden(FLOW, other)) == flows.of(changed)
    # A merge patch is idempotent. Its result may nest more deeply than one may be written.
    with in_tree() as again:
        twice = overridden(changed, text)
    assert again.refused or flows.of(twice) == flows.of(changed), "overrides change more when they are applied twice"
