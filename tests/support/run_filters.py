"""Filters of runs, for tests."""

from hypothesis import strategies as st

from gateway.core.model import RunState, blob_id_of
from gateway.core.run_filter import RunFilter, canonical_filter

_TIMES = st.none() | st.integers(0, 2_000_000_000_000_000_000)
_IDS = st.none() | st.uuids().map(str)
_TEXTS = st.text(st.characters(exclude_characters="*", exclude_categories=["Cs"]), max_size=8)
_PATTERNS = st.none() | _TEXTS.map(lambda text: text or "*") | _TEXTS.map(lambda text: f"{text}*")


def run_filters() -> st.SearchStrategy[RunFilter]:
    """Canonical filters."""
    fields = st.fixed_dictionaries(
        {
            "states": st.lists(st.sampled_from(RunState), max_size=3).map(tuple),
            "flow_ids": st.lists(st.integers(0, 20).map(lambda n: blob_id_of(f"{n:064x}")), max_size=3).map(tuple),
            "flow_label": _PATTERNS,
            "flow_name": _PATTERNS,
            "created_after": _TIMES,
            "created_before": _TIMES,
            "parent_run_id": _IDS,
            "root_run_id": _IDS,
            "roots_only": st.booleans(),
            "labels": st.dictionaries(_TEXTS.filter(bool), _TEXTS, max_size=3),
        }
    )
    return fields.map(canonical_filter)
