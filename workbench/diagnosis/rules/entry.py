"""cuInit or cuGetExportTable can't be resolved: error 36, the line of 98 bytes.

It is told from what a runtime asked for and was answered. That a cuInit was seen proves nothing: it may
be the call of the shim's own constructor.
"""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

ERROR = 36
_STAGES = {"cuInit": Stage.INIT, "cuGetExportTable": Stage.TABLES}


def find(facts: Facts) -> Iterator[Diagnosis]:
    # Nothing can be concluded of single names where no lookup gets an answer.
    hopeless = {
        p for p, lookups in facts.lookups.items() if lookups.asked and lookups.failed == lookups.asked
    }
    for row in facts.coverage:
        stage = _STAGES.get(row.name)
        if stage is None or row.answered or row.first_call is None:
            continue
        process = facts.session.calls.row(row.first_call).process
        if process in hopeless or facts.of(row.name):
            continue
        refused = [asked for asked in row.asked if asked.answered is None]
        ways = ", ".join(dict.fromkeys(f"{asked.how} by {asked.by}" for asked in refused))
        told = facts.errors([ERROR], process)
        yield Diagnosis(
            rule="entry-not-resolvable",
            what="the runtime gives up with error 36, API call is not supported in the installed CUDA driver",
            cause=f"{row.name} was asked for ({ways}) and not answered",
            fix=f"export {row.name} and have cuGetProcAddress return it",
            certainty="proved" if told or row.effect == "fatal-at-init" else "likely",
            stage=stage,
            evidence=[
                Evidence(
                    f"call {row.first_call + 1}: {facts.text(row.first_call)}",
                    call=row.first_call,
                    name=row.name,
                ),
                *facts.error_evidence([ERROR], process),
            ],
            process=process,
        )
