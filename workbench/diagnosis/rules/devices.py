"""No devices, a device without memory, or a device query that fails."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.calls import INTEGRITY_TABLE, Call
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage

_QUERIES = ("cuDeviceGet", "cuDeviceGetCount", "cuDeviceTotalMem")
INITIALIZATION_ERROR = 3


def find(facts: Facts) -> Iterator[Diagnosis]:
    yield from _query(facts)
    yield from _none(facts)
    yield from _no_memory(facts)


def _query(facts: Facts) -> Iterator[Diagnosis]:
    """A query is fatal when a runtime gave up on it, or it is the last thing its thread did."""
    seen: set[tuple[int, str]] = set()
    for call in facts.failed:
        if not call.name.startswith(_QUERIES) or (call.process, call.name) in seen:
            continue
        if call.name == "cuDeviceGetPCIBusId":
            continue  # rule pci
        library = facts.library_of(call)
        asks = facts.runtimes.get((call.process, library), [])
        # A runtime asks for tables before and after its queries, and does not go on after one that fails.
        gave_up = any(row < call.row for row in asks) and not any(row > call.row for row in asks)
        gave_up = gave_up and not facts.bootstrapped_after(call.process, call.row, library)
        gave_up = (
            gave_up and not facts.recovered(call.process, call.row) and _bootstrapping(facts, call, asks)
        )
        last = call.row == facts.last_by_thread.get((call.process, call.thread))
        if not gave_up and not last:
            continue
        told = facts.error_evidence([INITIALIZATION_ERROR, call.result], call.process)
        process = facts.process(call.process)
        ended = process is not None and process.ended_ns is not None and process.signal is None
        if not told and not gave_up and not (ended and process is not None and process.exit_code):
            continue
        seen.add((call.process, call.name))
        yield Diagnosis(
            rule="device-query-fails",
            what=f"{call.name} fails, and the runtime gives up (error 3, initialization error)"
            if gave_up or asks
            else f"{call.name} fails, and {library or 'the program'} gives up",
            cause=f"the shim's {call.name} returned {facts.result(call)}{_which(facts, call)}",
            fix=f"answer {call.name}; the runtime needs each of its device queries to succeed",
            certainty="proved" if told else "likely",
            stage=Stage.DEVICES,
            evidence=[facts.call_evidence(call.row), *told],
            process=call.process,
            by_runtime=bool(asks),
        )


def _bootstrapping(facts: Facts, call: Call, asks: list[int]) -> bool:
    """Whether the runtime that asked had not got through its start before."""
    return not any(
        row < call.row and table == INTEGRITY_TABLE
        for other, table, _ in facts.tables
        if (row := other.row) in asks
    )


def _which(facts: Facts, call: Call) -> str:
    if call.name != "cuDeviceGetAttribute":
        return ""
    number = facts.session.calls.row(call.row).args[1] & 0xFFFFFFFF
    name = facts.session.schema.enum_name("CUdevice_attribute", number) or ""
    return f" for attribute {number}" + (f" ({name})" if name else "")


def _none(facts: Facts) -> Iterator[Diagnosis]:
    for call in facts.of("cuDeviceGetCount"):
        if call.result or facts.out(call.row, 0) != 0:
            continue
        process = facts.process(call.process)
        hidden = process is not None and process.env.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        yield Diagnosis(
            rule="no-devices",
            what="the driver has no devices",
            cause="cuDeviceGetCount succeeded and counted 0"
            + (" (CUDA_VISIBLE_DEVICES hides them all)" if hidden else ""),
            fix="unset CUDA_VISIBLE_DEVICES" if hidden else "count at least one device",
            certainty="proved",
            stage=Stage.DEVICES,
            evidence=[facts.call_evidence(call.row)],
            process=call.process,
        )


def _no_memory(facts: Facts) -> Iterator[Diagnosis]:
    for name, index in (("cuDeviceTotalMem_v2", 0), ("cuDeviceTotalMem", 0), ("cuMemGetInfo_v2", 1)):
        for call in facts.of(name):
            if call.result or facts.out(call.row, index) != 0:
                continue
            outcome = ": Ollama drops it, ggml puts nothing on it"
            if facts.mode.mode == "gpu":  # the target went by the other of the two functions
                outcome = ", and is used all the same"
            yield Diagnosis(
                rule="no-memory",
                what=f"a device says that it has no memory{outcome}",
                cause=f"{name} succeeded and said 0 bytes in total",
                fix=f"have {name} say how many bytes the device has",
                certainty="proved",
                stage=Stage.DEVICES,
                evidence=[facts.call_evidence(call.row)],
                process=call.process,
                stops=False,
            )
            return
