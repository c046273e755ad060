"""Hypothesis strategies of the messages that cancel, list and delete runs, and of items."""

from hypothesis import strategies as st

from gateway.core.control import (
    BulkProgress,
    CancelParams,
    CancelRunsParams,
    DeleteParams,
    DeleteRunsParams,
    ItemList,
    ItemsParams,
    ListParams,
    RunList,
)
from gateway.core.items import Item, StepState, StepStatus
from gateway.core.model import RunState
from gateway.core.run_filter import RunOrder
from tests.support.messages import item_errors, item_results, json_texts, run_statuses, timeouts, times
from tests.support.run_filters import run_filters

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_run_ids = _texts.filter(bool)
_reasons = st.none() | _texts.filter(bool)
_counts = st.integers(0, 2**64 - 1)
_sizes = st.integers(0, 2**31 - 1)
_states = st.sets(st.sampled_from(RunState)).map(lambda found: tuple(state for state in RunState if state in found))

cancel_params = st.builds(
    CancelParams, run_id=_run_ids, reason=_reasons, wait=st.booleans(), timeout=st.none() | timeouts
)
cancel_runs_params = st.builds(CancelRunsParams, filter=run_filters(), reason=_reasons)
delete_params = st.builds(DeleteParams, run_id=_run_ids, cancel=st.booleans())
delete_runs_params = st.builds(DeleteRunsParams, filter=run_filters(), cancel=st.booleans())
list_params = st.builds(
    ListParams,
    filter=run_filters(),
    page_size=_sizes,
    page_token=_texts,
    order=st.sampled_from(RunOrder),
    include_total=st.booleans(),
)
items_params = st.builds(
    ItemsParams,
    run_id=_run_ids,
    states=_states,
    page_size=_sizes,
    page_token=_texts,
    include_inputs=st.booleans(),
)
progress = st.builds(BulkProgress, _counts, _counts, _counts)
run_lists = st.builds(
    RunList,
    st.lists(run_statuses().filter(lambda status: status.results is None), max_size=3),
    _texts,
    st.none() | _counts,
)
step_statuses = st.builds(
    StepStatus,
    _texts,
    _texts,
    st.sampled_from(StepState),
    st.integers(0, 2**32 - 1),
    st.none() | times,
    st.none() | times,
    st.none() | item_errors,
)
items = st.builds(
    Item,
    _counts,
    st.sampled_from(RunState),
    input=st.none() | json_texts,
    result=st.none() | item_results(),
    started_at=st.none() | times,
    completed_at=st.none() | times,
    attempts=st.integers(0, 2**32 - 1),
    steps=st.lists(step_statuses, max_size=3).map(tuple),
)
item_lists = st.builds(ItemList, st.lists(items, max_size=2), _texts)
