"""A call that does not come back, be it a constructor's."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage
from workbench.views.items import Pseudo

PATIENCE_NS = 3_000_000_000
"""Longer than any call before the first kernel may take."""
WAITING_NS = 20_000_000_000
"""A target that waits for the device's work may do so for longer."""
_WAITS = ("cuCtxSynchronize", "cuStreamSynchronize", "cuEventSynchronize", "cuMemcpy", "cuStreamWait")
_ENDED_FROM_OUTSIDE = (None, 2, 9, 15)
_BY_PREFIX = (
    ("cuInit", Stage.INIT),
    ("cuDriverGetVersion", Stage.VERSION),
    ("cuGetProcAddress", Stage.RESOLVE),
    ("cuGetExportTable", Stage.TABLES),
    ("cuDevice", Stage.DEVICES),
    ("cuCtx", Stage.CONTEXT),
)


def stage_of(function: int, name: str) -> Stage:
    """How far on the road a call stands."""
    if function in (Pseudo.LOAD, Pseudo.DLOPEN):
        return Stage.LOAD
    if function == Pseudo.TABLE_SLOT:
        return Stage.TABLES
    return next((stage for prefix, stage in _BY_PREFIX if name.startswith(prefix)), Stage.WORK)


def find(facts: Facts) -> Iterator[Diagnosis]:
    shown: set[tuple[int, int]] = set()
    for flight in facts.in_flight:
        name = facts.session.schema.function_name(flight.function)
        if flight.function == Pseudo.DLOPEN or flight.age_ns < _patience(name):
            continue
        shown.add((flight.process, flight.thread))
        seconds = f"{flight.age_ns / 1e9:.1f} s"
        text = f"{name} is under way for {seconds} in thread {flight.thread}"
        yield _diagnosis(flight.function, name, seconds, Evidence(text, name=name), flight.process)
    for call in facts.unreturned:
        process = facts.process(call.process)
        if call.function == Pseudo.DLOPEN or call.duration < _patience(call.name):
            continue
        if process is None or process.signal not in _ENDED_FROM_OUTSIDE:
            continue
        if (call.process, call.thread) in shown or (process.signal is None and process.exit_code is not None):
            continue
        shown.add((call.process, call.thread))
        seconds = f"{call.duration / 1e9:.1f} s"
        yield _diagnosis(call.function, call.name, seconds, facts.call_evidence(call.row), call.process)


def _patience(name: str) -> int:
    return WAITING_NS if name.startswith(_WAITS) else PATIENCE_NS


def _diagnosis(function: int, name: str, seconds: str, evidence: Evidence, process: int) -> Diagnosis:
    loading = function == Pseudo.LOAD
    return Diagnosis(
        rule="constructor-hangs" if loading else "call-hangs",
        what="loading the shim never ends" if loading else f"{name} does not return",
        cause=f"a constructor of the shim, or of a library it needs, was running for {seconds}"
        if loading
        else f"{name} was under way for {seconds} in the shim when it was last seen",
        fix="see where it waits: gdb -p PID -ex 'thread apply all bt'",
        certainty="proved",
        stage=stage_of(function, name),
        evidence=[evidence],
        process=process,
    )
