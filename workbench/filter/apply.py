"""From a call, or a line of the log, to filters that it passes: what apply-as-filter offers."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from sessions.decode import CallDecoder
from workbench.filter.lines import writer
from workbench.filter.parse import tokenise
from workbench.filter.terms import WORDS
from workbench.target.log_grammar import Level, parse_bytes

if TYPE_CHECKING:
    from sessions import Session

_WORDS = {word.word for word in WORDS} | {"and", "or", "not"}
_QUOTED = set(" ()!|&")


def term(key: str, value: str) -> str:
    """A term of the language, its value quoted where it must be; a function's name alone if that will do."""
    quoted = f'"{value}"' if _QUOTED & set(value) else value
    if key == "fn" and quoted == value and ":" not in value and value.lower() not in _WORDS:
        return value
    return f"{key}:{quoted}"


def terms_of(session: Session, number: int) -> dict[str, str]:
    """Terms that a call (by its row) passes, by what they are of: function, result, caller, pid, thread,
    process, run, duration, call, argument 0 to 2."""
    row = session.calls.row(number)
    process = session.processes[row.process]
    name = session.schema.function_name(row.function)
    function = session.schema.functions.get(row.function)
    found = {"function": term("fn", name)}
    if function is not None and function.result in ("CUresult", "nvmlReturn_t"):
        found["result"] = term("result", CallDecoder(session.schema).result_text(row.function, row.result))
    else:
        found["result"] = term("result", str(row.result))
    caller = session.caller_name(row.process, row.caller).rpartition("+0x")[0]
    if caller:
        found["caller"] = term("caller", caller)
    found |= {
        "pid": f"pid:{process.pid}",
        "thread": f"thread:{row.thread}",
        "process": term("process", PurePosixPath(process.exe).name),
        "run": f"run:{process.run}",
        "duration": f"dur:>={row.duration}ns",
        "call": f"call:{row.number}",
    }
    for place, value in enumerate(row.args):
        if value:
            found[f"argument {place}"] = f"arg:0x{value:x}"
    return found


def terms_of_line(session: Session, number: int) -> dict[str, str]:
    """Terms that a line of the log passes, by what they are of: source, level, process, stream, pid, run,
    time, call, line, length, each field that it has, message. What holds a quote can't be written in one."""
    line = session.log.line(number)
    parsed = parse_bytes(line.text)
    found = {}
    if parsed.source:
        found["source"] = term("source", parsed.source)
    if parsed.level != Level.UNKNOWN:
        found["level"] = f"level:{parsed.level.name.lower()}"
    found["process"] = term("process", writer(session, line))
    if line.stream in ("stdout", "stderr"):
        found["stream"] = f"fd:{line.stream.removeprefix('std')}"
    if line.pid > 0:
        found["pid"] = f"pid:{line.pid}"
    if 0 <= line.process < len(session.processes):
        found["run"] = f"run:{session.processes[line.process].run}"
    found |= {
        "time": f"time:>={line.time_ns / 1e9:.9f}s",
        "call": f"call:{line.after_call}",
        "line": f"line:{number + 1}",
        "length": f"bytes:{line.length}",
    }
    for name, value in parsed.fields:
        if '"' not in name + value:
            found[f"field {name}"] = term("field", f"{name}={value}")
    if parsed.message and '"' not in parsed.message and parsed.message.isprintable():
        found["message"] = f'text:"{parsed.message}"'
    return found


def with_term(text: str, added: str) -> str:
    """A filter that passes what both `text` and `added` pass."""
    if not text.strip():
        return added
    if any(token.kind == "|" for token in tokenise(text)):
        return f"({text}) {added}"
    return text if added in text.split() else f"{text} {added}"
