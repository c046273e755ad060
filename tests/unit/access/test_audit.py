import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.access import audit_failures
from gateway.access.audit import MOST_LINES, SILENT, AuditLog
from gateway.access.audit_file import AuditFile
from gateway.core.caller import Caller, CallerView
from gateway.core.control import BulkProgress
from gateway.core.errors import QuotaExceeded, RunNotFound, Unauthenticated
from gateway.core.owner import Permission
from gateway.core.run_filter import RunFilter
from gateway.core.tokens import TokenParams

CALLER = Caller("team-a", CallerView("a"))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(path: Path, log: AuditLog) -> list[dict[str, Any]]:
    """The lines of a log, which is closed."""
    log.close()
    return lines_of(path)


def test_a_line_tells_who_did_what_to_which_run(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(AuditFile(str(path)))
    with log.entry(CALLER, "grpc", "SubmitRun", "ipv4:1.2.3.4:5") as entry:
        entry.names("run-1")
    with log.entry(CALLER, "component", "runs/cancel", inside="run-1") as entry:
        entry.concerns(RunFilter(labels={"a": "secret"}))
        entry.came_to(BulkProgress(matched=3, done=2, unchanged=1))
    assert path.stat().st_mode & 0o777 == 0o600
    first, second = written(path, log)
    assert first.pop("time").endswith("Z")
    assert first == {
        "identity": "team-a",
        "namespace": "a",
        "front": "grpc",
        "peer": "ipv4:1.2.3.4:5",
        "method": "SubmitRun",
        "runs": ["run-1"],
        "code": "OK",
    }
    assert (second["inside"], second["counts"]) == ("run-1", {"matched": 3, "done": 2, "unchanged": 1})
    assert "secret" not in path.read_text()


def test_the_outcome_of_calls_that_fail_is_told(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(AuditFile(str(path)))
    for error in (RunNotFound("no"), QuotaExceeded("no", quota="max_calls"), ZeroDivisionError()):
        with pytest.raises(type(error)), log.entry(CALLER, "http", "runs/cancel"):
            raise error
    with pytest.raises(KeyboardInterrupt), log.entry(CALLER, "http", "runs/cancel"):
        raise KeyboardInterrupt
    told = [(line["code"], line["reason"], line.get("quota")) for line in written(path, log)]
    assert told == [
        ("NOT_FOUND", "RUN_NOT_FOUND", None),
        ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "max_calls"),
        ("INTERNAL", "INTERNAL", None),
        ("CANCELLED", "CANCELLED", None),
    ]


def test_a_flood_of_refusals_is_told_by_a_few_lines_and_a_count(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(AuditFile(str(path)))
    for _ in range(5_000):
        log.refused(Unauthenticated("no"), "grpc", "/runs.v1.RunsService/GetRun", "ipv4:1.2.3.4:5")
    for number in range(1_000):
        log.refused(QuotaExceeded("no", quota="max_calls"), "http", "runs/get", "", Caller(f"{number}"))
    with log.entry(CALLER, "grpc", "SubmitRun"):
        pass
    lines = written(path, log)
    assert len(lines) < audit_failures.IN_ALL + audit_failures.MOST_KINDS + 3
    assert sum(line.get("count", 1) for line in lines) == 6_001
    assert sum(line.get("count", 0) for line in lines if line.get("code") == "UNAUTHENTICATED") == 4_995
    assert any(line["method"] == "SubmitRun" for line in lines if "method" in line)


def test_a_file_that_has_been_moved_is_opened_anew(tmp_path: Path) -> None:
    path, moved = tmp_path / "audit.log", tmp_path / "audit.log.1"
    file = AuditFile(str(path))
    assert file.append([b"1\n"]) == 0
    path.rename(moved)
    assert file.append([b"2\n", b"3\n"]) == 0
    assert (moved.read_bytes(), path.read_bytes()) == (b"1\n", b"2\n3\n")
    path.unlink()
    file.append([b"4\n"])
    assert path.read_bytes() == b"4\n"
    assert path.stat().st_mode & 0o777 == 0o600
    path.rename(moved)
    os.chmod(tmp_path, 0o500)
    if os.geteuid():
        assert file.append([b"5\n"]) == 0, "the old one is written on"
        assert moved.read_bytes() == b"4\n5\n"
    os.chmod(tmp_path, 0o700)
    file.close()


def test_what_finds_no_room_is_counted_and_told(tmp_path: Path) -> None:
    """The thread is held up by a pipe that is not read."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    held = threading.Event()

    class HeldFile(AuditFile):
        def append(self, lines: list[bytes]) -> int:
            held.wait()
            return super().append(lines)

    log = AuditLog(HeldFile(str(path)))
    for _ in range(MOST_LINES + 600):
        with log.entry(CALLER, "grpc", "SubmitRun"):
            pass
    told = b""
    held.set()
    closing = threading.Thread(target=log.close)
    closing.start()
    while b"LINES_LOST" not in told or closing.is_alive():
        try:
            told += os.read(reader, 1 << 16)
        except BlockingIOError:
            continue
    closing.join()
    os.close(reader)
    lines = [json.loads(line) for line in told.splitlines() if line.endswith(b"}")]
    assert sum(line["count"] for line in lines if line.get("reason") == "LINES_LOST") >= 300


def test_lines_that_cannot_be_written_are_counted(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("the system has no device that is always full")
    file = AuditFile("/dev/full")
    assert file.append([b"1\n", b"2\n"]) == 2
    file.close()


def test_without_a_log_nothing_is_told() -> None:
    assert not SILENT.on
    with SILENT.entry(CALLER, "grpc", "SubmitRun") as entry:
        entry.names("run")
        entry.concerns(RunFilter())
        entry.came_to(BulkProgress(1, 1, 0))
        entry.makes_token(TokenParams(permissions=(Permission.READ,)))
    assert SILENT.entry(CALLER, "http", "x") is SILENT.entry(CALLER, "grpc", "y")
    SILENT.refused(Unauthenticated("no"), "grpc", "x", "y")
    SILENT.close()


def test_a_closed_log_tells_nothing_more(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = AuditLog(AuditFile(str(path)))
    log.close()
    with log.entry(CALLER, "grpc", "SubmitRun"):
        pass
    assert path.read_bytes() == b""
