"""A kernel was ended while it ran, or can't be executed at all: which one, and where in its PTX."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage
from workbench.views.demangle import demangled

_WHAT = {
    700: "reads or writes memory that is not its own",
    702: "did not end in time",
    710: "fails an assertion",
    715: "has an illegal instruction",
    716: "accesses memory at an address that its size does not divide",
    717: "uses an address in a memory space that it is not of",
    718: "jumps to where there is no code",
    719: "fails (trap, or another fault of its own)",
}
_FIX = {
    700: "see the kernel's line (K) and the copies and launches before: a size or a pointer that the shim "
    "passed on wrongly looks the same as a fault of the kernel; run it under [host] run = "
    '"shimbench-host --memcheck" to hold each access against the allocations',
    702: 'see what the kernel waits for; [host] run = "shimbench-host --launch-limit SECONDS" sets the time',
}


def find(facts: Facts) -> Iterator[Diagnosis]:
    told: set[int] = set()
    for event in facts.events("host"):
        fields = event.fields
        if fields.get("event") not in ("kernel-fault", "kernel-refused"):
            continue
        process = next((p.index for p in facts.processes if p.pid == fields.get("pid")), None)
        if process is None or process in told:
            continue
        told.add(process)
        yield _told(facts, process, fields)
    seen: set[int] = set()
    for call in facts.failed:
        if call.result in _WHAT and call.process not in told | seen:
            seen.add(call.process)
            yield Diagnosis(
                rule="kernel-failed",
                what=f"{call.name} tells {facts.result(call)}: a kernel {_WHAT[call.result]}",
                cause="a kernel launched before went wrong, and its context is of no more use",
                fix="the forwarder's log may say which; on the software GPU it is named with its PTX line",
                certainty="proved",
                stage=Stage.WORK,
                evidence=[facts.call_evidence(call.row), *facts.error_evidence([call.result], call.process)],
                process=call.process,
            )


def _refused_fix(code: int, text: str) -> str:
    if code != 209:
        return "the instruction has to be added to the software GPU: host/soft/README.md"
    if "holds no PTX" in text:
        said = re.search(r"compute capability (\d+)\.(\d+)", text)
        arch = f"compute_{said[1]}{said[2]}" if said else "compute_80"
        return (
            f"build the consumer with PTX too (nvcc -gencode arch={arch},code={arch}; NVRTC -arch={arch}; "
            "CuPy CUPY_COMPILE_WITH_PTX=1): the software GPU executes PTX and no SASS"
        )
    return (
        "choose another capability (SHIMBENCH_DEVICE_COMPUTE, or shimbench host --compute-capability), or "
        "build the consumer with PTX for this one"
    )


def _told(facts: Facts, process: int, fields: Mapping[str, Any]) -> Diagnosis:
    error, name = fields.get("error"), demangled(str(fields.get("kernel", "a kernel")))
    code = error if isinstance(error, int) else 0
    calls = [call for call in facts.failed if call.process == process and call.result == code]
    evidence = [facts.call_evidence(call.row) for call in calls[:1]]
    text = Evidence(f"host: {fields.get('text', fields['event'])}")
    if fields["event"] == "kernel-refused":
        return Diagnosis(
            rule="kernel-refused",
            what=f"the device can't execute {name}",
            cause=str(fields.get("text", "it does not say why")),
            fix=_refused_fix(code, str(fields.get("text", ""))),
            certainty="proved",
            stage=Stage.WORK,
            evidence=[*evidence, text, *facts.error_evidence([code], process)],
            process=process,
        )
    line = f", PTX line {fields['line']}" if fields.get("line") else ""
    place = f"block {_triple(fields.get('block'))}, thread {_triple(fields.get('thread'))}{line}"
    return Diagnosis(
        rule="kernel-fault",
        what=f"the kernel {name} {_WHAT.get(code, 'was ended')}",
        cause=f"it was ended at {place}",
        fix=_FIX.get(code, "see the kernel's line: K, then Enter on it"),
        certainty="proved",
        stage=Stage.WORK,
        evidence=[*evidence, text, *facts.error_evidence([code], process)],
        process=process,
    )


def _triple(value: object) -> str:
    return f"({','.join(map(str, value))})" if isinstance(value, list) else "?"
