"""Calls as a table: CSV and Parquet, with the same columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from sessions.errors import SessionError
from sessions.export.span import Call, Span

COLUMNS = (
    "number", "time_ns", "duration_ns", "pid", "thread", "caller", "function", "arguments", "outputs",
    "result", "result_code", "nesting", "parent", "sequence",
)  # fmt: skip
"""`arguments` and `outputs` are JSON objects of texts."""

_BATCH = 16384


def values_of(span: Span, call: Call) -> tuple[Any, ...]:
    """A call as values of COLUMNS."""
    row = call.row
    pid = span.processes[row.process].pid if row.process < len(span.processes) else 0
    return (
        row.number, row.time, row.duration, pid, row.thread, call.caller, call.decoded.name,
        json.dumps(call.arguments), json.dumps(call.outputs), call.decoded.result, row.result,
        row.nesting, row.parent, row.sequence,
    )  # fmt: skip


def write_csv(span: Span, path: Path) -> None:
    """A head line, then a line a call."""
    with path.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out)
        table.writerow(COLUMNS)
        table.writerows(values_of(span, call) for call in span.calls())


def write_parquet(span: Span, path: Path) -> None:
    """Row groups of some thousand calls; SessionError when pyarrow is not installed."""
    try:
        import pyarrow  # type: ignore[import-not-found,import-untyped,unused-ignore]
        import pyarrow.parquet  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise SessionError(
            "Parquet needs pyarrow: pip install pyarrow, into shimbench's environment"
        ) from None
    texts = ("caller", "function", "arguments", "outputs", "result")
    schema = pyarrow.schema(
        [(name, pyarrow.string() if name in texts else pyarrow.int64()) for name in COLUMNS]
    )
    with pyarrow.parquet.ParquetWriter(path, schema, compression="zstd") as out:
        for batch in _batches(values_of(span, call) for call in span.calls()):
            columns = [list(column) for column in zip(*batch, strict=True)]
            out.write_table(pyarrow.table(columns, schema=schema))


def _batches(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while batch := list(islice(rows, _BATCH)):
        yield batch
