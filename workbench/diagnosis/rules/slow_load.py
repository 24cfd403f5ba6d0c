"""Loading and starting the shim takes longer than the target's limits allow, and which part of it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sessions.items import Pseudo
from workbench.diagnosis.facts import SLOW_NS, Facts
from workbench.diagnosis.limits import PER_PROCESS, limit_of
from workbench.diagnosis.model import Diagnosis, Stage

PATIENCE = 3.0
"""Seconds that are too long for anybody: the limit of Ollama's refresh, for one process alone."""
_WAITS = ("cuLaunch", "cuStream", "cuEvent", "cuMemcpy", "cuMemset", "cuGraph", "cuCtxSynchronize")


def find(facts: Facts) -> Iterator[Diagnosis]:
    late = [*facts.lines("slow-refresh"), *facts.lines("slow-discovery")]
    for process in facts.processes:
        parts: Counter[str] = Counter()
        rows: dict[str, int] = {}
        for call in facts.calls:
            if call.process != process.index or not call.returned or call.own or call.duration < SLOW_NS:
                continue
            if call.function == Pseudo.DLOPEN or call.name.startswith(_WAITS):
                continue
            name = "the shim's constructors" if call.function == Pseudo.LOAD else call.name
            parts[name] += call.duration
            rows.setdefault(name, call.row)
        if not parts:
            continue
        took = sum(parts.values()) / 1e9
        limit = limit_of(facts.session, process)
        over = limit is not None and limit.ended_ns is not None and limit.used(limit.ended_ns) > limit.seconds
        allowed = PATIENCE if limit is None or limit.name == "model load" else PER_PROCESS
        if took < allowed:
            continue
        slowest, spent = parts.most_common(1)[0]
        against = (
            f"{limit.name} has {limit.seconds:g} s for its processes"
            if limit is not None
            else f"Ollama gives three such processes {PATIENCE:g} s together"
        )
        yield Diagnosis(
            rule="slow-load",
            what=f"loading and starting takes {took:.1f} s a process; {against}",
            cause=f"{slowest} took {spent / 1e9:.1f} s of it",
            fix=f"do less in {slowest}; below {PER_PROCESS:g} s a process every limit is kept",
            certainty="proved" if late or over else "likely" if limit is not None else "possible",
            stage=Stage.LOAD if slowest == "the shim's constructors" else Stage.INIT,
            evidence=[facts.call_evidence(rows[slowest]), *(facts.line_evidence(said) for said in late[:1])],
            process=process.index,
            stops=False,
            by_ollama=True,
            independent=True,
        )
        return
    if late:
        said = late[0]
        yield Diagnosis(
            rule="slow-load",
            what="Ollama gave up waiting: it goes on with old values, or without the GPU",
            cause=f"a limit of Ollama's ran out: {said.text}",
            fix="see in the timeline (8) which process took long; "
            f"below {PER_PROCESS:g} s a process every limit is kept",
            certainty="likely",
            stage=Stage.OUTCOME,
            evidence=[facts.line_evidence(said)],
            stops=False,  # and of no process: whatever held one of Ollama's up made the limit run out
            by_ollama=True,
        )
