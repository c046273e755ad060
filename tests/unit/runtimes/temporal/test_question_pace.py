import pytest

from gateway.runtimes.temporal.question_pace import MAX_RATE, QuestionPace


def test_a_run_alone_is_asked_about_as_soon_as_is_wanted() -> None:
    pace = QuestionPace()
    pace.runs = 1
    assert pace.pause(0.02) == 0.02


def test_many_runs_share_the_questions_that_there_may_be() -> None:
    pace = QuestionPace()
    pace.runs = 1_000
    assert pace.pause(0.02) == 1_000 / MAX_RATE


def test_slow_answers_make_pauses_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = QuestionPace()
    times = iter([0.0, 4.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    with pace.question():
        pass
    assert pace.pause(0.02) == 2.0


def test_a_question_that_is_not_answered_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = QuestionPace()
    times = iter([0.0, 4.0])
    monkeypatch.setattr("time.monotonic", lambda: next(times))
    with pytest.raises(TimeoutError), pace.question():
        raise TimeoutError
    assert pace.pause(0.02) == 2.0
