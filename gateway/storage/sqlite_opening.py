"""Opening a SQLite file: it is ours, or it is left as it is."""

import logging
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import quote

from gateway.storage.owned_file import OwnedFile, StateError
from gateway.storage.sqlite_problems import problem_of

_log = logging.getLogger(__name__)

APPLICATION_ID: Final = int.from_bytes(b"RUNS")
"""What files of this program have as their `application_id`, a number in the header of SQLite files."""

STATEMENTS: Final = 256
"""How many prepared statements are kept: there is one for each number of rows that are inserted together."""

_HEADER_BYTES: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_ID_PLACE: Final = slice(68, 72)


Filling: TypeAlias = Callable[[sqlite3.Connection], str]
"""Writes the rows of new tables within the transaction of an upgrade, and returns in words what it has done."""


class Schema(NamedTuple):
    """What a file holds: the tables, made once, and a statement that each opening executes.

    `version` is kept in the file as its `user_version`. `upgrades` holds the statements that bring a file of an earlier
    version to the next one, and `fillings` what writes rows after them. Files of any other version, or for another
    purpose, are refused.
    """

    version: int
    tables: str
    opening: str = ""
    upgrades: Mapping[int, str] = MappingProxyType({})
    fillings: Mapping[int, Filling] = MappingProxyType({})

    @property
    def versions(self) -> set[int]:
        """The versions that can be opened."""
        return {self.version, *self.upgrades}


class SqliteConnections(NamedTuple):
    """The connections to a file: one that writes, and one that reads."""

    writing: sqlite3.Connection
    reading: sqlite3.Connection

    def close(self) -> None:
        """Close both. The last one that closes moves what was written last into the file."""
        self.reading.close()
        self.writing.close()


def open_connections(file: OwnedFile, shown: Path, schema: Schema) -> SqliteConnections:
    """Open a file that this process owns, and bring its schema up.

    `shown` is the name that messages have for it. Raises StateError if it is of another application, for another
    purpose or of another version, or if it cannot be read. It is not changed then.
    """
    try:
        _refuse_foreign(file, shown, schema)
        writing = _connection(file.path)
        try:
            _prepare(writing, shown, schema)
            return SqliteConnections(writing, _connection(file.path))
        except BaseException:
            writing.close()
            raise
    except sqlite3.Error as error:
        raise StateError(f"cannot use the state {shown}: {problem_of(error, file.path)}") from error


def _refuse_foreign(file: OwnedFile, shown: Path, schema: Schema) -> None:
    """Raise StateError if the file was written by another application. Nothing is changed, and nothing made."""
    header = os.pread(file.descriptor, _HEADER_BYTES, 0)
    application = int.from_bytes(header[_ID_PLACE])
    if not header or application == APPLICATION_ID:
        return
    foreign = StateError(f"cannot use the state {shown}: it is a file of another application, and stays as it is")
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC) or application:
        raise foreign
    # Nothing is read beside the file, unless what was written last is there.
    beside = any(os.path.exists(f"{file.path}{ending}") for ending in ("-wal", "-journal"))
    only = "mode=ro" if beside else "mode=ro&immutable=1"
    db = sqlite3.connect(f"file:{quote(str(file.path))}?{only}", uri=True)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        made_by = [sql for (sql,) in db.execute("SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")]
    finally:
        db.close()
    if (made_by or version) and not _is_early(made_by, version, schema):
        raise foreign


def _is_early(made_by: Sequence[str], version: int, schema: Schema) -> bool:
    """Whether a file is of an early version, which wrote no application_id: brought up, it has the tables of today."""
    if version not in schema.versions:
        return False
    with closing(sqlite3.connect(":memory:")) as early, closing(sqlite3.connect(":memory:")) as ours:
        ours.executescript(schema.tables)
        try:
            for statement in made_by:
                early.execute(statement)
            for earlier in range(version, schema.version):
                early.executescript(schema.upgrades[earlier])
        except sqlite3.Error:
            return False
        return _columns(early) == _columns(ours)


def _columns(db: sqlite3.Connection) -> set[tuple[str, str, str | None]]:
    """The objects of a file by type, with the columns of tables."""
    return set(
        db.execute(
            "SELECT object.type, object.name, field.name FROM sqlite_schema AS object "
            "LEFT JOIN pragma_table_info(object.name) AS field WHERE object.name NOT LIKE 'sqlite_%'"
        )
    )


def _prepare(db: sqlite3.Connection, shown: Path, schema: Schema) -> None:
    """Make the tables, or bring those of an older version up. Raises StateError if the file holds something else."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in {0, *schema.versions}:
        raise _other_version(shown, version)
    if version == 0:
        # Of a file that has tables, it would take a VACUUM.
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # Before what is written goes beside the file: the header tells whose it is, also after a crash.
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA journal_mode = WAL")
    if version == 0:
        db.executescript(f"BEGIN; {schema.tables} PRAGMA user_version = {schema.version}; COMMIT;")
    while 0 < version < schema.version:
        _upgrade(db, shown, schema, version)
        version += 1
    db.execute(schema.opening)


def _upgrade(db: sqlite3.Connection, shown: Path, schema: Schema, version: int) -> None:
    """Bring a file from a version to the next one, in one transaction."""
    fill = schema.fillings.get(version)
    if fill is not None:
        _log.info("the state %s is brought from schema %d to %d", shown, version, version + 1)
    db.executescript(f"BEGIN; {schema.upgrades[version]} PRAGMA user_version = {version + 1};")
    done = "" if fill is None else f": {fill(db)}"
    db.execute("COMMIT")
    _log.info("the state %s has schema %d now%s", shown, version + 1, done)


def _other_version(shown: Path, version: int) -> StateError:
    return StateError(
        f"the state {shown} was written for another runtime or by another version of runs-gateway (schema {version})"
    )


def _connection(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS)
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -65536")
    except sqlite3.Error:
        db.close()
        raise
    return db
