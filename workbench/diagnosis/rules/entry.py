"""cuInit or cuGetExportTable can't be resolved: error 36, the line of 98 bytes.

It is told from what a runtime asked for and was answered. That a cuInit was seen proves nothing: it may
be the call of the shim's own constructor, or of a program that has nothing to do with the runtime.
"""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage
from workbench.views.coverage import Asked

ERROR = 36
_STAGES = {"cuInit": Stage.INIT, "cuGetExportTable": Stage.TABLES}
_NEXT = {"cuInit": "", "cuGetExportTable": "; next wall: the private tables it must hand out"}


def find(facts: Facts) -> Iterator[Diagnosis]:
    # Nothing can be concluded of single names where no lookup gets an answer.
    hopeless = {
        p for p, lookups in facts.lookups.items() if lookups.asked and lookups.failed == lookups.asked
    }
    for row in facts.coverage:
        stage = _STAGES.get(row.name)
        if stage is None or row.answered:
            continue
        refused = [asked for asked in row.asked if asked.answered is None and _fatal(asked, row.effect)]
        for asked in refused:
            process = facts.session.calls.row(asked.first_call).process
            called = {facts.library_of(call) for call in facts.of(row.name) if call.process == process}
            if process in hopeless or asked.by in called:
                continue
            told = facts.error_evidence([ERROR], process)
            yield Diagnosis(
                rule="entry-not-resolvable",
                what="error 36 (API call is not supported in the installed CUDA driver)",
                cause=f"{asked.by} asked for {row.name}; libcuda.so.1 does not answer",
                fix=f"export {row.name} and return it from cuGetProcAddress{_NEXT[row.name]}",
                certainty="proved" if told or asked.effect == "fatal-at-init" else "likely",
                stage=stage,
                evidence=[
                    facts.call_evidence(asked.first_call, row.name),
                    *told,
                    *_own(facts, row.name, process),
                ],
                process=process,
                by_runtime=True,
            )
            break


def _fatal(asked: Asked, effect: str) -> bool:
    # A program that looks the name up for itself may do without it; a runtime may not.
    return asked.effect == "fatal-at-init" or (asked.effect == "unknown" and effect == "fatal-at-init")


def _own(facts: Facts, name: str, process: int) -> list[Evidence]:
    """A call of the shim's own shows that the function is there, and nothing else."""
    own = [call for call in facts.calls if call.name == name and call.own and call.process == process]
    return [Evidence(f"{name}, call {call.row + 1}, came from the shim itself") for call in own[:1]]
