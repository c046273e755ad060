"""What the kit writes of promises that are kept, broken, or could not be tried."""

from xml.etree import ElementTree

from gateway.conformance.conduct import TriedPromise, Verdict
from gateway.conformance.junit_report import junit_of
from gateway.conformance.promise import Promise
from gateway.conformance.scene import Scene
from gateway.conformance.text_report import line_of, summary_of


async def check(_: Scene) -> None:
    """Never called."""


def tried(name: str, verdict: Verdict, reason: str = "") -> TriedPromise:
    return TriedPromise(Promise(f"get/{name}", f"Text of {name}.", "runs.proto", check), verdict, reason, 0.25)


TRIED = [
    tried("one", Verdict.KEPT),
    tried("two", Verdict.BROKEN, "the items: expected [0], got <\0>"),
    tried("three", Verdict.NOT_TRIED, "it has no component"),
]


def test_the_text_has_the_promise_and_the_reason_of_what_is_broken() -> None:
    assert line_of(TRIED[0]) == "kept       get/one"
    assert line_of(TRIED[1]).splitlines() == [
        "broken     get/two",
        "           promised: Text of two.",
        "           in: runs.proto",
        "           the items: expected [0], got <\0>",
    ]
    assert line_of(TRIED[2]).splitlines() == ["not tried  get/three", "           it has no component"]


def test_the_summary_counts() -> None:
    assert summary_of(TRIED) == "3 promises: 1 kept, 1 broken, 1 not tried"


def test_junit_has_a_test_for_each_promise() -> None:
    root = ElementTree.fromstring(junit_of(TRIED))
    [suite] = root
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")
    assert [case.get("name") for case in suite] == ["one", "two", "three"]
    assert {case.get("classname") for case in suite} == {"runs.v1.get"}
    assert [[child.tag for child in case] for case in suite] == [[], ["failure"], ["skipped"]]
    assert suite[1][0].get("message") == "the items: expected [0], got <?>"
