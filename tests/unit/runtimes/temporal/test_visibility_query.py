"""Queries of the engine's visibility."""

from hypothesis import given

from gateway.core.model import RunState
from gateway.core.run_filter import RunFilter
from gateway.runtimes.temporal.search_texts import search_label
from gateway.runtimes.temporal.visibility_query import counts_exactly, created_between, moment, visibility_query
from tests.support.run_filters import run_filters

RUNS = "WorkflowType = 'runs.v1.Run' AND ExecutionStatus != 'ContinuedAsNew'"


def asked(**wanted: object) -> str:
    query = visibility_query(RunFilter(**wanted))  # type: ignore[arg-type]
    assert query.startswith(RUNS)
    return query.removeprefix(RUNS).removeprefix(" AND ")


def test_each_condition() -> None:
    assert asked() == ""
    assert asked(namespace="a") == "RunsNamespace = 'a'"
    assert asked(flow_ids=("sha256:1", "sha256:2")) == "RunsFlowId IN ('sha256:1', 'sha256:2')"
    assert asked(flow_label="a*") == "RunsFlowLabel STARTS_WITH 'a'"
    assert asked(flow_name="a") == "RunsFlowName = 'a'"
    assert asked(flow_name="*") == "RunsFlowName IS NOT NULL"
    assert asked(parent_run_id="x", root_run_id="y") == "RunsParent = 'x' AND RunsRoot = 'y'"
    assert asked(roots_only=True) == "RunsRoot IS NULL"
    assert asked(labels={"a": "b", "c": ""}) == "RunsLabels = 'a=b' AND RunsLabels = 'c='"


def test_states() -> None:
    assert asked(states=(RunState.PENDING, RunState.RUNNING)) == "(ExecutionStatus = 'Running')"
    success = "(ExecutionStatus = 'Completed' AND RunsState = 'success')"
    assert asked(states=(RunState.RUNNING, RunState.SUCCESS)) == f"(ExecutionStatus = 'Running' OR {success})"
    assert "'Terminated'" in asked(states=(RunState.CANCELLED,))


def test_what_engines_read_in_ways_of_their_own_is_not_sent() -> None:
    assert asked(flow_name="it's") == "RunsFlowName = 'it\\'s'"
    assert asked(flow_name='a"b') == "RunsFlowName STARTS_WITH 'a'"
    assert asked(flow_name="a\\*") == "RunsFlowName STARTS_WITH 'a'"
    assert asked(flow_label="\n") == "RunsFlowLabel IS NOT NULL"
    assert asked(labels={"a": "\\", "b": "c"}) == "RunsLabels = 'b=c'"


@given(run_filters())
def test_no_text_ends_its_quotes(wanted: RunFilter) -> None:
    query = visibility_query(wanted)
    assert query.isprintable()
    assert '"' not in query
    assert query.replace("\\'", "").count("\\") == 0
    assert query.replace("\\'", "").count("'") % 2 == 0


def test_times() -> None:
    assert moment(1_500) == "1970-01-01T00:00:01.500+00:00"
    assert moment(-1) == moment(0)
    assert created_between(0, 1) == (
        "RunsCreated >= '1970-01-01T00:00:00.000+00:00' AND RunsCreated < '1970-01-01T00:00:00.001+00:00'"
    )


def test_what_every_engine_counts() -> None:
    assert counts_exactly(RunFilter(flow_name="a", states=(RunState.RUNNING,), created_after=1_000_000))
    for wanted in (
        RunFilter(flow_name="a*"),
        RunFilter(flow_label="\n"),
        RunFilter(labels={"a": "b"}),
        RunFilter(created_after=1),
        RunFilter(states=(RunState.PENDING,)),
    ):
        assert not counts_exactly(wanted)


def test_what_is_long_is_asked_for_as_it_is_stored() -> None:
    long = "n" * 300
    query = visibility_query(RunFilter(labels={"a": long}, flow_label=long, flow_name=f"{long}*"))
    assert f"RunsLabels = '{search_label('a', long)}'" in query
    assert f"RunsFlowLabel = '{long[:255]}'" in query
    assert f"RunsFlowName STARTS_WITH '{long[:255]}'" in query
    assert not counts_exactly(RunFilter(flow_label=long))
