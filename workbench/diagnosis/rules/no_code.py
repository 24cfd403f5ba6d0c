"""No code for the device's architecture: a module can't be loaded, or a kernel in it can't run."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage

_WHY = {
    200: "the image is not one it understands",
    209: "the image holds no code for the device's architecture",
    218: "the PTX in the image does not compile",
    221: "there is no compiler for PTX",
    222: "the PTX is of a newer toolchain than it knows",
}
_LOADS = ("cuModuleLoad", "cuLibraryLoad", "cuLibraryGet", "cuModuleGet", "cuKernelGet", "cuLink", "cuLaunch",
          "cuFuncLoad", "cuFuncGet", "cuKernelSet", "cuFuncSet")  # fmt: skip


def find(facts: Facts) -> Iterator[Diagnosis]:
    seen: set[int] = set()
    for call in facts.failed:
        if call.result not in _WHY or not call.name.startswith(_LOADS) or call.process in seen:
            continue
        told = facts.error_evidence([call.result], call.process)
        if not told and facts.recovered(call.process, call.row):
            continue
        seen.add(call.process)
        majors = [row for row in facts.attribute("major") if row[0].process == call.process]
        minors = [row for row in facts.attribute("minor") if row[0].process == call.process]
        capability = f" (it says {majors[-1][2]}.{minors[-1][2]})" if majors and minors else ""
        yield Diagnosis(
            rule="no-code-for-architecture",
            what=f"{call.name} fails with {facts.result(call)}: no kernel runs",
            cause=f"the driver says that {_WHY[call.result]}{capability}",
            fix="report a compute capability the consumer has code for, or take the image's PTX",
            certainty="proved" if told else "likely",
            stage=Stage.WORK,
            evidence=[facts.call_evidence(call.row), *told],
            process=call.process,
        )
