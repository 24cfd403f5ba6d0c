"""A call succeeds without having done anything: it hands out nothing, or the same thing twice."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Call, Facts
from workbench.diagnosis.model import Diagnosis, Stage

#: What is handed out, through which argument.
_HANDLES = {
    "cuDevicePrimaryCtxRetain": 0,
    "cuCtxCreate_v2": 0,
    "cuCtxCreate_v3": 0,
    "cuCtxCreate_v4": 0,
    "cuMemAlloc_v2": 0,
    "cuMemAllocAsync": 0,
    "cuMemHostAlloc": 0,
    "cuMemAddressReserve": 0,
    "cuStreamCreate": 0,
    "cuEventCreate": 0,
    "cuModuleLoadData": 0,
    "cuLibraryLoadData": 0,
    "cuModuleGetFunction": 0,
    "cuLibraryGetKernel": 0,
    "cuKernelGetFunction": 0,
    "cuGraphInstantiateWithFlags": 0,
}
INVALID_DEVICE = 101
_NO_SIZE = ("cuMemAlloc_v2", "cuMemAllocAsync", "cuMemHostAlloc")


def find(facts: Facts) -> Iterator[Diagnosis]:
    yield from _nothing(facts)
    yield from _no_multiprocessors(facts)
    yield from _one_for_two(facts)


def _nothing(facts: Facts) -> Iterator[Diagnosis]:
    seen: set[tuple[int, str]] = set()
    for name, index in _HANDLES.items():
        for call in facts.of(name):
            if call.result or facts.out_of(call, index) != 0 or (call.process, name) in seen:
                continue
            if name in _NO_SIZE and facts.session.calls.row(call.row).args[1] == 0:
                continue  # nothing was asked for
            seen.add((call.process, name))
            yield _diagnosis(facts, call, f"{name} succeeded and handed out a null handle or address", name)


def _no_multiprocessors(facts: Facts) -> Iterator[Diagnosis]:
    for call, device, value in facts.attribute("multiprocessors"):
        if value == 0:
            cause = f"cuDeviceGetAttribute succeeded and said that device {device} has 0 multiprocessors"
            yield _diagnosis(facts, call, cause, "cuDeviceGetAttribute")
            return


def _one_for_two(facts: Facts) -> Iterator[Diagnosis]:
    """Two ordinals, one device: whatever is told of it is told twice."""
    given: dict[tuple[int, int], tuple[int, Call]] = {}
    for call in facts.of("cuDeviceGet"):
        device, ordinal = facts.out_of(call, 0), facts.session.calls.row(call.row).args[1] & 0xFFFFFFFF
        if call.result or device is None:
            continue
        first, earlier = given.setdefault((call.process, device), (ordinal, call))
        if first != ordinal:
            cause = f"cuDeviceGet gave device {device} for ordinal {first} and for ordinal {ordinal}"
            found = _diagnosis(facts, call, cause, "cuDeviceGet")
            found.what = "cuDeviceGet gives out one device for two ordinals"
            found.fix = "give each ordinal a device of its own, or count fewer in cuDeviceGetCount"
            told = facts.error_evidence([INVALID_DEVICE], call.process)
            found.evidence = [facts.call_evidence(earlier.row), *found.evidence, *told]
            found.stops = bool(told)
            yield found
            return


def _diagnosis(facts: Facts, call: Call, cause: str, name: str) -> Diagnosis:
    return Diagnosis(
        rule="success-without-effect",
        what=f"{name} says success and does nothing",
        cause=cause,
        fix=f"do what {name} is for, or return CUDA_ERROR_NOT_SUPPORTED",
        certainty="proved",
        stage=Stage.DEVICES if name.startswith("cuDevice") else Stage.CONTEXT,
        evidence=[facts.call_evidence(call.row)],
        process=call.process,
        stops=False,
        independent=True,
    )
