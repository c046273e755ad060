import subprocess
import sys
from pathlib import Path

import pytest

from gateway.concurrency.counter_table import KINDS, CounterTable

_CHILD = """
import sys
from gateway.concurrency.counter_table import CounterTable
table = CounterTable.join(sys.argv[1])
row = table.row(table.key_of(sys.argv[2]))
table.add(row, 1, int(sys.argv[3]))
print(table.column, table.count(row, 1), flush=True)
sys.stdin.read()
"""


def child(path: Path, name: str, number: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(path), name, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_rows_belong_to_keys_and_count_kinds_apart() -> None:
    table = CounterTable()
    first, second = table.row(table.key_of("a")), table.row(table.key_of("b"))
    assert first is not None
    assert second is not None
    assert first != second
    assert table.row(table.key_of("a")) == first
    for kind in range(KINDS):
        table.add(first, kind, kind + 1)
    assert [table.count(first, kind) for kind in range(KINDS)] == [1, 2, 3, 4]
    assert [table.count(second, kind) for kind in range(KINDS)] == [0] * KINDS
    table.set_time(first, 1, 77)
    assert (table.time_of(first, 0), table.time_of(first, 1), table.time_of(second, 1)) == (0, 77, 0)


def test_rows_that_count_nothing_are_given_to_others_and_the_rest_is_bounded() -> None:
    table = CounterTable(rows=4)
    table.now = lambda: 1_000
    keys = [table.key_of(str(number)) for number in range(6)]
    rows = [table.row(key) for key in keys[:4]]
    for row in rows:
        assert row is not None
        table.add(row, 0, 1)
    assert table.row(keys[4]) is None
    assert rows[0] is not None
    assert rows[1] is not None
    table.add(rows[0], 0, -1)
    table.set_time(rows[0], 0, 1_001)
    assert table.row(keys[4]) is None, "its bucket is not full again"
    table.set_time(rows[0], 0, 1_000)
    assert table.row(keys[4]) == rows[0]
    assert not table.has(rows[0], keys[0])
    assert table.time_of(rows[0], 0) == 0
    assert table.row(keys[1]) == rows[1]


def test_processes_share_counts_and_what_a_dead_one_held_is_gone_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "counters"
    CounterTable.create(str(path), 2)
    assert path.stat().st_mode & 0o777 == 0o600
    first = child(path, "team", 3)
    assert said(first) == "0 3"
    second = child(path, "team", 4)
    assert said(second) == "1 7"
    with pytest.raises(OSError, match="taken"):
        CounterTable.join(str(path))
    first.kill()
    first.wait()
    third = child(path, "team", 1)
    assert said(third) == "0 5", "three of the dead one are gone"
    for process in (second, third):
        process.communicate()
    for process in (first, second, third):
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
    table = CounterTable.join(str(path))
    row = table.row(table.key_of("other"))
    assert row is not None
    assert table.count(row, 1) == 0
    table.close()
