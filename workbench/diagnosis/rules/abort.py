"""The target gave up over an error: which driver call it needed and did not get.

It says `CUDA error`, or names an error in words of its own and ends with a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from signal import SIGABRT

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage

NOT_SUPPORTED = 801
SLACK_NS = 1_000_000_000
"""A line may be read this much before the calls that led to it."""


def find(facts: Facts) -> Iterator[Diagnosis]:
    spoken: set[int] = set()
    failing = {process.index for process in facts.processes if process.exit_code or process.signal == SIGABRT}
    for said in sorted(facts.said, key=lambda said: said.kind != "abort"):
        gave_up = said.kind == "abort" or (said.kind == "error" and said.process in failing)
        if not gave_up or said.process in spoken:
            continue
        failed = [c for c in facts.failed if c.process == said.process and c.name != "cuGetExportTable"]
        before = [call for call in failed if call.time <= said.time_ns + SLACK_NS]
        matching = [call for call in before if said.code and call.result == said.code]
        if not before or (said.kind == "error" and not matching):
            continue
        spoken.add(said.process)
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
