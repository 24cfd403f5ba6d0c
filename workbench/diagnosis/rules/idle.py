"""A process hangs in no call of the driver at all: a loader's lock, a constructor, a mutex, or polling."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from sessions.items import Pseudo, string_of
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.limits import Limit, limit_of
from workbench.diagnosis.model import Certainty, Diagnosis, Evidence, Stage
from workbench.diagnosis.stacks import Thread, held_up, in_driver, restless, shown, threads_of

_LOADER = re.compile(r"\bdl_?open|dlopen|dl_close|rtld_lock|dl_iterate_phdr|ld-linux")
_CONSTRUCTOR = re.compile(r"_dl_init|call_init")
_KINDS = (
    (_CONSTRUCTOR, "a constructor"),
    (re.compile(r"pthread_mutex|lll_lock|futex_wait|pthread_cond|sem_wait|\bfutex\b"), "a lock or condition"),
    (re.compile(r"nanosleep|usleep|poll|select|epoll|sched_yield"), "polling or sleeping"),
    (re.compile(r"recv|read|accept|connect|send"), "input or output"),
)
#: Calls that return before their work is done: a program may look at memory for the end of it.
_POSTED = re.compile(r"cu(?:Launch|GraphLaunch|EventRecord|StreamWriteValue|StreamBatchMemOp|Mem\w+Async)")


@dataclass
class _Found:
    cause: str
    fix: str
    certainty: Certainty
    stacks: list[Thread] = field(default_factory=list)


def find(facts: Facts) -> Iterator[Diagnosis]:
    """Told from what was seen of a process in which no call was under way."""
    busy = {flight.process for flight in facts.in_flight if flight.function != Pseudo.DLOPEN}
    busy |= {call.process for call in facts.unreturned if call.function != Pseudo.DLOPEN}
    taken = {
        int(event.fields["process"]): event for event in facts.events("stacks") if "process" in event.fields
    }
    for index, event in taken.items():
        process = facts.process(index)
        if process is None or process.run != facts.run or index in busy:
            continue
        if process.exit_code is not None and process.signal is None:
            continue
        threads = threads_of(facts, index)
        last = facts.last_rows.get(index)
        limit = limit_of(facts.session, process)
        found = _standing(facts, index, threads, last, limit) if threads else None
        if found is None:
            continue
        waited = float(event.fields.get("idle_seconds") or 0)
        yield Diagnosis(
            rule="hangs-outside-calls",
            what=f"process {process.pid} hangs in no call of the driver"
            + (f"; {limit.name} ends at {limit.seconds:g} s" if limit else ""),
            cause=found.cause
            + (f", {waited:.1f} s after its last call" if waited and last is not None else ""),
            fix=found.fix,
            certainty=found.certainty,
            stage=Stage.LOAD if last is None else Stage.WORK,
            evidence=[
                *([facts.call_evidence(last)] if last is not None else []),
                *(piece for thread in found.stacks for piece in _evidence(thread)),
            ],
            process=index,
        )


def _evidence(thread: Thread) -> Iterator[Evidence]:
    if not thread.stack:
        yield Evidence(f"thread {thread.name} stands in {thread.place}")
    for frame in shown(thread.stack):
        yield Evidence(f"thread {thread.name}: {frame}")


def _standing(
    facts: Facts, index: int, threads: list[Thread], last: int | None, limit: Limit | None
) -> _Found | None:
    main = threads[0]
    opened = _opening(facts, index)
    found = _locked(facts, index, threads, opened)
    if found is not None:
        return found
    if facts.launched.get(index) and not restless(main.wakes, main.runs):
        return None  # it has computed, and waits to be asked for more
    return _polls(facts, index, main, last, limit) or _by_stack(facts, index, main, opened, limit)


def _opening(facts: Facts, index: int) -> str:
    """The library that the process is about to load, by a dlopen under way; "" when it is in none."""
    unreturned = [c for c in facts.unreturned if c.process == index and c.function == Pseudo.DLOPEN]
    if unreturned:
        return string_of(facts.items(unreturned[-1]), 0) or "a library"
    flights = any(f.process == index and f.function == Pseudo.DLOPEN for f in facts.in_flight)
    return "a library" if flights else ""


def _locked(facts: Facts, index: int, threads: list[Thread], opened: str) -> _Found | None:
    """Who waits for a lock that another thread or it itself keeps: the first one, or one in the driver."""
    for waiting in threads:
        if not waiting.holder or (waiting is not threads[0] and not in_driver(facts, index, waiting.stack)):
            continue
        chain = held_up(waiting, threads)
        mine = any(in_driver(facts, index, thread.stack) for thread in chain)
        loader = bool(opened) or any(_LOADER.search(frame) for frame in waiting.stack)
        if not mine and not loader:
            continue
        what = "the loader's lock" if loader else "a lock"
        who = "its main thread" if waiting is threads[0] else f"thread {waiting.name}"
        where = f" in dlopen({opened})" if opened and waiting is threads[0] else f" in {waiting.place}"
        holder = chain[-1]
        cause = f"{who} waits{where} for {what}, "
        if waiting.holder == waiting.tid:
            cause += "which it holds itself: a deadlock"
        else:
            cause += f"which thread {chain[1].name} holds; that one stands in {chain[1].place}"
            if holder.holder:
                cause += ": a deadlock, for it waits for a lock that one of them holds"
        fix = (
            "let go of the lock before that call"
            if not loader
            else ("do nothing that waits in a constructor or elsewhere under dlopen: start at the first call")
        )
        return _Found(cause, fix, "proved" if chain[-1].stack else "likely", chain)
    return None


def _polls(facts: Facts, index: int, main: Thread, last: int | None, limit: Limit | None) -> _Found | None:
    if not restless(main.wakes, main.runs):
        return None
    ours = in_driver(facts, index, main.stack) or limit is not None
    posted = last is not None and bool(
        _POSTED.match(facts.session.schema.function_name(facts.session.calls.row(last).function))
    )
    if not ours and not posted:
        return None
    how = f"wakes up {main.wakes:.0f} times a second" if not main.runs else "never sleeps"
    cause = f"its main thread polls without a call: it {how} in {main.place}"
    if posted:
        cause += "; its last call returned before its work was done: it may look for a flag that is never set"
    fix = (
        "write what the posted call promised (a flag, an event, a copy) where the program looks for it"
        if posted
        else "see the stack: what the loop waits for"
    )
    return _Found(cause, fix, "likely" if ours else "possible", [main])


def _by_stack(facts: Facts, index: int, main: Thread, opened: str, limit: Limit | None) -> _Found | None:
    """Nothing but where it stands is known."""
    stack = main.stack or [main.place]
    loading = bool(opened) or any(_LOADER.search(frame) and not _CONSTRUCTOR.search(frame) for frame in stack)
    kind = next((name for pattern, name in _KINDS if any(pattern.search(frame) for frame in stack)), "")
    if any(_CONSTRUCTOR.search(frame) for frame in stack):
        kind = "a constructor"
    elif loading:
        kind = "loader's lock or work"
    concerns = loading or kind == "a constructor" or limit is not None or in_driver(facts, index, main.stack)
    if not kind or not concerns:
        return None
    return _Found(
        f"its main thread stands in {kind}: {main.place}",
        "see the stacks: what holds the lock, or what the loop waits for",
        "likely",
        [main],
    )
