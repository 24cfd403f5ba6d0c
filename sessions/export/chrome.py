"""Chrome's trace event format: JSON with a complete event a call, times in us."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sessions.export.span import Span


def write_chrome(span: Span, path: Path) -> None:
    """One object {"traceEvents": [...]}, written as it comes."""
    with path.open("w", encoding="utf-8") as out:
        out.write('{"displayTimeUnit": "ns", "traceEvents": [')
        for number, event in enumerate(_events(span)):
            out.write((",\n" if number else "\n") + json.dumps(event))
        out.write("\n]}\n")


def _events(span: Span) -> Iterator[dict[str, Any]]:
    for process in span.processes:
        name = Path(process.exe).name or process.role
        yield {"ph": "M", "pid": process.pid, "name": "process_name", "args": {"name": name}}
    for call in span.calls():
        row = call.row
        arguments = {"number": row.number, "result": call.decoded.result, "caller": call.caller}
        arguments |= call.arguments | {f"*{name}": text for name, text in call.outputs.items()}
        yield {
            "ph": "X",
            "name": call.decoded.name,
            "cat": "call" if row.result == 0 else "call,error",
            "pid": _pid(span, row.process),
            "tid": row.thread,
            "ts": row.time / 1000,
            "dur": row.duration / 1000,
            "args": arguments,
        }
    for line in span.lines():
        text = line.text.decode("utf-8", "replace").rstrip("\n")
        instant = {"ph": "i", "s": "p", "cat": "log", "pid": line.pid, "tid": line.pid}
        yield {**instant, "ts": line.time_ns / 1000, "name": text, "args": {"stream": line.stream}}
    for event in span.events():
        if event.kind in ("run", "build", "mark", "run-end", "first-call"):
            instant = {"ph": "i", "s": "g", "cat": "session", "pid": 0, "tid": 0}
            yield {**instant, "ts": event.time_ns / 1000, "name": event.kind, "args": event.fields}


def _pid(span: Span, process: int) -> int:
    return span.processes[process].pid if 0 <= process < len(span.processes) else 0
