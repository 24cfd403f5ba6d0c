"""The filter language's words for calls: a row each, with its help, and what makes a node of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from sessions.format import CallFlag
from workbench.filter.language import (
    Language,
    Term,
    Word,
    compare,
    matches,
    nanoseconds,
    process_values,
    whole_number,
)
from workbench.filter.nodes import NUMBERS, Mask, Node, Rows, RowTest, Test

if TYPE_CHECKING:
    from sessions import Session
    from sessions.calls import Row


def _lookup(column: str, choose: Callable[[Session], list[int]]) -> Node[Rows]:
    """Rows whose number in a column is one of a few, which are chosen once more as they grow."""
    known: list[tuple[object, int, Mask]] = []

    def holds(rows: Rows) -> Mask:
        session = rows.session
        size = len(session.processes)
        if not known or known[0][0] is not session or known[0][1] != size:
            table = np.zeros(NUMBERS, bool)
            table[choose(session)] = True
            known[:] = [(session, size, table)]
        return known[0][2][rows.column(column)]

    return Test(holds)


def _function(value: str) -> Node[Rows]:
    matching = matches(value)

    def choose(session: Session) -> list[int]:
        numbers = [*session.schema.functions, *range(0xF001, 0xF007)]
        return [number for number in numbers if matching(session.schema.function_name(number))]

    return _lookup("function", choose)


def _library(value: str) -> Node[Rows]:
    if value not in ("cuda", "nvml"):
        raise ValueError("cuda or nvml")
    return _lookup(
        "function", lambda session: [n for n, f in session.schema.functions.items() if f.library == value]
    )


def _process(value: str) -> Node[Rows]:
    matching = matches(value)

    def choose(session: Session) -> list[int]:
        return [process.index for process in session.processes if matching(PurePosixPath(process.exe).name)]

    return _lookup("process", choose)


def _pid(value: str) -> Node[Rows]:
    pid = whole_number(value)
    return _lookup("process", lambda session: [p.index for p in session.processes if p.pid == pid])


def _run(value: str) -> Node[Rows]:
    run = whole_number(value)
    return _lookup("process", lambda session: [p.index for p in session.processes if p.run == run])


def _thread(value: str) -> Node[Rows]:
    thread = whole_number(value)
    return Test(lambda rows: rows.column("thread") == thread)


def _duration(value: str) -> Node[Rows]:
    test = compare(value, nanoseconds)
    return Test(lambda rows: test(rows.column("duration")))


def _time(value: str) -> Node[Rows]:
    test = compare(value, nanoseconds)
    return Test(lambda rows: test(rows.column("time")))


def _call(value: str) -> Node[Rows]:
    test = compare(value, whole_number)
    return Test(lambda rows: test(np.arange(rows.start + 1, rows.stop + 1)))


def _nesting(value: str) -> Node[Rows]:
    test = compare(value, whole_number)
    return Test(lambda rows: test(rows.column("nesting")))


def _argument(value: str) -> Node[Rows]:
    wanted = whole_number(value) & 0xFFFFFFFFFFFFFFFF
    return Test(
        lambda rows: np.logical_or.reduce([rows.column(f"arg{place}") == wanted for place in range(3)])
    )


def _caller(value: str) -> Node[Rows]:
    matching = matches(value)

    def holds(rows: Rows) -> Mask:
        caller, process = rows.column("caller"), rows.column("process")
        found = np.zeros(len(rows), bool)
        for index in np.unique(process).tolist():
            of_process = process == index
            for module in rows.session.processes[index].modules:
                if matching(PurePosixPath(module.path).name):
                    found |= of_process & (caller >= module.start) & (caller < module.end)
        return found

    return Test(holds)


def _failed(rows: Rows) -> Mask:
    """Calls of the API that returned an error; lookups say in another way what they found."""
    returned = (rows.column("flags") & int(CallFlag.UNRETURNED)) == 0
    result, function = rows.column("result"), rows.column("function")
    lookup = (function == 0xF001) | (function == 0xF002) | (function == 0xF003)
    failed_lookup = ((function == 0xF003) & (result == -1)) | ((function != 0xF003) & (result == 0))
    slot = function == 0xF005  # what a table's slot returns is not known to be a result
    failed: Mask = returned & np.where(lookup, failed_lookup, (result != 0) & ~slot)
    return failed


def _ok(rows: Rows) -> Mask:
    fine: Mask = ~_failed(rows) & ((rows.column("flags") & int(CallFlag.UNRETURNED)) == 0)
    return fine


def is_ok(row: Row) -> bool:
    """Whether `ok` holds of one call."""
    if row.flags & int(CallFlag.UNRETURNED):
        return False
    if row.function in (0xF001, 0xF002):
        return row.result != 0
    if row.function == 0xF003:
        return row.result != -1
    return row.result == 0 or row.function == 0xF005


def _flag(flag: CallFlag) -> Callable[[], Node[Rows]]:
    return lambda: Test(lambda rows: (rows.column("flags") & int(flag)) != 0)


def _result(value: str) -> Node[Rows]:
    if re.fullmatch(r"-?\d+", value):
        number = int(value)
        return Test(lambda rows: rows.column("result") == number)
    matching = matches(value)

    def holds(rows: Rows) -> Mask:
        schema = rows.session.schema
        found = np.zeros(len(rows), bool)
        function, result = rows.column("function"), rows.column("result")
        for enum in ("CUresult", "nvmlReturn_t"):
            numbers = [n for n, f in schema.functions.items() if f.result == enum]
            values = [v for name, v in schema.enums.get(enum, {}).items() if matching(name)]
            table = np.zeros(NUMBERS, bool)
            table[numbers] = True
            found |= table[function] & np.isin(result, values)
        return found

    return Test(holds)


def _text(value: str) -> Node[Rows]:
    wanted = value.casefold()

    def holds(session: Session, row: int) -> bool:
        from sessions.decode import CallDecoder

        return wanted in CallDecoder(session.schema).text(session, row).casefold()

    return RowTest(holds)


def _functions(session: Session) -> list[tuple[str, str]]:
    return [(function.name, "function") for function in session.schema.functions.values()]


def _values(key: str, session: Session | None) -> list[tuple[str, str]]:
    if key == "lib":
        return [("cuda", "the driver API"), ("nvml", "the management library")]
    if key in ("dur", "time"):
        return [(">1ms", "longer than"), ("<20us", "shorter than"), ("1ms-5ms", "between")]
    if session is None:
        return []
    if key == "fn":
        return _functions(session)
    if key == "result":
        enums = session.schema.enums
        return [
            (name, f"{enum} {value}")
            for enum in ("CUresult", "nvmlReturn_t")
            for name, value in enums.get(enum, {}).items()
        ]
    if key == "caller":
        names = {
            PurePosixPath(module.path).name for process in session.processes for module in process.modules
        }
        return [(name, "library") for name in sorted(names)]
    return process_values(key, session)


TERMS = (
    Term("", "GLOB", "functions by name: a glob, or a part of the name", "cuMem*", _function),
    Term("fn", "fn:GLOB", "the same, where the name could be a word of the language", "fn:ok*", _function),
    Term("lib", "lib:cuda|nvml", "functions of one library", "lib:nvml", _library),
    Term("result", "result:GLOB or NUMBER", "what the call returned", "result:CUDA_ERROR_*", _result),
    Term("pid", "pid:NUMBER", "calls of the process with this pid", "pid:4121", _pid),
    Term(
        "process", "process:GLOB", "calls of processes whose program is called so", "process:llama*", _process
    ),
    Term("run", "run:NUMBER", "calls of one run of the session", "run:3", _run),
    Term("thread", "thread:NUMBER", "calls of the thread with this number", "thread:4125", _thread),
    Term("caller", "caller:GLOB", "calls made by a library or program", "caller:libcudart", _caller),
    Term("dur", "dur:>TIME", "how long it took: >1ms, <20us, 1ms-5ms", "dur:>1ms", _duration),
    Term("time", "time:>TIME", "when it began, since the session's start", "time:2s-3s", _time),
    Term("call", "call:NUMBER-NUMBER", "calls by their number", "call:443", _call),
    Term("nesting", "nesting:NUMBER", "how many calls it was made inside of", "nesting:>0", _nesting),
    Term("arg", "arg:NUMBER", "one of the first three arguments is this", "arg:0x7f0000000000", _argument),
    Term("text", "text:WORDS", "part of the call as it is shown; quote blanks", "text:sm_80", _text),
)
"""Terms by what stands before their colon."""

WORDS = (
    Word("ok", "calls that returned no error", lambda: Test(_ok)),
    Word("error", "calls that returned one; lookups that found nothing", lambda: Test(_failed)),
    Word("unreturned", "calls that never returned", _flag(CallFlag.UNRETURNED)),
    Word("internal", "calls of the shim to itself", _flag(CallFlag.INTERNAL)),
    Word("cut", "calls whose values were too long to be kept whole", _flag(CallFlag.TRUNCATED)),
    Word("nested", "calls made inside of another", lambda: Test(lambda rows: rows.column("nesting") > 0)),
)
"""Words that stand alone."""

CALLS: Language[Rows] = Language("calls", TERMS, WORDS, _values, _functions)
"""What is said of calls."""
