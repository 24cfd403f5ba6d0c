"""No code for the device's architecture: a module can't be loaded, or a kernel in it can't run."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

_WHY = {
    200: "the image is not one it understands",
    209: "the image holds no code for the device's architecture",
    218: "the PTX in the image does not compile",
    221: "there is no compiler for PTX",
    222: "the PTX is of a newer toolchain than it knows",
}
_HAVE_CODE = "report a compute capability the consumer has code for, or take the image's PTX"
_TAKE_IT = (
    "see that line of the text: when NVIDIA's ptxas takes it, the forwarder's reader of PTX has to "
    "(host/soft/ptx), else the consumer has to write it otherwise"
)
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
        why = _module_refused(facts, call.process, call.result)
        yield Diagnosis(
            rule="no-code-for-architecture",
            what=f"{call.name} fails with {facts.result(call)}: no kernel runs",
            cause=why or f"the driver says that {_WHY[call.result]}{capability}",
            fix=_TAKE_IT if why else _HAVE_CODE,
            certainty="proved" if told or why else "likely",
            stage=Stage.WORK,
            evidence=[facts.call_evidence(call.row), *([Evidence(f"host: {why}")] if why else []), *told],
            process=call.process,
        )


def _module_refused(facts: Facts, process: int, result: int) -> str:
    """What the forwarder told of the module, "" when it told nothing."""
    known = facts.process(process)
    told = (event.fields for event in facts.events("host") if event.fields.get("event") == "module-refused")
    asked = (known.pid if known else None), result
    return next((str(f.get("text")) for f in told if (f.get("pid"), f.get("error")) == asked), "")
