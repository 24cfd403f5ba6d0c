"""An SQLite database of calls, log lines, processes and events."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from sessions.export.span import Span
from sessions.export.tables import COLUMNS, values_of

_TABLES = """
CREATE TABLE calls (number INTEGER PRIMARY KEY, time_ns INTEGER, duration_ns INTEGER, pid INTEGER,
    thread INTEGER, caller TEXT, function TEXT, arguments TEXT, outputs TEXT, result TEXT,
    result_code INTEGER, nesting INTEGER, parent INTEGER, sequence INTEGER);
CREATE TABLE log (time_ns INTEGER, pid INTEGER, stream TEXT, role TEXT, text TEXT, bytes INTEGER);
CREATE TABLE processes (pid INTEGER, ppid INTEGER, exe TEXT, argv TEXT, run INTEGER, role TEXT,
    started_ns INTEGER, ended_ns INTEGER, exit_code INTEGER, signal INTEGER);
CREATE TABLE events (time_ns INTEGER, kind TEXT, fields TEXT);
"""
_INDEXES = """
CREATE INDEX calls_by_function ON calls (function, result_code);
CREATE INDEX calls_by_time ON calls (time_ns);
"""


def write_sqlite(span: Span, path: Path) -> None:
    """Calls have the columns of the CSV; lists and objects are JSON."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_TABLES)
        marks = ",".join("?" * len(COLUMNS))
        calls = (values_of(span, call) for call in span.calls())
        database.executemany(f"INSERT INTO calls VALUES ({marks})", calls)
        database.executemany(
            "INSERT INTO log VALUES (?,?,?,?,?,?)",
            (
                (
                    line.time_ns,
                    line.pid,
                    line.stream,
                    line.role,
                    line.text.decode("utf-8", "replace"),
                    line.length,
                )
                for line in span.lines()
            ),
        )
        database.executemany(
            "INSERT INTO processes VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                (
                    p.pid,
                    p.ppid,
                    p.exe,
                    json.dumps(p.argv),
                    p.run,
                    p.role,
                    p.started_ns,
                    p.ended_ns,
                    p.exit_code,
                    p.signal,
                )
                for p in span.processes
            ),
        )
        database.executemany(
            "INSERT INTO events VALUES (?,?,?)",
            ((event.time_ns, event.kind, json.dumps(event.fields)) for event in span.events()),
        )
        database.executescript(_INDEXES)
        database.commit()
