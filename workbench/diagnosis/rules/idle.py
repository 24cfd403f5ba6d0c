"""A process hangs in no call of the driver at all: a loader's lock, a constructor, or polling."""

from __future__ import annotations

import re
from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.limits import limit_of
from workbench.diagnosis.model import Diagnosis, Evidence, Stage
from workbench.diagnosis.stacks import SHOWN, stack_of, top_of

_KINDS = (
    (re.compile(r"dl_open|dl_close|_dl_(?!init|fini)|rtld_lock|dl_iterate_phdr"), "loader's lock or work"),
    (re.compile(r"_dl_init|call_init"), "a constructor"),
    (re.compile(r"pthread_mutex|lll_lock|futex_wait|pthread_cond|sem_wait"), "a lock or condition"),
    (re.compile(r"nanosleep|usleep|poll|select|epoll|sched_yield"), "polling or sleeping"),
    (re.compile(r"recv|read|accept|connect|send"), "input or output"),
)


def find(facts: Facts) -> Iterator[Diagnosis]:
    """Told from stacks that were taken of a process in which no call was under way."""
    busy = {flight.process for flight in facts.in_flight} | {call.process for call in facts.unreturned}
    taken = {
        int(event.fields["process"]): event for event in facts.events("stacks") if "process" in event.fields
    }
    for index, event in taken.items():
        process = facts.process(index)
        if process is None or process.run != facts.run or index in busy or facts.launched.get(index):
            continue
        if process.exit_code is not None and process.signal is None:
            continue
        stack = stack_of(facts, index)
        if not stack:
            continue
        kind = next((name for pattern, name in _KINDS if any(pattern.search(f) for f in stack)), "")
        if not kind or not _concerns_cuda(stack):
            continue
        last = facts.last_rows.get(index)
        waited = float(event.fields.get("idle_seconds") or 0)
        limit = limit_of(facts.session, process)
        yield Diagnosis(
            rule="hangs-outside-calls",
            what=f"process {process.pid} hangs in no call of the driver"
            + (f"; {limit.name} ends at {limit.seconds:g} s" if limit else ""),
            cause=f"its main thread stands in {kind}: {top_of(stack)}"
            + (f", {waited:.1f} s after its last call" if waited else ""),
            fix="see the stacks: what holds the lock, or what the loop waits for",
            certainty="likely",
            stage=Stage.LOAD if last is None else Stage.WORK,
            evidence=[
                *([facts.call_evidence(last)] if last is not None else []),
                *(Evidence(frame) for frame in stack[:SHOWN]),
            ],
            process=index,
        )


def _concerns_cuda(stack: list[str]) -> bool:
    return any(re.search(r"libcu|libnvidia|cuda|vgpu|_dl_|dlopen|call_init", frame) for frame in stack)
