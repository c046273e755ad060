import gc
import logging
import re
import weakref

import pytest

from gateway.core.errors import Internal, NotFound
from gateway.core.internal_errors import error_to_tell, release_frames, report_unexpected


def test_the_client_gets_an_id_and_the_log_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("the secret")
    except ValueError as error:
        told = report_unexpected(error)
    found = re.fullmatch(r"internal error, id ([0-9a-f]{32})", told.message)
    assert found is not None
    assert told.data is None
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert found[1] in record.getMessage()
    assert "the secret" in caplog.text
    assert "Traceback" in caplog.text


def test_each_defect_has_an_id_of_its_own() -> None:
    assert report_unexpected(ValueError()).message != report_unexpected(ValueError()).message


def test_an_error_of_ours_is_told_and_any_other_one_reported(caplog: pytest.LogCaptureFixture) -> None:
    error = NotFound("no such thing")
    assert error_to_tell(error) is error
    assert caplog.records == []
    assert isinstance(error_to_tell(ValueError("the secret")), Internal)
    assert "the secret" in caplog.text


class Held:
    """Something large that functions have in a variable."""


def fail(held: Held) -> None:
    try:
        raise ExceptionGroup("several", [_raised(held), OSError("two")])
    except ExceptionGroup as group:
        kept = ValueError("all of it")
        kept.__context__ = group
        raise kept from group


def _raised(held: Held) -> KeyError:
    try:
        raise KeyError("one")
    except KeyError as error:
        return error


def test_a_released_error_and_those_that_led_to_it_hold_no_frames() -> None:
    held = Held()
    alive = weakref.ref(held)
    with pytest.raises(ValueError, match="all of it") as caught:
        fail(held)
    del held
    error = caught.value
    del caught
    gc.collect()
    assert alive() is not None
    release_frames(error)
    assert alive() is None
    assert isinstance(error.__cause__, ExceptionGroup)
