import logging

from gateway.server.log_repeats import MOST_TEMPLATES, REPEAT_SECONDS, Repeats


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def record(message: str, *args: object, level: int = logging.WARNING, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord(str(fields.pop("name", "gateway.part")), level, "file", 1, message, args, None)
    vars(made).update(fields)
    return made


def messages(records: list[logging.LogRecord]) -> list[str]:
    return [each.getMessage() for each in records]


def test_the_first_is_shown_and_the_others_are_counted() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    shown = [repeats.admits(record("run %s failed", number, run_id=str(number))) for number in range(1_000)]
    assert shown == [True, *[False] * 999]
    assert repeats.due() == []
    clock.now += REPEAT_SECONDS
    (told,) = repeats.due()
    assert told.getMessage() == "run 999 failed ... (and 998 more like it)"
    assert (told.name, told.levelname, vars(told)["repeats"]) == ("gateway.part", "WARNING", 999)
    assert vars(told)["run_id"] == "999"
    assert repeats.admits(record("run %s failed", 1_000))


def test_one_alone_is_not_told_again() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    assert repeats.admits(record("a"))
    assert repeats.next_due() is None
    clock.now += REPEAT_SECONDS
    assert (repeats.due(), repeats.rest()) == ([], [])


def test_the_rest_is_told_at_the_end() -> None:
    repeats = Repeats()
    for _ in range(3):
        repeats.admits(record("a"))
        repeats.admits(record("b"))
    assert messages(repeats.rest()) == ["a ... (and 1 more like it)", "b ... (and 1 more like it)"]
    assert repeats.rest() == []


def test_two_that_are_alike_are_both_shown_in_the_end() -> None:
    repeats = Repeats()
    repeats.admits(record("the file cannot be read: %s", "one reason"))
    repeats.admits(record("the file cannot be read: %s", "another reason"))
    assert messages(repeats.rest()) == ["the file cannot be read: another reason"]


def test_a_template_that_is_only_a_place_is_none() -> None:
    repeats = Repeats()
    assert repeats.admits(record("%s", "a"))
    assert repeats.admits(record("%s", "b"))
    assert not repeats.admits(record("%s", "b"))


def test_what_is_no_warning_is_not_merged() -> None:
    repeats = Repeats()
    assert all(repeats.admits(record("a", level=logging.INFO)) for _ in range(3))


def test_lines_are_told_apart_by_logger_level_prefix_and_exception() -> None:
    repeats = Repeats()
    differing = [record("a"), record("a", name="other"), record("a", level=logging.ERROR)]
    differing += [record("a", prefix="/x"), record("a", prefix="/y"), record("a", prefix="/y", problem="lost")]
    for number in (0, 1):
        try:
            if number:
                raise ValueError
            raise TypeError
        except (ValueError, TypeError) as error:
            differing.append(record("a", exc_info=(type(error), error, error.__traceback__)))
    assert [repeats.admits(each) for each in differing] == [True] * 8
    assert [repeats.admits(each) for each in differing] == [False] * 8


def test_what_bounds_itself_is_not_merged() -> None:
    repeats = Repeats()
    for name in ("gateway.calls", "gateway.components.output"):
        assert all(repeats.admits(record("a", name=name)) for _ in range(3))


def test_the_memory_is_bounded() -> None:
    repeats = Repeats(Clock())
    told = []
    for number in range(3 * MOST_TEMPLATES):
        told += repeats.due()
        assert repeats.admits(record(f"template {number} {'x' * 10_000}"))
        assert not repeats.admits(record(f"template {number} {'x' * 10_000}"))
    told += repeats.rest()
    assert len(told) == 3 * MOST_TEMPLATES
    assert max(len(each.getMessage()) for each in told) < 600


def test_the_next_to_tell_is_the_first_with_repeats() -> None:
    clock = Clock()
    repeats = Repeats(clock)
    repeats.admits(record("a"))
    clock.now += 20
    repeats.admits(record("b"))
    repeats.admits(record("b"))
    clock.now += 10
    assert repeats.next_due() == REPEAT_SECONDS - 10
    clock.now += 1_000
    assert repeats.next_due() == 0
