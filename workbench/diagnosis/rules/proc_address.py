"""cuGetProcAddress fails whatever it is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage
from workbench.views.coverage import Asked

FIRST_ASKED = 2
"""A runtime's first request is for "", which may fail; its second, cuInit, must not."""


def find(facts: Facts) -> Iterator[Diagnosis]:
    asked: dict[str, list[Asked]] = defaultdict(list)
    for row in facts.coverage:
        for entry in row.asked:
            if entry.how == "proc-address":
                asked[entry.by].append(entry)
    for library, entries in asked.items():
        if len(entries) < FIRST_ASKED or any(entry.answered is not None for entry in entries):
            continue
        first = min(entry.first_call for entry in entries)
        call = facts.session.calls.row(first)
        nulls = call.result == 0
        yield Diagnosis(
            rule="proc-address-fails",
            what=f"{library} resolves no driver function (error 35, driver version is insufficient)",
            cause=f"cuGetProcAddress {'gave a null pointer' if nulls else 'failed'} for all {len(entries)} "
            "names it was asked for",
            fix="answer with the address of the export that fits name, version and flags; or do not export "
            "cuGetProcAddress at all, then the runtime looks the names up itself",
            certainty="proved",
            stage=Stage.RESOLVE,
            evidence=[facts.call_evidence(first), *facts.error_evidence([35], call.process)],
            process=call.process,
            by_runtime=True,
        )
