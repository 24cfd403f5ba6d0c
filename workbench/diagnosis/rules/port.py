"""A server of the target can't have its port."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage


def find(facts: Facts) -> Iterator[Diagnosis]:
    for said in facts.lines("port"):
        process = facts.process(said.process)
        if process is not None and process.ended_ns is None and process.index in facts.launched:
            continue  # it took another
        where = f" {said.subject}" if said.subject else ""
        yield Diagnosis(
            rule="port-taken",
            what="the target does not start: its port is taken",
            cause=f"another process listens at{where or ' its address'}: {said.text}",
            fix="end that process (ss -ltnp names it), or give the target another address (OLLAMA_HOST)",
            certainty="proved",
            stage=Stage.LOAD,
            evidence=[facts.line_evidence(said)],
            process=said.process,
            independent=True,
        )
        return
