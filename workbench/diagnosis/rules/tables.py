"""Export tables: refused, null, empty, too short, or with buffers that are too small."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage

HOOKS = "a094798c-2e74-2e74-93f2-0800200c0a66"
TOOLS = "42d85a81-23f6-cb47-8298-f6e78a3aecdc"
RUNTIME = "6bd5fb6c-5bf4-e74a-8987-d93912fd9df9"
INSUFFICIENT_DRIVER = 35
SEGFAULT = 11


def find(facts: Facts) -> Iterator[Diagnosis]:
    yield from _refused(facts)
    yield from _null(facts)
    yield from _empty(facts)
    yield from _hooks(facts)


def _name(facts: Facts, table: str) -> str:
    known = facts.session.schema.model.get("tables", {}).get(table)
    return f"{known['name']} ({table})" if known else table


def _refused(facts: Facts) -> Iterator[Diagnosis]:
    fatal = {
        asked.first_call: row
        for row in facts.coverage
        if row.effect == "fatal-at-init"
        for asked in row.asked
        if asked.how == "table" and asked.answered is None
    }
    seen: set[int] = set()
    for call, table, _ in facts.tables:
        known = facts.session.schema.model.get("tables", {}).get(table, {})
        needed = call.row in fatal or bool(known.get("required"))
        # Runtimes that can do without go on to the self-test.
        if not call.result or not needed or call.process in seen:
            continue
        if facts.bootstrapped_after(call.process, call.row):
            continue
        seen.add(call.process)
        told = facts.error_evidence([call.result], call.process)
        yield Diagnosis(
            rule="export-table-refused",
            what=f"the runtime gives up with error {call.result}: an export table is refused",
            cause=f"cuGetExportTable returned {facts.result(call)} for {_name(facts, table)}",
            fix="answer this UUID with a table: its first word its size in bytes, its slots filled as "
            "needed (facts: cudart-bootstrap section 3)",
            certainty="proved" if told or call.row in fatal else "likely",
            stage=Stage.TABLES,
            evidence=[facts.call_evidence(call.row), *told],
            process=call.process,
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
    """The first slot that a runtime calls is CudartInterface's, right after cuDeviceGet."""
    nulls = {call.process for call, _, pointer in facts.tables if not call.result and pointer == 0}
    inside = {call.process for call in facts.unreturned}
    slotted = {call.process for call, _, _ in facts.slots}
    for process in facts.processes:
        if process.signal != SEGFAULT or process.index in nulls | inside | slotted:
            continue
        given = [c for c, table, _ in facts.tables if c.process == process.index and table == RUNTIME]
        last = facts.last_rows.get(process.index, -1)
        before = [c for c in facts.of("cuDeviceGet") if c.row == last]
        if not given or given[-1].result or not before:
            continue
        yield Diagnosis(
            rule="export-table-empty",
            what="the runtime crashes where it calls slot 2 of CudartInterface for the first time",
            cause="the slot is null or no function: the runtime called none of the table's slots and died "
            "by SIGSEGV outside of every driver call",
            fix="fill slot 2 of 6bd5fb6c (out CUcontext, CUdevice) and the other slots that are called",
            certainty="likely",
            stage=Stage.TABLES,
            evidence=[facts.call_evidence(last), facts.call_evidence(given[-1].row)],
            process=process.index,
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
        if called:
            rule, cause = (
                "hook-buffers-too-small",
                f"slots {sorted(called)} were called and gave too few bytes",
            )
            fix = "slot 2: at least 472 bytes for 12.4, 488 for 12.8, 528 for 13.0, 568 for 13.5; slot 6: 14"
        else:
            rule, cause = "export-table-short", "none of its slots was called: its size word is below 56"
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
        )
