"""The driver's version is too old for the runtime, or can't be had."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage

ERROR = 35
_RUNTIME = re.compile(r"libcudart\.so\.(\d+)")


def find(facts: Facts) -> Iterator[Diagnosis]:
    asked_for = _newest_major(facts)
    for call in facts.of("cuDriverGetVersion"):
        newest = max(asked_for, _runtime_major(facts, call.process))
        if facts.bootstrapped_after(call.process, call.row):
            continue
        evidence = [facts.call_evidence(call.row), *facts.error_evidence([ERROR], call.process)]
        if call.result:
            cause = f"cuDriverGetVersion returned {facts.result(call)}"
            fix = "return CUDA_SUCCESS and a version of at least the runtime's major"
        else:
            version = facts.out(call.row, 0)
            if version is None or not newest or version // 1000 >= newest:
                continue
            shown = f"{version // 1000}.{version % 1000 // 10}"
            cause = f"the shim says it is driver {shown}, the runtime is of CUDA {newest}"
            fix = f"have cuDriverGetVersion say {newest}000 or more (and export what that version has)"
        yield Diagnosis(
            rule="driver-too-old",
            what="the runtime gives up with error 35, driver version is insufficient for runtime version",
            cause=cause,
            fix=fix,
            certainty="proved" if len(evidence) > 1 else "likely",
            stage=Stage.VERSION,
            evidence=evidence,
            process=call.process,
            by_runtime=True,
        )


def _runtime_major(facts: Facts, process: int) -> int:
    """By the file name of the runtime in that process: one that finds the driver too old asks for nothing
    newer than the driver."""
    known = facts.process(process)
    names = [PurePosixPath(module.path).name for module in known.modules] if known is not None else []
    return max((int(found[1]) for name in names if (found := _RUNTIME.match(name))), default=0)


def _newest_major(facts: Facts) -> int:
    """The major version of the newest runtime: none asks for anything newer than itself."""
    return max((asked.version // 1000 for row in facts.coverage for asked in row.asked), default=0)
