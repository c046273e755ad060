"""The report of the kit for CI systems: JUnit's XML."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from gateway.conformance.conduct import TriedPromise, Verdict

_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML cannot have, which the words of a target may."""


def junit_of(tried: Sequence[TriedPromise]) -> bytes:
    """A suite with a test for each promise; one that was not tried is skipped."""
    counts = Counter(one.verdict for one in tried)
    numbers = {
        "tests": str(len(tried)),
        "failures": str(counts[Verdict.BROKEN]),
        "errors": "0",
        "skipped": str(counts[Verdict.NOT_TRIED]),
        "time": f"{sum(one.seconds for one in tried):.3f}",
    }
    suites = Element("testsuites", numbers)
    suite = SubElement(suites, "testsuite", {"name": "runs.v1", **numbers})
    for one in tried:
        group, _, name = one.promise.name.partition("/")
        case = {"classname": f"runs.v1.{group}", "name": name, "time": f"{one.seconds:.3f}"}
        _add_verdict(SubElement(suite, "testcase", case), one)
    text: bytes = tostring(suites, encoding="utf-8", xml_declaration=True)
    return text


def _add_verdict(case: Element, one: TriedPromise) -> None:
    reason = _NOT_IN_XML.sub("?", one.reason)
    if one.verdict is Verdict.BROKEN:
        failure = SubElement(case, "failure", {"message": reason})
        failure.text = f"{one.promise.text}\n{one.promise.place}"
    elif one.verdict is Verdict.NOT_TRIED:
        SubElement(case, "skipped", {"message": reason})
