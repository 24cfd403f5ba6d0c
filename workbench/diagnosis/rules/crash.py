"""The process died, or left, inside of a call."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from sessions.items import Pseudo
from workbench.diagnosis.calls import Call
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Rule
from workbench.diagnosis.rules.stuck import stage_of

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
