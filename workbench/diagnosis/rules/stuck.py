"""A call that does not come back, be it a constructor's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sessions.items import Pseudo
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.limits import limit_of
from workbench.diagnosis.model import Diagnosis, Evidence, Stage
from workbench.diagnosis.stacks import every_stack_of, held_up, shown, threads_of, top_of

PATIENCE_NS = 3_000_000_000
"""Longer than any call before the first kernel may take."""
WAITING_NS = 20_000_000_000
"""A target that waits for the device's work may do so for longer."""
_WAITS = ("cuCtxSynchronize", "cuStreamSynchronize", "cuEventSynchronize", "cuMemcpy", "cuStreamWait")
_TALKS = re.compile(
    r"\b(?:recv|recvmsg|read|poll|ppoll|select|epoll_wait|connect|send|sendmsg|write|wire_\w+)\b"
)
_IDLE = re.compile(r"poll|epoll|recv|futex|select|accept|sigwait|nanosleep|pause")
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
        if (flight.process, flight.thread) in shown:
            continue  # the outer call of one that hangs
        shown.add((flight.process, flight.thread))
        since = f"{flight.started_ns / 1e9:.3f} s"
        text = f"{name} is under way in thread {flight.thread} since {since} of the session"
        yield _diagnosis(
            facts,
            flight.function,
            name,
            flight.age_ns,
            Evidence(text, name=name),
            flight.process,
            flight.thread,
        )
    for call in facts.unreturned:
        process = facts.process(call.process)
        if call.function == Pseudo.DLOPEN or call.duration < _patience(call.name):
            continue
        if process is None or process.signal not in _ENDED_FROM_OUTSIDE:
            continue
        if (call.process, call.thread) in shown or (process.signal is None and process.exit_code is not None):
            continue
        shown.add((call.process, call.thread))
        evidence = facts.call_evidence(call.row)
        yield _diagnosis(facts, call.function, call.name, call.duration, evidence, call.process, call.thread)


def _patience(name: str) -> int:
    return WAITING_NS if name.startswith(_WAITS) else PATIENCE_NS


def _diagnosis(
    facts: Facts, function: int, name: str, age_ns: int, evidence: Evidence, process: int, thread: int
) -> Diagnosis:
    loading = function == Pseudo.LOAD
    seconds = f"{age_ns / 1e9:.1f} s"
    place, stack = where(facts, process, thread)
    known = facts.process(process)
    verb = "is" if facts.session.live and known is not None and known.ended_ns is None else "was"
    limit = limit_of(facts.session, known) if known is not None else None
    left = f"; {limit.name} ends at {limit.seconds:g} s" if limit is not None else ""
    return Diagnosis(
        rule="constructor-hangs" if loading else "call-hangs",
        what=("loading the shim never ends" if loading else f"{name} does not return") + left,
        cause=f"a constructor of the shim, or of a library it needs, {verb} running for {seconds}{place}"
        if loading
        else f"{name} {verb} under way for {seconds} in the shim{place}",
        fix="see what it waits for in the stack"
        if stack
        else "see where it waits: b shows the stacks (gdb -p PID -ex 'thread apply all bt')",
        certainty="proved",
        stage=stage_of(function, name),
        evidence=[evidence, *stack],
        process=process,
    )


def where(facts: Facts, process: int, thread: int) -> tuple[str, list[Evidence]]:
    """In the guest, on the wire or in the host: as that thread's stack shows it, when it was taken."""
    threads = threads_of(facts, process)
    mine = next((each for each in threads if each.tid == thread), threads[0] if threads else None)
    if mine is None:
        return "", []
    pieces = [Evidence(frame) for frame in shown(mine.stack)]
    top = mine.place
    if mine.holder:
        chain = held_up(mine, threads)
        if len(chain) == 1:
            return f", in the guest ({top}): it waits for a lock that it holds itself", pieces
        text = f", in the guest ({top}): thread {chain[1].name} holds the lock and stands in {chain[1].place}"
        pieces += [Evidence(f"thread {chain[1].name}: {frame}") for frame in shown(chain[1].stack)]
        return text + (", a deadlock" if chain[-1].holder else ""), pieces
    if not mine.stack:
        told = f"thread {mine.name} stands in {top}"
        return f" ({told})", [Evidence(told)]
    if not any(_TALKS.search(frame) for frame in mine.stack):
        return f", in the guest ({top})", pieces
    for host in [p for p in facts.session.processes if p.role == "host"]:
        for work in every_stack_of(facts, host.index):
            if not work or _IDLE.search(work[0]):
                continue
            return f", in the host ({top_of(work)})", [
                *pieces,
                *(Evidence(f"host: {f}") for f in shown(work)),
            ]
    return f", waiting for its forwarder ({top})", pieces
