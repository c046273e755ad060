"""The memory of this process: that of the machine, or of the control groups around it."""

import os
from pathlib import Path

import pytest

from gateway.server.machine_memory import machine_memory, warn_if_beyond

TOTAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_a_machine_without_control_groups_has_its_memory(tmp_path: Path) -> None:
    assert machine_memory(tmp_path / "none", tmp_path / "none") == TOTAL


@pytest.mark.parametrize(
    ("own", "around", "expected"),
    [
        ("1048576\n", "max\n", 1 << 20),
        ("max\n", "2097152\n", 2 << 20),
        ("1048576\n", "524288\n", 1 << 19),
        ("max\n", "max\n", TOTAL),
        (f"{TOTAL * 2}\n", "rubbish", TOTAL),
    ],
)
def test_the_lowest_limit_counts(tmp_path: Path, own: str, around: str, expected: int) -> None:
    group = tmp_path / "groups/system.slice/gateway.service"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(own)
    (group.parent / "memory.max").write_text(around)
    (tmp_path / "own").write_text("0::/system.slice/gateway.service\n")
    assert machine_memory(tmp_path / "groups", tmp_path / "own") == expected


def test_in_a_container_its_own_group_is_the_root(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1048576\n")
    (tmp_path / "own").write_text("0::/\n")
    assert machine_memory(tmp_path, tmp_path / "own") == 1 << 20


def test_a_limit_beyond_the_memory_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    available = machine_memory()
    warn_if_beyond(available)
    assert caplog.records == []
    warn_if_beyond(max(available + 1, 1 << 50))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "--max-memory is 1024 TiB, and there are " in caplog.text
