"""The target computes on the CPU although the driver has a device."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

RULE = "cpu-mode"
DROPPED = ("no-memory", "capability-not-in-archs", "pci-id-doubled", "nvml-driver-too-old", "slow-load")
"""Rules that tell of a device which is found, and left out."""
FOLLOWS = "that is what the wall above leads to"


def find(facts: Facts) -> Iterator[Diagnosis]:
    if facts.mode.mode != "cpu":
        return
    counted = [c for c in facts.of("cuDeviceGetCount") if not c.result and facts.out(c.row, 0)]
    if not counted:
        return
    evidence = [Evidence(piece.text, piece.call, piece.log) for piece in facts.mode.evidence[:2]]
    yield Diagnosis(
        rule=RULE,
        what="the target computes on the CPU although the driver counts a device",
        cause="the session does not show it; the target's own lines and the last calls are where to look",
        fix="",
        certainty="possible",
        stage=Stage.OUTCOME,
        evidence=[*evidence, facts.call_evidence(counted[-1].row)],
        stops=False,
    )
