import logging
import re

import pytest

from gateway.core.internal_errors import report_unexpected


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
