"""The target computes on the CPU although the driver has a device."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Rule, Stage

if TYPE_CHECKING:
    from sessions import Process

RULE: Rule = "cpu-mode"
DROPPED: tuple[Rule, ...] = (
    "no-memory",
    "capability-not-in-archs",
    "pci-id-doubled",
    "nvml-driver-too-old",
    "slow-load",
)
"""Rules that tell of a device which is found, and left out."""
FOLLOWS = "that is what the wall above leads to"
_ASKS_FOR_IT = re.compile(
    r"(?:^| )((?:-ngl|--gpu-layers|--n-gpu-layers)[ =]0|(?:-dev|--device)[ =]none)(?: |$)"
)
"""What llama.cpp's programs are told to stay on the CPU by."""


def find(facts: Facts) -> Iterator[Diagnosis]:
    if facts.mode.mode != "cpu":
        return
    counted = [c for c in facts.of("cuDeviceGetCount") if not c.result and facts.out(c.row, 0)]
    if not counted:
        return
    evidence = [Evidence(piece.text, piece.call, piece.log) for piece in facts.mode.evidence[:2]]
    told = _told(facts)
    if told is not None:
        cause = f"process {told[0].pid} was told to: {told[1]} stands in its command line"
        evidence.append(Evidence(f"process {told[0].pid}: {' '.join(told[0].argv)}"))
    else:
        cause = "the session does not show it; the target's own lines and the last calls are where to look"
    yield Diagnosis(
        rule=RULE,
        what="the target computes on the CPU although the driver counts a device",
        cause=cause,
        fix="leave it out; Ollama takes it from num_gpu of the request or the model" if told else "",
        certainty="proved" if told else "possible",
        stage=Stage.OUTCOME,
        evidence=[*evidence, facts.call_evidence(counted[-1].row)],
        stops=False,
    )


def _told(facts: Facts) -> tuple[Process, str] | None:
    """The newest process whose command line keeps it on the CPU, and the words that do."""
    for process in reversed(facts.processes):
        if found := _ASKS_FOR_IT.search(" ".join(process.argv)):
            return process, found[1]
    return None
