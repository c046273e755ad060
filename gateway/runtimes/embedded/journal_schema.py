"""The tables of the journal in a SQLite file, and how those of earlier versions become them."""

from typing import Final

from gateway.runtimes.embedded.blob_rows import BLOB_USES_TABLE
from gateway.runtimes.embedded.cancel_notes import CANCELS_TABLE
from gateway.runtimes.embedded.changed_rows import CHANGED_INDEX
from gateway.runtimes.embedded.ended_rows import ENDED_RUNS_TABLE
from gateway.runtimes.embedded.index_tail import INDEXED_TABLE
from gateway.runtimes.embedded.index_upgrade import index_all
from gateway.runtimes.embedded.postings import NAMESPACE_TERMS, POSTINGS_TABLES
from gateway.runtimes.embedded.removals import ARRIVING_TABLE
from gateway.runtimes.embedded.result_rows import FAILED_INDEX, RESULTS_TABLE
from gateway.runtimes.embedded.run_keys import EARLY_RUNS_TABLE
from gateway.runtimes.embedded.stopped_rows import STOPPED_ITEMS_TABLE
from gateway.runtimes.embedded.stored_bytes import STORED_TABLE, count_stored
from gateway.runtimes.embedded.tombstones import TOMBSTONES_BY_NAMESPACE, TOMBSTONES_TABLE
from gateway.storage.sqlite_opening import Schema

# `runs.run` numbers the runs. The key of an input is (run << 24) + item_index. A row of `inputs` has the texts of
# `number` inputs, with commas between them, and the key of the first one. A result has two keys, one with its
# place in the order of completion and one with its item_index: both orders are range scans, and a second result for an
# item or a place violates a key, so an item can finish only once. `stopped_items` are those that
# a cancel has stopped, by the same item_index. `arriving` has the numbers of runs whose inputs are being written, or
# whose rows have to be removed.
#
# `ended_runs` holds the runs that had ended when they were accepted, unless they have an idempotency key, in one row
# each: `ended_rows.EndedRow`. Their ids grow, so rows are appended.
_NUMBER = "number INTEGER NOT NULL DEFAULT 1"
_INDEX = f"{EARLY_RUNS_TABLE} {POSTINGS_TABLES} {INDEXED_TABLE} {BLOB_USES_TABLE}"
_TABLES = f"""
CREATE TABLE blobs (blob_id TEXT PRIMARY KEY, type TEXT NOT NULL, content NOT NULL);
CREATE TABLE runs (
    run INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, flow_id TEXT NOT NULL, flow_name TEXT, flow_label TEXT,
    total INTEGER NOT NULL, max_concurrency INTEGER, overrides TEXT, variables TEXT NOT NULL, observability TEXT,
    scope TEXT NOT NULL, key TEXT, fingerprint TEXT NOT NULL, created_at INTEGER NOT NULL,
    status TEXT, success INTEGER, failed INTEGER, completed_at INTEGER,
    depth INTEGER NOT NULL DEFAULT 0, root_id TEXT, parent_id TEXT, labels TEXT, deadline INTEGER,
    cancelled INTEGER DEFAULT 0, started_at INTEGER, cancel_reason TEXT, changed INTEGER,
    owner TEXT, bytes INTEGER
);
CREATE UNIQUE INDEX runs_by_key ON runs (scope, key) WHERE key IS NOT NULL;
CREATE INDEX runs_unfinished ON runs (run) WHERE status IS NULL;
{_INDEX}
{CHANGED_INDEX}
{TOMBSTONES_TABLE}
{TOMBSTONES_BY_NAMESPACE}
CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, era INTEGER, opened INTEGER);
CREATE TABLE inputs (item INTEGER PRIMARY KEY, input TEXT NOT NULL, {_NUMBER});
{RESULTS_TABLE}
{FAILED_INDEX}
{STOPPED_ITEMS_TABLE}
{CANCELS_TABLE}
{ENDED_RUNS_TABLE}
{ARRIVING_TABLE}
{STORED_TABLE}
"""

# Each takes the same time for any number of rows, but for the index of version 6: it runs before the gateway serves.
_UPGRADES = {
    2: ARRIVING_TABLE,
    3: "ALTER TABLE runs ADD COLUMN depth INTEGER NOT NULL DEFAULT 0; ALTER TABLE runs ADD COLUMN root_id TEXT;",
    4: f"ALTER TABLE inputs ADD COLUMN {_NUMBER};",
    5: "ALTER TABLE runs ADD COLUMN parent_id TEXT; ALTER TABLE runs ADD COLUMN labels TEXT;"
    "ALTER TABLE runs ADD COLUMN deadline INTEGER; ALTER TABLE runs ADD COLUMN cancelled INTEGER DEFAULT 0;"
    "ALTER TABLE runs ADD COLUMN started_at INTEGER; ALTER TABLE runs ADD COLUMN cancel_reason TEXT;"
    "ALTER TABLE runs ADD COLUMN changed INTEGER; ALTER TABLE epochs ADD COLUMN era INTEGER;"
    "ALTER TABLE epochs ADD COLUMN opened INTEGER; ALTER TABLE results ADD COLUMN steps BLOB;"
    f"{STOPPED_ITEMS_TABLE} {FAILED_INDEX} {CANCELS_TABLE} {CHANGED_INDEX} {TOMBSTONES_TABLE} {_INDEX}",
    6: "ALTER TABLE runs ADD COLUMN owner TEXT; ALTER TABLE runs ADD COLUMN bytes INTEGER;"
    f"{STORED_TABLE} {NAMESPACE_TERMS} {TOMBSTONES_BY_NAMESPACE}",
}
_FILLINGS: Final = {5: index_all, 6: count_stored}
SCHEMA: Final = Schema(7, _TABLES, opening="INSERT INTO epochs DEFAULT VALUES", upgrades=_UPGRADES, fillings=_FILLINGS)
