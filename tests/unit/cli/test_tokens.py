"""The commands about tokens."""

import json
import time
import tomllib
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.access.scoped_tokens import MAX_KEYS_FILE, ScopedTokens, read_signing_keys
from gateway.access.watched_file import WatchedFile
from gateway.cli.errors import ExitCode
from gateway.cli.program import run
from gateway.core.caller import CallerView
from gateway.testing import in_memory_gateway

KEY = "k" * 40


def created(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, dict]:
    """The token and the entry that are printed."""
    assert run(["token", "create", *arguments]) == ExitCode.OK
    printed = capsys.readouterr()
    assert printed.err == ""
    token, _, lines = printed.out.partition("\n\n")
    (entry,) = tomllib.loads(lines)["tokens"]
    assert entry["sha256"] == sha256(token.encode()).hexdigest()
    return token, entry


def test_a_token_is_printed_with_the_lines_for_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    _, entry = created(capsys)
    assert entry == {
        "name": f"token-{entry['sha256'][:8]}",
        "sha256": entry["sha256"],
        "permissions": ["runs:read", "blobs:read"],
    }
    flags = ["--name", "ci", "--permission", "reader", "--permission", "runs:submit"]
    token, entry = created(capsys, *flags, "--namespace", "a", "--namespace", "b", "--expires", "2030-01-31T00:00:00Z")
    assert token.startswith("rgw_")
    assert entry == {
        "name": "ci",
        "sha256": entry["sha256"],
        "permissions": ["reader", "runs:submit"],
        "namespaces": ["a", "b"],
        "expires": datetime(2030, 1, 31, tzinfo=UTC),
    }


def test_a_token_may_expire_after_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    _, entry = created(capsys, "--expires", "90d", "--namespace", "a")
    assert 89 <= (entry["expires"] - datetime.now(UTC)).days <= 90
    assert entry["namespace"] == "a"


def test_programs_get_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["token", "create", "--json"]) == ExitCode.OK
    made = json.loads(capsys.readouterr().out)
    assert made["sha256"] == sha256(made["token"].encode()).hexdigest()
    assert tomllib.loads(made["entry"])["tokens"][0]["sha256"] == made["sha256"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--permission", "runs:all"], "'runs:all' is neither a permission nor a role"),
        (["--permission", "admin", "--namespace", "a"], "admin is for all namespaces"),
        (["--namespace", "A"], "namespace: expected 1 to 63"),
        (["--name", ""], "name: expected one line"),
        (["--expires", "soon"], "--expires: expected 90d or 2027-01-31T00:00:00Z, got 'soon'"),
    ],
)
def test_what_the_file_may_not_say_is_refused(capsys: pytest.CaptureFixture[str], flags: list[str], words: str) -> None:
    assert run(["token", "create", *flags]) == ExitCode.USAGE
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {words}")
    assert printed.out == ""


def test_a_gateway_without_a_key_grants_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_memory_gateway() as gateway:
        monkeypatch.setenv("RUNS_GATEWAY_ADDRESS", gateway.address)
        assert run(["token", "grant"]) == ExitCode.ERROR
        assert "no signing key" in capsys.readouterr().err
        assert run(["token", "grant", "--permission", "runs:all"]) == ExitCode.USAGE


def test_a_token_is_signed_with_a_key_at_hand(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    run_id = str(uuid4())
    flags = ["--signing-key", str(tmp_path / "key"), "--identity", "ops", "--namespace", "a", "--run", run_id]
    assert run(["token", "grant", *flags, "--lifetime", "1h", "--json"]) == ExitCode.OK
    granted = json.loads(capsys.readouterr().out)
    tokens = ScopedTokens(WatchedFile(str(tmp_path / "key"), read_signing_keys, MAX_KEYS_FILE))
    caller = tokens.caller(granted["token"])
    assert (caller.identity, caller.view) == ("ops", CallerView("a", run_id))
    assert caller.permissions == {"runs:read", "blobs:read"}
    assert caller.expires is not None
    assert 3_500 < caller.expires - time.time() <= 3_600
    assert abs(datetime.fromisoformat(granted["expiresAt"]).timestamp() - caller.expires) < 0.001
    assert run(["token", "grant", *flags[:4], "--label", "team=x"]) == ExitCode.OK
    assert tokens.caller(capsys.readouterr().out.strip()).view == CallerView("default", None, (("team", "x"),))


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--identity", "ops"], ExitCode.USAGE, "--signing-key and --identity go together"),
        (["--signing-key", "KEY"], ExitCode.USAGE, "--signing-key and --identity go together"),
        (["--signing-key", "KEY", "--identity", ""], ExitCode.USAGE, "--identity: expected one line"),
        (["--signing-key", "/", "--identity", "x"], ExitCode.ERROR, "/: Is a directory (--signing-key)"),
        (["--signing-key", "SHORT", "--identity", "x"], ExitCode.ERROR, "SHORT: expected keys of at least 32 bytes"),
        (
            ["--signing-key", "KEY", "--identity", "x", "--permission", "admin"],
            ExitCode.USAGE,
            "permissions[0]: is not granted",
        ),
        (
            ["--signing-key", "KEY", "--identity", "x", "--permission", "all"],
            ExitCode.USAGE,
            "permissions[0]: not a permission",
        ),
        (["--signing-key", "KEY", "--identity", "x", "--lifetime", "2d"], ExitCode.USAGE, "lifetime: expected at most"),
        (["--signing-key", "KEY", "--identity", "x", "--run", "r"], ExitCode.USAGE, "run_id: expected a UUID"),
        (["--signing-key", "KEY", "--identity", "x", "--namespace", "A"], ExitCode.ERROR, "the namespace is none of"),
    ],
)
def test_a_key_signs_nothing_that_a_gateway_would_not(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: list[str], code: ExitCode, words: str
) -> None:
    files = {"KEY": str(tmp_path / "key"), "SHORT": str(tmp_path / "short")}
    (tmp_path / "key").write_text(KEY, encoding="utf-8")
    (tmp_path / "short").write_text("short-secret", encoding="utf-8")
    assert run(["token", "grant", *(files.get(flag, flag) for flag in flags)]) == code
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {words.replace('SHORT', files['SHORT'])}")
    assert printed.out == ""
    assert "secret" not in printed.err
