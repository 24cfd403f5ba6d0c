"""NVML is absent, fails, is too old, or contradicts the CUDA driver."""

from __future__ import annotations

import re
from collections.abc import Iterator

from workbench.diagnosis.calls import Call
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Rule, Stage

#: The first release of the driver that has a version of CUDA (NVIDIA's release notes).
FIRST_RELEASE = {
    (11, 8): 520, (12, 0): 525, (12, 1): 530, (12, 2): 535, (12, 3): 545, (12, 4): 550, (12, 5): 555,
    (12, 6): 560, (12, 8): 570, (12, 9): 575, (13, 0): 580,
}  # fmt: skip
FUNCTION_NOT_FOUND = 13
_INIT = ("nvmlInit", "nvmlInit_v2", "nvmlInitWithFlags")


def find(facts: Facts) -> Iterator[Diagnosis]:
    yield from _absent(facts)
    yield from _init(facts)
    yield from _told(facts)
    yield from _inconsistent(facts)


def _made(
    rule: Rule, what: str, cause: str, fix: str, evidence: list[Evidence], process: int, proved: bool = True
) -> Diagnosis:
    return Diagnosis(
        rule=rule,
        what=what,
        cause=cause,
        fix=fix,
        certainty="proved" if proved else "likely",
        stage=Stage.DEVICES,
        evidence=evidence,
        process=process,
        stops=False,
        independent=True,
    )


def _absent(facts: Facts) -> Iterator[Diagnosis]:
    for process in facts.processes:
        opened = facts.opened("libnvidia-ml.so", process.index)
        if not opened or any(call.result == 1 for call, _ in opened):
            continue
        failed = [call for call, _ in opened if call.result == -1]
        unverified = facts.lines("driver-unverified")
        if failed:
            yield _made(
                "nvml-absent",
                "Ollama can't tell the driver's version" if unverified else "there is no NVML",
                f"libnvidia-ml.so.1 was asked for {len(failed)} times and found nowhere",
                'build one, and name it under [shim.libraries] as "libnvidia-ml.so.1"',
                [facts.call_evidence(failed[0].row), *map(facts.line_evidence, unverified[:1])],
                process.index,
            )


def _init(facts: Facts) -> Iterator[Diagnosis]:
    seen: set[int] = set()
    for call in facts.failed:
        if call.name not in _INIT or call.process in seen:
            continue
        if any(other.row > call.row and not other.result and other.process == call.process
               for other in facts.of(*_INIT)):  # fmt: skip
            continue
        seen.add(call.process)
        yield _made(
            "nvml-init-fails",
            "NVML does not start",
            f"{call.name} returned {facts.result(call)}",
            f"have {call.name} succeed",
            [facts.call_evidence(call.row)],
            call.process,
        )


def _told(facts: Facts) -> Iterator[Diagnosis]:
    for said in facts.lines("driver-old")[:1]:
        calls = facts.of("nvmlSystemGetDriverVersion")
        release = facts.text_of(calls[-1], 0) if calls else None
        yield _made(
            "nvml-driver-too-old",
            "Ollama takes the NVIDIA driver for too old and leaves the device out",
            f"nvmlSystemGetDriverVersion says {release}" if release else said.text,
            "say 550 or more for cuda_v12, 570 or more where the compute capability is below 7",
            [*(facts.call_evidence(call.row) for call in calls[-1:]), facts.line_evidence(said)],
            said.process,
        )


def _inconsistent(facts: Facts) -> Iterator[Diagnosis]:
    versions = [(c, v) for c in facts.of("cuDriverGetVersion") if not c.result and (v := facts.out_of(c, 0))]
    if not versions:
        return
    call, version = versions[-1]
    shown = f"{version // 1000}.{version % 1000 // 10}"
    for other in facts.of("nvmlSystemGetCudaDriverVersion", "nvmlSystemGetCudaDriverVersion_v2"):
        claimed = facts.out_of(other, 0)
        if not other.result and claimed is not None and claimed // 10 != version // 10:
            cause = f"NVML says CUDA {claimed // 1000}.{claimed % 1000 // 10}, cuDriverGetVersion {shown}"
            yield _contradiction(facts, cause, other, call, True)
            return
    for other in facts.of("nvmlSystemGetDriverVersion"):
        found = re.match(r"(\d+)\.", facts.text_of(other, 0) or "")
        came = max((v for v in FIRST_RELEASE if v <= (version // 1000, version % 1000 // 10)), default=None)
        first = FIRST_RELEASE[came] if came is not None else None
        if other.result or not found or first is None or int(found[1]) >= first:
            continue
        cause = (
            f"NVML says driver {facts.text_of(other, 0)}, but CUDA {shown} came with driver {first} or later"
        )
        # A forward-compatible libcuda is newer than its driver, and right.
        yield _contradiction(facts, cause, other, call, False)
        return
    yield from _counts(facts)


def _counts(facts: Facts) -> Iterator[Diagnosis]:
    # CUDA_VISIBLE_DEVICES hides devices from CUDA alone, so only more in CUDA than in NVML is odd.
    ours = {
        c.process: (c, n) for c in facts.of("cuDeviceGetCount") if not c.result and (n := facts.out_of(c, 0))
    }
    for other in facts.of("nvmlDeviceGetCount", "nvmlDeviceGetCount_v2"):
        count = facts.out_of(other, 0)
        if other.result or count is None or other.process not in ours:
            continue
        call, counted = ours[other.process]
        if counted > count:
            yield _contradiction(facts, f"CUDA counts {counted} devices, NVML {count}", other, call, True)
            return


def _contradiction(facts: Facts, cause: str, nvml: Call, cuda: Call, proved: bool) -> Diagnosis:
    return _made(
        "nvml-inconsistent",
        "NVML and the CUDA driver contradict each other",
        cause,
        "have both libraries speak of the same driver",
        [facts.call_evidence(nvml.row), facts.call_evidence(cuda.row)],
        nvml.process,
        proved,
    )
