"""Export tables: refused, null, empty, too short, or with buffers that are too small."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from sessions.items import Pseudo
from workbench.diagnosis.calls import INTEGRITY_TABLE, Call
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Rule, Stage

HOOKS = "a094798c-2e74-2e74-93f2-0800200c0a66"
TOOLS = "42d85a81-23f6-cb47-8298-f6e78a3aecdc"
RUNTIME = "6bd5fb6c-5bf4-e74a-8987-d93912fd9df9"
STORAGE = "c693336e-1121-df11-a8c3-68f355d89593"
CHECKS = "263e8860-7cd2-6143-92f6-bbd5006dfa7e"
INSUFFICIENT_DRIVER = 35
SEGFAULT, BUS, ILLEGAL = signal.SIGSEGV, signal.SIGBUS, signal.SIGILL


def find(facts: Facts) -> Iterator[Diagnosis]:
    yield from _refused(facts)
    yield from _null(facts)
    yield from _empty(facts)
    yield from _failing(facts)
    yield from _hooks(facts)


def _name(facts: Facts, table: str) -> str:
    known = facts.session.schema.model.get("tables", {}).get(table)
    return f"{known['name']} ({table})" if known else table


def _refused(facts: Facts) -> Iterator[Diagnosis]:
    """The last table a runtime asked for, when it was refused and the runtime needs it."""
    effects = {
        asked.first_call: (row.effect, asked.effect)
        for row in facts.coverage
        for asked in row.asked
        if asked.how == "table" and asked.answered is None
    }
    last: dict[tuple[int, str], tuple[Call, str]] = {}
    for call, table, _ in facts.tables:
        key = call.process, facts.library_of(call)
        known = facts.session.schema.model.get("tables", {}).get(table, {})
        effect = effects.get(call.row, ("", ""))[1]
        # A runtime goes on where it can do without; where it can't, it asks for nothing more.
        if call.result and (effect == "fatal-at-init" or (not effect and known.get("required"))):
            last[key] = call, table
        elif not call.result:
            last.pop(key, None)
    for (process, library), (call, table) in last.items():
        if facts.bootstrapped_after(process, call.row, library):
            continue
        told = facts.error_evidence([call.result], process)
        yield Diagnosis(
            rule="export-table-refused",
            what=f"the runtime gives up with error {call.result}: an export table is refused",
            cause=f"cuGetExportTable returned {facts.result(call)} for {_name(facts, table)}",
            fix="answer this UUID with a table: its first word its size in bytes, its slots filled as "
            "the runtime calls them",
            certainty="proved" if told else "likely",
            stage=Stage.TABLES,
            evidence=[facts.call_evidence(call.row), *told],
            process=process,
            by_runtime=True,
        )


def _null(facts: Facts) -> Iterator[Diagnosis]:
    seen: set[int] = set()
    for call, table, pointer in facts.tables:
        if call.result or pointer != 0 or call.process in seen:
            continue
        seen.add(call.process)
        yield Diagnosis(
            rule="export-table-null",
            what="an export table is a null pointer, which the runtime follows",
            cause=f"cuGetExportTable succeeded for {_name(facts, table)} and wrote NULL",
            fix="give a table, or CUDA_ERROR_NOT_FOUND for a UUID the shim does not know",
            certainty="proved",
            stage=Stage.TABLES,
            evidence=[facts.call_evidence(call.row)],
            process=call.process,
        )


def _empty(facts: Facts) -> Iterator[Diagnosis]:
    """A runtime that dies outside of every driver call followed a slot that it was about to call."""
    nulls = {call.process for call, _, pointer in facts.tables if not call.result and pointer == 0}
    inside = {call.process for call in facts.unreturned}
    for process in facts.processes:
        if process.signal not in (SEGFAULT, BUS, ILLEGAL) or process.index in nulls | inside:
            continue
        last = facts.last_rows.get(process.index, -1)
        if _answered_after(facts, process.index, last):
            continue
        found = next_slot(facts, process.index)
        if found is None:
            continue
        table, slot, given = found
        yield Diagnosis(
            rule="export-table-empty",
            what=f"the runtime crashes where it calls slot {slot} of {_name(facts, table)}",
            cause="the slot is null or no function: the process died by "
            f"{signal.Signals(process.signal).name} outside of every driver call, right before that",
            fix=f"fill slot {slot} (at byte {8 * slot}) of {table[:8]}, and the others that are called",
            certainty="likely",
            stage=Stage.TABLES,
            evidence=[facts.call_evidence(last), facts.call_evidence(given.row)],
            process=process.index,
            by_runtime=True,
        )


def next_slot(facts: Facts, process: int) -> tuple[str, int, Call] | None:
    """The slot that its runtime calls next, after its last call, for the first time: table, slot, and the
    request by which it got the table."""
    given = {
        table: call
        for call, table, pointer in facts.tables
        if call.process == process and not call.result and pointer
    }
    called = {(table, slot) for call, table, slot in facts.slots if call.process == process}
    found = _expected(facts, given, called, facts.last_rows.get(process, -1))
    return (*found, given[found[0]]) if found is not None else None


def _answered_after(facts: Facts, process: int, last: int) -> bool:
    """Did the runtime tell an error after that row? Then it did not die there, but somewhere later."""
    columns = facts.session.calls.columns(last, last + 1, ("time", "duration")) if last >= 0 else None
    if columns is None:
        return False
    returned = int(columns["time"][0]) + int(columns["duration"][0])
    return any(said.code and said.process == process and said.time_ns >= returned for said in facts.said)


def _expected(
    facts: Facts, given: dict[str, Call], called: set[tuple[str, int]], last: int
) -> tuple[str, int] | None:
    """The slot that a runtime calls next after that row, of those it had not called yet."""
    row = facts.session.calls.row(last) if last >= 0 else None
    if row is None:
        return None
    name = facts.session.schema.function_name(row.function)
    if row.function == Pseudo.TABLE_SLOT:
        name, slot = "slot", row.args[0]
        table = next((t for c, t, s in facts.slots if c.row == last and s == slot), "")
        steps = {(HOOKS, 2): (HOOKS, 6), (RUNTIME, 2): (RUNTIME, 12)}
        candidates = [steps.get((table, slot), ("", 0))]
    elif name == "cuGetExportTable":
        table = next((t for c, t, _ in facts.tables if c.row == last), "")
        candidates = [{CHECKS: (CHECKS, 3), INTEGRITY_TABLE: (INTEGRITY_TABLE, 1)}.get(table, ("", 0))]
    elif name == "cuDeviceGet":
        candidates = [(RUNTIME, 2)]
    elif name.startswith("cuDevice") and INTEGRITY_TABLE not in given:  # else it is done with the devices
        candidates = [(HOOKS, 2), (RUNTIME, 12)]
    elif name.startswith("cuCtx"):
        candidates = [(STORAGE, 2), (CHECKS, 2)]
    else:
        return None
    return next((c for c in candidates if c[0] in given and c not in called), None)


def _failing(facts: Facts) -> Iterator[Diagnosis]:
    """The slot that gives a runtime the primary context of each device answers an error."""
    seen: set[int] = set()
    for call, table, slot in facts.slots:
        code = call.result & 0xFFFFFFFF
        if (table, slot) != (RUNTIME, 2) or not code or call.process in seen:
            continue
        if facts.bootstrapped_after(call.process, call.row, facts.library_of(call)):
            continue
        seen.add(call.process)
        told = [said for said in facts.said if said.code and said.process == call.process][:1]
        name = facts.session.schema.enum_name("CUresult", code) or str(code)
        yield Diagnosis(
            rule="export-table-slot-fails",
            what="the runtime gives up: a call through an export table fails",
            cause=f"slot {slot} of {_name(facts, table)} returned {name}",
            fix="have it write the handle of the device's primary context, and return 0",
            certainty="proved" if told else "likely",
            stage=Stage.TABLES,
            evidence=[facts.call_evidence(call.row), *map(facts.line_evidence, told)],
            process=call.process,
            by_runtime=True,
        )


def _hooks(facts: Facts) -> Iterator[Diagnosis]:
    for call, table, pointer in facts.tables:
        if table != HOOKS or call.result or pointer == 0:
            continue
        told = facts.error_evidence([INSUFFICIENT_DRIVER], call.process)
        later = [t for c, t, _ in facts.tables if c.process == call.process and c.row > call.row]
        if not told or TOOLS in later or not facts.of("cuDeviceGetCount"):
            continue
        called = {slot for c, t, slot in facts.slots if c.process == call.process and t == HOOKS}
        failed = {c.process for c in facts.failed if c.row > call.row}
        if call.process in failed:
            continue
        rule: Rule
        if called:
            rule = "hook-buffers-too-small"
            cause = f"slots {sorted(called)} were called and gave too few bytes"
            fix = "slot 2: at least 472 bytes for 12.4, 488 for 12.8, 528 for 13.0, 568 for 13.5; slot 6: 14"
        else:
            rule = "export-table-short"
            cause = "none of its slots was called: its size word is below 56"
            fix = "let the first word of a094798c say at least 56, the bytes of the table with itself"
        yield Diagnosis(
            rule=rule,
            what="the runtime gives up with error 35 though the driver's version will do",
            cause=f"ToolsRuntimeCallbackHooks was found, then {cause}",
            fix=fix,
            certainty="likely",
            stage=Stage.SELF_TEST,
            evidence=[facts.call_evidence(call.row), *told],
            process=call.process,
            by_runtime=True,
        )
