"""The runtime's self-test of the driver: error 103 when the answer is wrong."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.calls import INTEGRITY_TABLE
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage

ERROR = 103


def find(facts: Facts) -> Iterator[Diagnosis]:
    passed_on = {call.process for call in facts.failed if call.result == ERROR}
    for call, table, pointer in facts.tables:
        if table != INTEGRITY_TABLE or call.result or not pointer or call.process in passed_on:
            continue
        told = facts.error_evidence([ERROR], call.process)
        if not told:
            continue
        yield Diagnosis(
            rule="self-test-wrong",
            what="the runtime gives up with error 103, integrity checks failed",
            cause="slot 1 of IntegrityCheck answered wrongly; no driver call returned 103. It hashes the "
            "driver's version, pid, thread, the addresses of tables 6bd5fb6c and d4082055 and of "
            "this slot, the time, and each device's UUID and PCI ids as the queries answered them",
            fix="compute it inside the guest process, over the same values that the device queries give",
            certainty="proved",
            stage=Stage.SELF_TEST,
            evidence=[facts.call_evidence(call.row), *told],
            process=call.process,
            by_runtime=True,
        )
