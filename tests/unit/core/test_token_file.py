"""Tokens in files."""

import logging
import os
from pathlib import Path

import pytest

from gateway.core.token_file import TokenFile, TokenFileError


def test_a_token_is_read_anew_when_its_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    token = TokenFile(str(path), look_seconds=0)
    assert token.authorization == "Bearer first"
    other = tmp_path / "other"
    other.write_text("second")
    os.replace(other, path)
    assert token.authorization == "Bearer second"


def test_a_file_is_not_looked_at_all_the_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    token = TokenFile(str(path), look_seconds=3_600)
    path.unlink()
    assert token.authorization == "Bearer first"


def test_a_file_that_breaks_is_logged_once_and_its_token_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    path.write_text("canary-of-the-token")
    token = TokenFile(str(path), look_seconds=0)
    path.write_text("two canaries")
    with caplog.at_level(logging.WARNING):
        assert token.authorization == token.authorization == "Bearer canary-of-the-token"
    assert [record.getMessage() for record in caplog.records] == [
        f"the token file {path} does not hold one token on one line; the token that was there before stays in use"
    ]
    assert "canary" not in repr(token)


def test_a_pipe_in_its_place_is_logged_once_and_the_token_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    path.write_text("first")
    token = TokenFile(str(path), look_seconds=0)
    path.unlink()
    os.mkfifo(path)
    assert token.authorization == token.authorization == "Bearer first"
    assert [record.getMessage() for record in caplog.records] == [
        f"the token file {path} cannot be read: Not a regular file; the token that was there before stays in use"
    ]


@pytest.mark.parametrize("content", [b"", b"\n", b"a b", b"a\nb", b"\xc3\xa9", b"a\x00", b"x" * 20_000])
def test_files_without_a_token(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(TokenFileError, match="does not hold one token on one line"):
        TokenFile(str(path))
    with pytest.raises(TokenFileError, match="cannot be read: No such file"):
        TokenFile(str(tmp_path / "missing"))
