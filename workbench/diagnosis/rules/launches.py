"""Launches succeed and nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage


def find(facts: Facts) -> Iterator[Diagnosis]:
    if facts.mode.mode != "not-executed":
        return
    launches = [piece for piece in facts.mode.evidence if piece.call is not None]
    yield Diagnosis(
        rule="launches-not-executed",
        what="kernels are launched and none is executed: results mean nothing",
        cause="the forwarder's device only counts launches",
        fix="choose a device that executes: shimbench host --device soft, or [host] in shimbench.toml",
        certainty="proved",
        stage=Stage.WORK,
        evidence=[Evidence(piece.text, call=piece.call) for piece in [*facts.mode.evidence[:1], *launches]],
        stops=False,
        independent=True,
    )
