"""A function other than the two entries is not answered, and the runtime needs it."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

_ELSEWHERE = ("cuInit", "cuGetExportTable")  # rule entry


def find(facts: Facts) -> Iterator[Diagnosis]:
    for row in facts.coverage:
        if row.answered or row.first_call is None or row.name in _ELSEWHERE:
            continue
        asked = [asked for asked in row.asked if asked.answered is None]
        if all(entry.how == "table" for entry in asked):
            continue
        process = facts.session.calls.row(row.first_call).process
        lookups = facts.lookups.get(process)
        if lookups is not None and lookups.failed == lookups.asked:
            continue  # rule proc_address
        told = facts.error_evidence([row.error], process) if row.error else []
        if row.effect == "fatal-later" and not told:
            continue
        if row.effect not in ("fatal-at-init", "fatal-later"):
            continue
        early = row.effect == "fatal-at-init"
        askers = ", ".join(dict.fromkeys(entry.by for entry in asked))
        error = f" with error {row.error}" if row.error else ""
        yield Diagnosis(
            rule="name-missing",
            what=f"the runtime fails{error} without {row.name}",
            cause=f"{row.name} was asked for by {askers} and not answered ({row.reason})",
            fix=f"export {row.name} and have cuGetProcAddress return it",
            certainty="proved" if told else "likely",
            stage=_stage(row.name, early),
            evidence=[
                Evidence(
                    f"call {row.first_call + 1}: {facts.text(row.first_call)}",
                    call=row.first_call,
                    name=row.name,
                ),
                *told,
            ],
            process=process,
            stops=early,
            independent=True,
            by_runtime=True,
        )


def _stage(name: str, early: bool) -> Stage:
    if name.startswith("cuGetProcAddress"):
        return Stage.RESOLVE
    if name == "cuDriverGetVersion":
        return Stage.VERSION
    return Stage.DEVICES if early else Stage.CONTEXT
