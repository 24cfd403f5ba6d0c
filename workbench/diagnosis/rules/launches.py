"""Launches succeed and nothing is computed."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage
from workbench.views.summary import DEVICE_COUNTS


def find(facts: Facts) -> Iterator[Diagnosis]:
    if facts.mode.mode != "not-executed":
        return
    launches = [piece for piece in facts.mode.evidence if piece.call is not None]
    if facts.mode.evidence[0].text == DEVICE_COUNTS:
        cause = "the forwarder's device only counts launches"
        fix = "choose a device that executes: shimbench host --device soft, or [host] in shimbench.toml"
    else:
        cause = "the shim answers launches with success, and the forwarder sees none of them"
        fix = "have the shim send each launch to the forwarder"
    yield Diagnosis(
        rule="launches-not-executed",
        what="kernels are launched and none is executed: results mean nothing",
        cause=cause,
        fix=fix,
        certainty="proved",
        stage=Stage.WORK,
        evidence=[Evidence(piece.text, call=piece.call) for piece in [*facts.mode.evidence[:1], *launches]],
        stops=False,
        independent=True,
    )
