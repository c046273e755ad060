"""What fuzzing is for: each committed document is checked again, and each target makes documents that it can check."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import TARGETS
from tests.fuzz.engine import CORPUS, Target


def test_each_target_has_a_corpus() -> None:
    assert sorted(path.name for path in CORPUS.iterdir()) == TARGETS


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[Target]:
    target = Target(request.param)
    yield target
    target.close()


def test_the_corpus_breaks_no_invariant(target: Target) -> None:
    for document in target.corpus():
        try:
            target.check(document.read_bytes())
        except Exception as error:
            raise AssertionError(f"{document.relative_to(CORPUS)}: {error}") from error


def test_documents_of_each_kind_break_no_invariant(target: Target) -> None:
    @settings(max_examples=30)
    @given(target.documents | st.binary(max_size=40))
    def check(document: bytes) -> None:
        target.check(document)

    check()
