"""cuGetProcAddress fails whatever it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage

FIRST_ASKED = 2
"""A runtime's first request is for "", which may fail; its second, cuInit, must not."""


def find(facts: Facts) -> Iterator[Diagnosis]:
    for process, lookups in facts.lookups.items():
        if lookups.asked < FIRST_ASKED or lookups.failed < lookups.asked:
            continue
        row = lookups.first_failed
        yield Diagnosis(
            rule="proc-address-fails",
            what="the runtime resolves no driver function (error 35, driver version is insufficient)",
            cause=f"cuGetProcAddress failed for all {lookups.asked} names it was asked for",
            fix="answer with the address of the export that fits name, version and flags; or do not export "
            "cuGetProcAddress at all, then the runtime looks the names up itself",
            certainty="proved",
            stage=Stage.RESOLVE,
            evidence=[facts.call_evidence(row), *facts.error_evidence([35], process)],
            process=process,
        )
