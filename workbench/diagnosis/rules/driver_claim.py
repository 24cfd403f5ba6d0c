"""The driver claims a version without having the functions of that version."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

FROM = 11000
"""Names that are older than this belong to every driver: their absence is no matter of its version."""
SHOWN = 4
NEWER_DRIVER = 36
"""What a runtime says where it is to call a function that it was not given."""


def find(facts: Facts) -> Iterator[Diagnosis]:
    for call in facts.of("cuDriverGetVersion")[-1:]:
        version = facts.out_of(call, 0)
        if call.result or not version:
            continue
        lacking = [
            (asked, row)
            for row in facts.coverage
            if not row.answered and row.effect in ("fatal-at-init", "fatal-later")
            for asked in row.asked
            if asked.answered is None and asked.how == "proc-address" and FROM < asked.version <= version
        ]
        told = [(a, r) for a, r in lacking if facts.errors([r.error or NEWER_DRIVER], call.process)]
        if not told:
            continue
        shown = f"{version // 1000}.{version % 1000 // 10}"
        names = ", ".join(dict.fromkeys(row.name for _, row in lacking[:SHOWN]))
        first = told[0][0].first_call
        yield Diagnosis(
            rule="version-without-its-symbols",
            what=f"the runtime takes the driver for {shown} and fails where it relies on that",
            cause=f"cuDriverGetVersion claims {shown}, but the shim does not answer {names}",
            fix=f"export these, or claim a version below {told[0][0].version // 1000}."
            f"{told[0][0].version % 1000 // 10} (the runtime's major is the least it takes)",
            certainty="likely",
            stage=Stage.CONTEXT,
            evidence=[
                facts.call_evidence(call.row),
                Evidence(f"call {first + 1}: {facts.text(first)}", call=first, name=told[0][1].name),
                *facts.error_evidence([told[0][1].error or NEWER_DRIVER], call.process),
            ],
            process=call.process,
            stops=False,
            by_runtime=True,
        )
