"""No devices, a device without memory, or a device query that fails."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage

_QUERIES = ("cuDeviceGet", "cuDeviceGetCount", "cuDeviceTotalMem")
INITIALIZATION_ERROR = 3


def find(facts: Facts) -> Iterator[Diagnosis]:
    yield from _query(facts)
    yield from _none(facts)
    yield from _no_memory(facts)


def _query(facts: Facts) -> Iterator[Diagnosis]:
    """A query is fatal when it is the last thing its thread did before the runtime gave up."""
    for call in facts.failed:
        if not call.name.startswith(_QUERIES):
            continue
        if call.row != facts.last_by_thread.get((call.process, call.thread)):
            continue
        told = facts.error_evidence([INITIALIZATION_ERROR, call.result], call.process)
        process = facts.process(call.process)
        if not told and (process is None or process.ended_ns is None or process.signal is not None):
            continue
        yield Diagnosis(
            rule="device-query-fails",
            what=f"{call.name} fails, and the runtime gives up (error 3, initialization error)",
            cause=f"the shim's {call.name} returned {facts.result(call)}",
            fix=f"answer {call.name}; the runtime needs each of its device queries to succeed",
            certainty="proved" if told else "likely",
            stage=Stage.DEVICES,
            evidence=[facts.call_evidence(call.row), *told],
            process=call.process,
        )


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
            yield Diagnosis(
                rule="no-memory",
                what="a device has no memory: Ollama drops it, ggml puts nothing on it",
                cause=f"{name} succeeded and said 0 bytes in total",
                fix=f"have {name} say how many bytes the device has",
                certainty="proved",
                stage=Stage.DEVICES,
                evidence=[facts.call_evidence(call.row)],
                process=call.process,
                stops=False,
            )
            return
