"""Loading and starting the shim takes longer than the target's limits allow, and which part of it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sessions import Process
from sessions.items import Pseudo
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.limits import PER_PROCESS, Limit, limit_of
from workbench.diagnosis.model import Diagnosis, Evidence, Stage
from workbench.diagnosis.saying import Said
from workbench.diagnosis.startup import Spent

PATIENCE = 3.0
"""Seconds that are too long for anybody: the limit of Ollama's refresh, for one process alone."""
SHOWN = 3
_WAITS = ("cuLaunch", "cuStream", "cuEvent", "cuMemcpy", "cuMemset", "cuGraph", "cuCtxSynchronize")
_CODE = ("cuModule", "cuLibrary", "cuKernel", "cuFunc", "cuLink")
"""Work of the model's, when no discovery is in a hurry."""
_LOADS = "model load"
CONSTRUCTORS = "the shim's constructors"


@dataclass(frozen=True)
class _Part:
    name: str
    spent: Spent

    def __str__(self) -> str:
        calls = f" of it in {self.spent.calls} calls" if self.spent.calls > 1 else " of it"
        return f"{self.name} took {self.spent.ns / 1e9:.1f} s{calls}"


def find(facts: Facts) -> Iterator[Diagnosis]:
    late = [*facts.lines("slow-refresh"), *facts.lines("slow-discovery")]
    found = list(_slow(facts, late))
    if found:
        yield min(found, key=lambda each: each[0])[1]  # the tightest limit, the first process of it
    elif late:
        yield _told(facts, late[0])


def _slow(facts: Facts, late: list[Said]) -> Iterator[tuple[float, Diagnosis]]:
    """Each process that takes too long, with the seconds that its limit allows."""
    for process in facts.processes:
        limit = limit_of(facts.session, process)
        parts = _parts(facts, process, limit)
        took = sum(part.spent.ns for part in parts) / 1e9
        if not parts or took < (PATIENCE if limit is None or limit.name == _LOADS else PER_PROCESS):
            continue
        over = limit is not None and limit.ended_ns is not None and limit.used(limit.ended_ns) > limit.seconds
        against = (
            f"{limit.name} has {limit.seconds:g} s for its processes"
            if limit is not None
            else f"Ollama gives three such processes {PATIENCE:g} s together"
        )
        slowest = parts[0]
        diagnosis = Diagnosis(
            rule="slow-load",
            what=f"loading and starting takes {took:.1f} s a process; {against}",
            cause=f"{slowest}; {_rest(facts, process, parts)}",
            fix=f"do less in {slowest.name}; below {PER_PROCESS:g} s a process every limit is kept",
            certainty="proved" if late or over else "likely" if limit is not None else "possible",
            stage=Stage.LOAD if slowest.name == CONSTRUCTORS else Stage.INIT,
            evidence=[
                *(facts.call_evidence(part.spent.longest) for part in _worth_telling(parts)),
                *(facts.line_evidence(said) for said in late[:1]),
            ],
            process=process.index,
            stops=False,
            by_ollama=True,
            independent=True,
        )
        yield (float("inf") if limit is None else limit.seconds), diagnosis


def _told(facts: Facts, said: Said) -> Diagnosis:
    """A limit that ran out while no process was slow by itself."""
    return Diagnosis(
        rule="slow-load",
        what="Ollama gave up waiting: it goes on with old values, or without the GPU",
        cause=f"a limit of Ollama's ran out: {said.text}",
        fix="see in the timeline (8) which process took long; "
        f"below {PER_PROCESS:g} s a process every limit is kept",
        certainty="likely",
        stage=Stage.OUTCOME,
        evidence=[facts.line_evidence(said), *_longest(facts)],
        stops=False,  # and of no process: whatever held one of Ollama's up made the limit run out
        by_ollama=True,
    )


def _parts(facts: Facts, process: Process, limit: Limit | None) -> list[_Part]:
    """What the start of a process spent in the shim, the longest first; [] when it never called it."""
    startup = facts.startup.get(process.index)
    if startup is None:
        return []
    patient = limit is None or limit.name == _LOADS
    parts = []
    for function, spent in startup.by_function.items():
        name = facts.session.schema.function_name(function)
        if function == Pseudo.DLOPEN or name.startswith(_WAITS) or (patient and name.startswith(_CODE)):
            continue
        parts.append(_Part(CONSTRUCTORS if function == Pseudo.LOAD else name, spent))
    return sorted(parts, key=lambda part: -part.spent.ns)


def _worth_telling(parts: list[_Part]) -> list[_Part]:
    return [part for part in parts[:SHOWN] if part.spent.ns >= 0.05 * parts[0].spent.ns]


def _rest(facts: Facts, process: Process, parts: list[_Part]) -> str:
    """Where the rest of the start went: other functions, the loader, no call; and whether it waited."""
    startup = facts.startup[process.index]
    said = [str(part) for part in _worth_telling(parts)[1:]]
    others = sum(part.spent.ns for part in parts[1 + len(said) :]) / 1e9
    said.append(f"all other calls {others:.1f} s")
    said.append(f"before its first call {max(0, startup.first_ns - process.started_ns) / 1e9:.1f} s")
    said.append(f"in no call {startup.between_calls_ns / 1e9:.1f} s")
    return "; ".join(filter(None, (", ".join(said), _processor(facts, process))))


def _processor(facts: Facts, process: Process) -> str:
    """Whether it computed or waited, when that was seen; "" when it was not."""
    seen = [event.fields for event in facts.events("pace") if event.fields.get("process") == process.index]
    if not seen:
        return ""
    lived, cpu, queued = (
        float(seen[-1][name]) for name in ("lived_seconds", "cpu_seconds", "queued_seconds")
    )
    asleep = max(0.0, lived - cpu - queued)
    verdict = "it waits (for its forwarder, a lock, a sleep)" if asleep > lived / 2 else "it computes"
    return f"of its first {lived:.1f} s it slept {asleep:.1f} s: {verdict}"


def _longest(facts: Facts) -> list[Evidence]:
    """The process under a limit that took longest, and what it spent its time in."""
    found = []
    for process in facts.processes:
        startup, limit = facts.startup.get(process.index), limit_of(facts.session, process)
        if limit is None or limit.name == _LOADS or process.ended_ns is None:
            continue
        calls = startup.in_calls_ns if startup is not None else 0
        before = (startup.first_ns if startup is not None else process.ended_ns) - process.started_ns
        lived = process.ended_ns - process.started_ns
        rest = lived - calls - max(0, before)
        text = (
            f"process {process.pid} ({limit.name}) lived {lived / 1e9:.1f} s: {calls / 1e9:.1f} s in calls, "
            f"{max(0, before) / 1e9:.1f} s before the first, {max(0, rest) / 1e9:.1f} s in none"
        )
        found.append((lived, text))
    return [Evidence(text) for _, text in sorted(found, reverse=True)[:1]]
