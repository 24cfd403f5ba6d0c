"""A function other than the two entries is not answered, and the runtime needs it."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

_ELSEWHERE = ("cuInit", "cuGetExportTable")  # rule entry
INSUFFICIENT_DRIVER, NEWER_DRIVER = 35, 36
SHOWN = 4


def find(facts: Facts) -> Iterator[Diagnosis]:
    found = list(_each(facts))
    yield from found
    yield from _other_way(facts)
    met = {diagnosis.process for diagnosis in found if diagnosis.certainty == "proved"}
    for process in facts.processes:
        if process.index not in met:
            yield from _called(facts, process.index)


def _called(facts: Facts, process: int) -> Iterator[Diagnosis]:
    """A runtime that has started tells 36 when it is to call a function that it was not given."""
    lacking = [
        (row, asked)
        for row in facts.coverage
        if not row.answered and row.effect == "fatal-later" and row.error is None
        for asked in row.asked
        if asked.answered is None and facts.session.calls.row(asked.first_call).process == process
    ]
    told = facts.error_evidence([NEWER_DRIVER], process)
    if not lacking or not told or not facts.bootstrapped_after(process, lacking[0][1].first_call):
        return
    names = list(dict.fromkeys(row.name for row, _ in lacking))
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    askers = ", ".join(dict.fromkeys(asked.by for _, asked in lacking))
    yield Diagnosis(
        rule="name-missing",
        what=f"the runtime fails with error {NEWER_DRIVER} where it is to call what the shim does not have",
        cause=f"{shown}: asked for by {askers} and not answered",
        fix=f"export {names[0] if len(names) == 1 else 'these'} and have cuGetProcAddress return it",
        certainty="likely",
        stage=Stage.CONTEXT,
        evidence=[
            *(
                Evidence(
                    f"call {asked.first_call + 1}: {facts.text(asked.first_call)}",
                    call=asked.first_call,
                    name=row.name,
                )
                for row, asked in lacking[:SHOWN]
            ),
            *told,
        ],
        process=process,
        by_runtime=True,
    )


def _other_way(facts: Facts) -> Iterator[Diagnosis]:
    """cuGetProcAddress is got by dlsym, and asked for once more through itself.

    A runtime ends there, before it has asked for anything that tells which version it is.
    """
    for row in facts.coverage:
        if not row.name.startswith("cuGetProcAddress") or row.effect == "fatal-at-init":
            continue
        for asked in row.asked:
            if asked.answered is not None or asked.how != "proc-address" or asked.effect != "unknown":
                continue
            process = facts.session.calls.row(asked.first_call).process
            told = facts.error_evidence([INSUFFICIENT_DRIVER], process)
            if not told or facts.bootstrapped_after(process, asked.first_call):
                continue
            yield Diagnosis(
                rule="name-missing",
                what=f"the runtime fails with error {INSUFFICIENT_DRIVER}: {row.name} does not know itself",
                cause=f"{asked.by} got {row.name} by dlsym, asked it for itself, and was not answered",
                fix="have cuGetProcAddress answer its own name as well",
                certainty="likely",
                stage=Stage.RESOLVE,
                evidence=[facts.call_evidence(asked.first_call, row.name), *told],
                process=process,
                by_runtime=True,
            )
            return


def _each(facts: Facts) -> Iterator[Diagnosis]:
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
