"""A call that is forbidden while a stream is captured into a graph."""

from __future__ import annotations

from collections.abc import Iterator

from sessions import FIRST_PSEUDO_FUNCTION
from workbench.diagnosis.calls import Call
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

CAPTURE_ERRORS = range(900, 909)
_BEGINS = ("cuStreamBeginCapture", "cuStreamBeginCapture_v2")
INVALIDATED = 901
SHOWN = 4
LOOKED_AT = 1 << 16
"""So many calls before the end of a capture are looked at for what was called in it."""


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
        if begun and culprit is call and call.name == "cuStreamEndCapture":
            yield _unseen(facts, begun[-1], call, told)
            continue
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


def _unseen(facts: Facts, begun: Call, ended: Call, told: list[Evidence]) -> Diagnosis:
    """The capture was lost although no call of the target in it failed: the shim lost it by itself."""
    names = _names_between(facts, begun, ended)
    shown = ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
    during = f"; called in it: {shown}" if names else ""
    return Diagnosis(
        rule="forbidden-during-capture",
        what=f"{ended.name} fails with {facts.result(ended)}: the graph is lost",
        cause=f"no call of the target during the capture failed: the shim lost it by itself{during}",
        fix="have these do nothing in the shim that waits for the stream while it is captured, but record it",
        certainty="likely",
        stage=Stage.WORK,
        evidence=[facts.call_evidence(begun.row), facts.call_evidence(ended.row), *told],
        process=ended.process,
    )


def _names_between(facts: Facts, first: Call, last: Call) -> list[str]:
    """Functions of the driver that the capturing process called in between, each once."""
    start = max(first.row + 1, last.row - LOOKED_AT)
    columns = facts.session.calls.columns(start, last.row, ("process", "function"))
    mine = columns["function"][columns["process"] == first.process].tolist()
    numbers = dict.fromkeys(number for number in mine if number < FIRST_PSEUDO_FUNCTION)
    return [facts.session.schema.function_name(number) for number in numbers]


def _between(facts: Facts, first: Call, last: Call) -> list[Call]:
    return [
        c for c in facts.calls if first.row < c.row <= last.row and c.process == first.process and c.returned
    ]
