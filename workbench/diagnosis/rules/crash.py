"""The process died, or left, inside of a call; or it died outside of all, when a runtime had worked in it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from sessions import FIRST_PSEUDO_FUNCTION
from sessions.format import ItemKind
from sessions.items import Pseudo, string_of
from workbench.diagnosis.calls import PROC_ADDRESS, Call
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Rule, Stage
from workbench.diagnosis.rules.stuck import stage_of
from workbench.diagnosis.rules.tables import next_slot
from workbench.diagnosis.saying import Said

if TYPE_CHECKING:
    from sessions import Process

_SEARCHED_ROWS = 1 << 18
"""Requests stand at a session's beginning; later ones are not looked for."""

_CRASHES = {
    signal.SIGSEGV: "followed a wild pointer",
    signal.SIGBUS: "touched memory that is not there",
    signal.SIGABRT: "aborted",
    signal.SIGILL: "ran what is no instruction",
    signal.SIGFPE: "divided by zero",
    signal.SIGTRAP: "ran into a trap",
    signal.SIGSYS: "made a forbidden system call",
}


def find(facts: Facts) -> Iterator[Diagnosis]:
    for process in facts.processes:
        inside = [c for c in facts.unreturned if c.process == process.index and c.function != Pseudo.DLOPEN]
        if not inside:
            yield from _outside(facts, process)
            continue
        call = inside[-1]  # the innermost of the thread that entered last
        crash = process.signal in _CRASHES
        if not crash and not (process.signal is None and process.exit_code and call.function == Pseudo.LOAD):
            continue
        yield _diagnosis(facts, call, process.signal, process.exit_code, len({c.thread for c in inside}) > 1)


def _diagnosis(
    facts: Facts, call: Call, number: int | None, exit_code: int | None, several: bool
) -> Diagnosis:
    loading = call.function == Pseudo.LOAD
    place = "a constructor of the shim, or of a library it needs," if loading else f"the shim's {call.name}"
    rule: Rule
    if number is None:
        rule = "constructor-exits"
        what = f"the process exits with {exit_code} while the shim is loaded"
        cause = f"{place} ended the process"
    else:
        name = signal.Signals(number).name
        rule = "constructor-crashes" if loading else "call-crashes"
        what = f"the process dies by {name} in {'loading the shim' if loading else call.name}"
        cause = f"{place} {_CRASHES[signal.Signals(number)]}"
    frame, line = _frame(facts, call.process)
    evidence = [facts.call_evidence(call.row)]
    words = _last_words(facts, call.process, number)
    wild = _wild_answer(facts, call)
    if wild is not None:
        row, address = wild
        given = f"cuGetProcAddress had handed out 0x{address:x} for {call.name}"
        cause = f"{given}, where no file of the process lies"
        evidence.append(facts.call_evidence(row))
        frame = line = ""  # the jump, not what is wrong
    elif words is not None:
        cause = f"glibc ended it in {place.removesuffix(',')}: {_found(words)}"
        evidence.append(facts.line_evidence(words))
    if frame:
        cause += f", in {frame}"
        evidence.append(
            Evidence(f"the kernel's log: the fault lies in {frame}{f' ({line})' if line else ''}")
        )
    return Diagnosis(
        rule=rule,
        what=what,
        cause=cause,
        fix=f"look at {line}" if line else "run it under gdb, or build the shim with -fsanitize=address",
        certainty="likely" if several else "proved",
        stage=stage_of(call.function, call.name),
        evidence=evidence,
        process=call.process,
    )


