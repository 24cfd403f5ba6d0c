"""An allocation fails for want of device memory: how much there was, and who holds it."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.calls import Call
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

OUT_OF_MEMORY = 2
_ALLOCATES = ("cuMemAlloc", "cuMemCreate", "cuMemHostAlloc", "cuMemAllocHost", "cuMemAddressReserve")
_SIZE_ARGUMENT = {"cuMemCreate": 1, "cuMemHostAlloc": 1}


def find(facts: Facts) -> Iterator[Diagnosis]:
    failed = [c for c in facts.failed if c.result == OUT_OF_MEMORY and c.name.startswith(_ALLOCATES)]
    seen: set[int] = set()
    for call in reversed(failed):
        told = facts.errors([OUT_OF_MEMORY], call.process)
        if call.process in seen or not told or facts.recovered(call.process, call.row):
            continue
        seen.add(call.process)
        wanted = facts.session.calls.row(call.row).args[1]
        room, evidence = _room(facts, call)
        holders = _holders(facts)
        yield Diagnosis(
            rule="out-of-memory",
            what=f"{call.name} of {_size(wanted)} fails for want of device memory{room}",
            cause=f"the device is full: {holders}"
            if holders
            else f"{call.name} returned {facts.result(call)} "
            "though nobody holds memory: the device is too small for it, or the shim counts wrongly",
            fix="free what is held, use a smaller model or context, or give the device more memory",
            certainty="proved" if holders else "likely",
            stage=Stage.WORK,
            evidence=[facts.call_evidence(call.row), *evidence, facts.line_evidence(told[-1])],
            process=call.process,
        )


def _room(facts: Facts, call: Call) -> tuple[str, list[Evidence]]:
    asked = [c for c in facts.of("cuMemGetInfo_v2") if c.process == call.process and not c.result]
    if not asked:
        return "", []
    free, total = facts.out_of(asked[-1], 0), facts.out_of(asked[-1], 1)
    if free is None or total is None:
        return "", []
    return f" ({_size(free)} of {_size(total)} were free)", [facts.call_evidence(asked[-1].row)]


def _holders(facts: Facts) -> str:
    from workbench.views.device import DeviceState

    state = DeviceState(facts.run)
    state.update(facts.session)
    held = [
        (device.memory_used, facts.session.processes[index])
        for index, device in state.processes.items()
        if device.memory_used
    ]
    held.sort(key=lambda row: -row[0])
    return ", ".join(
        f"process {process.pid} {process.exe.rpartition('/')[2]} holds {_size(size)}"
        for size, process in held[:3]
    )


def _size(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB" if count >= 1 << 20 else f"{count} bytes"
