from pathlib import Path

import pytest

from gateway.server.oversight import audited
from gateway.server.settings import ServeSettings, StartError


def settings(path: Path | str | None) -> ServeSettings:
    return ServeSettings(state=":memory:", audit_log=None if path is None else str(path))


async def test_there_is_no_log_unless_one_is_asked_for() -> None:
    with audited(settings(None)) as log:
        assert not log.on


async def test_a_log_that_cannot_be_opened_is_told_in_a_line(tmp_path: Path) -> None:
    with (
        pytest.raises(StartError, match=r"cannot open .*: Is a directory \(--audit-log\)"),
        audited(settings(tmp_path)),
    ):
        pass


async def test_standard_error_is_a_log_too() -> None:
    with audited(settings("-")) as log:
        assert log.on
