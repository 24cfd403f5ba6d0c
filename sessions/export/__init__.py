"""A span of a session for other tools: Perfetto, Chrome's trace viewer, SQLite, Parquet, CSV, text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sessions.export.span import Span

Writer = Callable[[Span, Path], None]

FORMATS = {
    "perfetto": "a trace for ui.perfetto.dev: a track a thread, calls nested, log lines and runs as instants",
    "chrome": "JSON for chrome://tracing and what reads it",
    "sqlite": "a database: calls, log, processes, events",
    "parquet": "a table of calls for pandas, DuckDB and others (needs pyarrow)",
    "csv": "the same table as text",
    "text": "a line a call, nested ones indented: cuInit(Flags: 0) -> CUDA_SUCCESS",
}
"""name -> one line"""

SUFFIXES = {
    ".pftrace": "perfetto",
    ".perfetto-trace": "perfetto",
    ".json": "chrome",
    ".sqlite": "sqlite",
    ".db": "sqlite",
    ".parquet": "parquet",
    ".csv": "csv",
    ".txt": "text",
}
"""What a file's name says about the format that is wanted."""


def writer(name: str) -> Writer:
    """The function that writes a format; KeyError when there is none of this name."""
    import importlib

    module = {"csv": "tables", "parquet": "tables", "sqlite": "database"}.get(name, name)
    if name not in FORMATS:
        raise KeyError(name)
    found: Writer = getattr(importlib.import_module(f"sessions.export.{module}"), f"write_{name}")
    return found
