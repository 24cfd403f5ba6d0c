"""A context, memory-info or memory call fails once the devices have been found."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage

_NAMES = (
    "cuDevicePrimaryCtxRetain",
    "cuCtxCreate",
    "cuCtxSetCurrent",
    "cuCtxGetCurrent",
    "cuCtxGetDevice",
    "cuMemGetInfo",
    "cuMemAlloc",
    "cuMemGetAllocationGranularity",
    "cuMemAddressReserve",
    "cuMemCreate",
    "cuMemMap",
    "cuMemSetAccess",
)
OUT_OF_MEMORY, INVALID_CONTEXT = 2, 201
_OF_NO_MATTER = (OUT_OF_MEMORY, INVALID_CONTEXT, *range(900, 909))
"""A full device, and a question about a context that a thread has none of, are answers; what is forbidden
during a capture is rule capture's."""


def find(facts: Facts) -> Iterator[Diagnosis]:
    seen: set[tuple[int, str]] = set()
    for call in facts.failed:
        if not call.name.startswith(_NAMES) or call.result in _OF_NO_MATTER:
            continue
        if (call.process, call.name) in seen:
            continue
        told = facts.error_evidence([call.result], call.process)
        if not told and facts.recovered(call.process, call.row):
            continue  # it was tried, and something else served as well
        seen.add((call.process, call.name))
        yield Diagnosis(
            rule="context-call-fails",
            what=f"{call.name} fails after the device was found",
            cause=f"the shim's {call.name} returned {facts.result(call)}",
            fix=f"have {call.name} do its work",
            certainty="proved" if told else "likely",
            stage=Stage.CONTEXT,
            evidence=[facts.call_evidence(call.row), *told],
            process=call.process,
            stops=bool(told),
        )
