"""The target gave up with a `CUDA error` line: which driver call it needed and did not get."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage

NOT_SUPPORTED = 801
SLACK_NS = 1_000_000_000
"""A line may be read this much before the calls that led to it."""


def find(facts: Facts) -> Iterator[Diagnosis]:
    spoken: set[int] = set()
    for said in facts.said:
        if said.kind != "abort" or said.process in spoken:
            continue
        spoken.add(said.process)
        failed = [c for c in facts.failed if c.process == said.process and c.name != "cuGetExportTable"]
        before = [call for call in failed if call.time <= said.time_ns + SLACK_NS]
        matching = [call for call in before if said.code and call.result == said.code]
        if not before:
            continue
        call = (matching or before)[-1]
        refused = call.result == NOT_SUPPORTED
        yield Diagnosis(
            rule="needed-not-supported" if refused else "call-fails",
            what=f"the target gave up: {said.text}",
            cause=f"the last driver call that failed before it is {call.name} -> {facts.result(call)}",
            fix=f"perform {call.name} in the shim" if refused else f"see why {call.name} fails",
            certainty="proved" if matching else "likely",
            stage=Stage.WORK,
            evidence=[facts.call_evidence(call.row), facts.line_evidence(said)],
            process=said.process,
        )
