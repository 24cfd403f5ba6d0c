"""A call that is forbidden while a stream is captured into a graph."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Call, Facts
from workbench.diagnosis.model import Diagnosis, Stage

CAPTURE_ERRORS = range(900, 909)
_BEGINS = ("cuStreamBeginCapture", "cuStreamBeginCapture_v2")
INVALIDATED = 901


def find(facts: Facts) -> Iterator[Diagnosis]:
    seen: set[int] = set()
    for call in facts.failed:
        if call.result not in CAPTURE_ERRORS or call.process in seen:
            continue
        told = facts.error_evidence(CAPTURE_ERRORS, call.process)
        # Somebody may try and fall back; the last capture then ends well.
        if not told and facts.recovered(call.process, call.row):
            continue
        seen.add(call.process)
        begun = [
            c for c in facts.of(*_BEGINS) if c.process == call.process and c.row < call.row and not c.result
        ]
        between = _between(facts, begun[-1], call) if begun else []
        culprit = next((c for c in between if c.result in CAPTURE_ERRORS), call)
        own = [c for c in between if c.own]
        if own and culprit.result == INVALIDATED:
            culprit = own[0]
        who = (
            "the shim itself called" if culprit.own else f"{facts.library_of(culprit) or 'the target'} called"
        )
        yield Diagnosis(
            rule="forbidden-during-capture",
            what=f"{call.name} fails with {facts.result(call)}: the graph is lost",
            cause=f"{who} {culprit.name} while a stream was being captured",
            fix=f"keep {culprit.name} out of captures: record it into the graph, or do it before",
            certainty="proved" if culprit is not call or call.result != INVALIDATED else "likely",
            stage=Stage.WORK,
            evidence=[facts.call_evidence(c.row) for c in dict.fromkeys((*begun[-1:], culprit, call))] + told,
            process=call.process,
        )


def _between(facts: Facts, first: Call, last: Call) -> list[Call]:
    return [
        c for c in facts.calls if first.row < c.row <= last.row and c.process == first.process and c.returned
    ]
