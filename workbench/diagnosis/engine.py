"""Runs the rules over one session and puts what they found in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.diagnosis.facts import Facts, gather
from workbench.diagnosis.model import Diagnosis, Evidence
from workbench.diagnosis.rules import RULES

if TYPE_CHECKING:
    from sessions import Session


@dataclass(frozen=True)
class Explanation:
    """All that is known. `unexplained`: where to look when something failed and no rule matches."""

    run: int
    diagnoses: list[Diagnosis]
    unexplained: list[Evidence]


def diagnose(session: Session, run: int | None = None) -> list[Diagnosis]:
    """What failed in a run (the newest unless told); the first wall on the road first. [] when nothing."""
    return explain(session, run).diagnoses


def explain(session: Session, run: int | None = None) -> Explanation:
    """The diagnoses, and without any the last failing line and calls that may matter."""
    facts = gather(session, run)
    found = [diagnosis for rule in RULES for diagnosis in rule(facts)]
    found = _merged(sorted(found, key=lambda diagnosis: diagnosis.stage))
    _fold(found)
    return Explanation(facts.run, found, [] if found else _leftovers(facts))


def _merged(found: list[Diagnosis]) -> list[Diagnosis]:
    """The same in several processes is one diagnosis, with the evidence of the first."""
    kept: dict[tuple[str, str, str], Diagnosis] = {}
    places: dict[tuple[str, str, str], set[int]] = {}
    for diagnosis in found:
        key = diagnosis.rule, diagnosis.what, diagnosis.cause
        kept.setdefault(key, diagnosis)
        places.setdefault(key, set()).add(diagnosis.process)
    for key, diagnosis in kept.items():
        diagnosis.processes = len(places[key])
    return list(kept.values())


def _fold(found: list[Diagnosis]) -> None:
    """What comes later in the same process follows from the wall in front of it."""
    for place, diagnosis in enumerate(found):
        if diagnosis.independent:
            continue
        for wall in found[:place]:
            same = wall.process == diagnosis.process or -1 in (wall.process, diagnosis.process)
            if same and wall.stops and wall.consequence_of is None:
                diagnosis.consequence_of = wall.rule
                break


def _leftovers(facts: Facts) -> list[Evidence]:
    """Nothing matched: the last line that speaks of failing, and how the processes ended."""
    left = [facts.line_evidence(said) for said in facts.said[-1:]]
    for process in facts.processes:
        if process.signal is not None or process.exit_code:
            end = f"signal {process.signal}" if process.signal is not None else f"exit {process.exit_code}"
            last = facts.last_rows.get(process.index)
            where = f"; its last call: {last + 1} {facts.text(last)}" if last is not None else ""
            left.append(Evidence(f"process {process.pid} ended with {end}{where}", call=last))
    if left:
        left += [facts.call_evidence(call.row) for call in facts.failed[-3:]]
    return left