def _wild_answer(facts: Facts, call: Call) -> tuple[int, int] | None:
    """The request (row) that was answered with an address in no mapped file, and that address."""
    session, process = facts.session, facts.process(call.process)
    if process is None or not process.modules or call.function >= FIRST_PSEUDO_FUNCTION:
        return None
    asked = [session.schema.function_id(name) for name in PROC_ADDRESS]
    columns = session.calls.columns(0, min(call.row, _SEARCHED_ROWS), ["function", "process"])
    rows = np.flatnonzero(np.isin(columns["function"], [number for number in asked if number is not None]))
    for row in rows[columns["process"][rows] == call.process][::-1].tolist():
        items = session.calls.payload(row)
        name = string_of(items, 0)
        if not name or (call.name != name and not call.name.startswith(f"{name}_")):
            continue
        answers = [item.data for item in items if item.kind == ItemKind.RESOLVED and len(item.data) >= 16]
        address = int.from_bytes(answers[0][8:16], "little") if answers else 0
        return (row, address) if address and process.module_at(address) is None else None
    return None


def _last_words(facts: Facts, process: int, number: int | None) -> Said | None:
    """What glibc said before it aborted the process."""
    said = facts.lines("heap", process) if number == signal.SIGABRT else []
    return said[-1] if said else None


def _found(words: Said) -> str:
    if words.subject.startswith(("stack", "buffer")):
        return f"{words.subject}: a function wrote past the end of an array of its own"
    return (
        f"{words.subject}: something freed what it had not allocated, or twice, or wrote past its memory,"
        " here or in an earlier call"
    )


def _outside(facts: Facts, process: Process) -> Iterator[Diagnosis]:
    """What the target says of a failure, a call that failed last, and a slot that a runtime was about to call
    are told by others."""
    last = facts.last_rows.get(process.index, -1)
    if process.signal not in _CRASHES or not facts.bootstrapped_after(process.index, -1):
        return
    said = any(said.code for said in facts.said if said.process == process.index)
    row = facts.session.calls.row(last)
    if said or row.result or next_slot(facts, process.index) is not None:
        return
    name = signal.Signals(process.signal).name
    frame, line = _frame(facts, process.index)
    ours = _lies_in_shim(facts, process.index)
    after = ((process.ended_ns or 0) - row.time - row.duration) / 1e6
    where = (
        f"in {frame}" if frame else "in a destructor or a thread of the shim's, or in the target's own code"
    )
    cause = f"it {_CRASHES[signal.Signals(process.signal)]} {where}"
    evidence = [facts.call_evidence(last)]
    words = _last_words(facts, process.index, process.signal)
    if words is not None:
        cause = f"glibc ended it: {_found(words)}"
        evidence.append(facts.line_evidence(words))
    yield Diagnosis(
        rule="crashes-outside-calls",
        what=f"the process dies by {name} outside of every call, {after:.0f} ms after its last one",
        cause=cause,
        fix=f"look at {line}" if line else "run it under gdb, or build the shim with -fsanitize=address",
        certainty="proved" if ours else "possible",
        stage=Stage.WORK,
        evidence=evidence,
        process=process.index,
    )


def _lies_in_shim(facts: Facts, process: int) -> bool:
    """Did the kernel tell that the fault lies in a library of the run's?"""
    libraries = facts.run_event.get("libraries")
    names = (
        {str(path).rpartition("/")[2] for path in libraries.values()}
        if isinstance(libraries, dict)
        else set()
    )
    crashes = [event.fields for event in facts.events("crash") if event.fields.get("process") == process]
    return any(str(fields.get("path") or "").rpartition("/")[2] in names for fields in crashes)


def _frame(facts: Facts, process: int) -> tuple[str, str]:
    """Function (or offset) and file of a fault, and its source line, where the run recorded them."""
    crashes = [event.fields for event in facts.events("crash") if event.fields.get("process") == process]
    if not crashes:
        return "", ""
    fields = crashes[-1]
    name = str(fields.get("path") or "").rpartition("/")[2]
    offset = fields.get("offset")
    place = str(fields.get("function") or "") or (f"+0x{int(offset):x}" if offset is not None else "")
    return f"{place} of {name}" if name else "", str(fields.get("line") or "")
