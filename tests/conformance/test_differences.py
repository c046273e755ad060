"""The table of differences is in the document, and each of its rows is tested."""

from pathlib import Path

from tests.conformance import differences
from tests.conformance.differences import DIFFERENCES, DOCUMENT_FILE, TARGET, table
from tests.support.tables import with_table

SUITES = ("test_runtimes.py", "test_control.py")


def test_the_document_has_the_table() -> None:
    document = DOCUMENT_FILE.read_text()
    assert document == with_table(document, TARGET, table()), "`make engines-table` writes it anew"


def test_every_row_is_tested() -> None:
    suite = "".join(Path(__file__).with_name(name).read_text() for name in SUITES)
    names = [name for name, value in vars(differences).items() if value in DIFFERENCES]
    assert len(names) == len(DIFFERENCES)
    assert [name for name in names if f"differences.{name}" not in suite] == []
