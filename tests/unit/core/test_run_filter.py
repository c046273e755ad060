import pytest
from hypothesis import given

from gateway.core.clock import LATEST
from gateway.core.errors import InvalidParams
from gateway.core.model import ItemStatistics, RunState, RunStatus
from gateway.core.run_filter import RunFilter, canonical_filter
from gateway.core.times import MAX_SECONDS, MIN_SECONDS
from tests.support.run_filters import run_filters

FLOW = f"sha256:{'a' * 64}"
PARENT = "01890f00-0000-7000-8000-0000000000aa"


def run(**fields: object) -> RunStatus:
    given = {"run_id": PARENT, "flow_id": FLOW, "status": RunState.RUNNING, "items": ItemStatistics(total=1)}
    return RunStatus(**({"created_at": 100} | given | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "others"),
    [
        (RunFilter(states=(RunState.RUNNING,)), run(status=RunState.FAILED)),
        (RunFilter(flow_ids=(FLOW,)), run(flow_id=f"sha256:{'b' * 64}")),
        (RunFilter(created_after=100), run(created_at=99)),
        (RunFilter(created_before=101), run(created_at=101)),
        (RunFilter(roots_only=True), run(root_run_id=PARENT)),
    ],
)
def test_a_condition_tells_runs_apart(wanted: RunFilter, others: RunStatus) -> None:
    assert wanted.matches(run())
    assert not wanted.matches(others)


@pytest.mark.parametrize("field", ["flow_label", "flow_name"])
def test_texts_match_exactly_or_by_prefix(field: str) -> None:
    exact, prefix = (canonical_filter({field: pattern}) for pattern in ("ab", "ab*"))
    assert [exact.matches(run(**{field: text})) for text in ("ab", "abc", "a", None)] == [True, False, False, False]
    assert [prefix.matches(run(**{field: text})) for text in ("ab", "abc", "a", None)] == [True, True, False, False]


def test_all_labels_must_match() -> None:
    wanted = RunFilter(labels={"a": "1", "b": "2"})
    assert wanted.matches(run(labels={"a": "1", "b": "2", "c": "3"}))
    assert not wanted.matches(run(labels={"a": "1", "b": "3"}))


def test_ids_become_canonical_and_lists_are_sets() -> None:
    wanted = canonical_filter(
        {
            "states": (RunState.FAILED, RunState.PENDING, RunState.FAILED),
            "flow_ids": ("B" * 64, f"sha256:{'A' * 64}", "a" * 64),
            "parent_run_id": PARENT.upper(),
        }
    )
    assert wanted.states == (RunState.PENDING, RunState.FAILED)
    assert wanted.flow_ids == (FLOW, f"sha256:{'b' * 64}")
    assert wanted.parent_run_id == PARENT


@pytest.mark.parametrize("field", ["created_after", "created_before"])
def test_times_beyond_those_of_runs_are_the_last_of_them(field: str) -> None:
    earliest, latest = (canonical_filter({field: moment}) for moment in (MIN_SECONDS * 10**9, MAX_SECONDS * 10**9))
    assert (getattr(earliest, field), getattr(latest, field)) == (-LATEST, LATEST)
    assert earliest.digest() != latest.digest()


def test_faults_are_named_with_their_places() -> None:
    given = {
        "flow_ids": ("a" * 64, "x"),
        "root_run_id": "x",
        "flow_label": "a*b",
        "flow_name": "a" * 256,
    }
    with pytest.raises(InvalidParams) as caught:
        canonical_filter(given, "filter")
    assert [path for path, _ in caught.value.violations] == [
        ("filter", "flow_ids", 1),
        ("filter", "root_run_id"),
        ("filter", "flow_label"),
        ("filter", "flow_name"),
    ]
    assert canonical_filter({"flow_name": "a" * 255 + "*"}).flow_name == "a" * 255 + "*"


@pytest.mark.parametrize("given", [{"flow_ids": ("a" * 64,) * 101}, {"labels": {str(n): "" for n in range(33)}}])
def test_numbers_are_bounded(given: dict[str, object]) -> None:
    with pytest.raises(InvalidParams):
        canonical_filter(given, "filter")


@given(run_filters(), run_filters())
def test_digests_tell_filters_apart(one: RunFilter, other: RunFilter) -> None:
    assert (one.digest() == other.digest()) == (one == other)
