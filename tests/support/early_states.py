"""State files that earlier versions of the gateway have written."""

from typing import Final

VERSION_2: Final = """
CREATE TABLE blobs (blob_id TEXT PRIMARY KEY, type TEXT NOT NULL, content NOT NULL);
CREATE TABLE runs (
    run INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, flow_id TEXT NOT NULL, flow_name TEXT, flow_label TEXT,
    total INTEGER NOT NULL, max_concurrency INTEGER, overrides TEXT, variables TEXT NOT NULL, observability TEXT,
    scope TEXT NOT NULL, key TEXT, fingerprint TEXT NOT NULL, created_at INTEGER NOT NULL,
    status TEXT, success INTEGER, failed INTEGER, completed_at INTEGER
);
CREATE UNIQUE INDEX runs_by_key ON runs (scope, key) WHERE key IS NOT NULL;
CREATE INDEX runs_unfinished ON runs (run) WHERE status IS NULL;
CREATE TABLE epochs (epoch INTEGER PRIMARY KEY);
CREATE TABLE inputs (item INTEGER PRIMARY KEY, input TEXT NOT NULL);
CREATE TABLE results (
    place INTEGER PRIMARY KEY, item INTEGER NOT NULL UNIQUE, status TEXT NOT NULL, value TEXT, error_code INTEGER,
    error_message TEXT, error_data TEXT, completed_at INTEGER NOT NULL
);
CREATE TABLE ended_runs (run_id TEXT PRIMARY KEY, run BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO epochs DEFAULT VALUES;
INSERT INTO runs VALUES (1, 'run-1', 'flow', 'name', NULL, 3, NULL, NULL, '{}', NULL, '', 'key', 'print', 7, NULL, NULL,
    NULL, NULL);
INSERT INTO inputs VALUES (16777216, '0'), (16777217, '1'), (16777218, '2');
INSERT INTO results VALUES (16777216, 16777217, 'success', '1', NULL, NULL, NULL, 101);
PRAGMA user_version = 2;
"""
"""The tables of version 2, with a run that has not ended."""
