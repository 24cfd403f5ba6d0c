"""A shim of the CUDA runtime is bypassed: cuBLAS carries a runtime of its own, linked statically."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Stage

_WITH_OWN_RUNTIME = ("libcublas.so", "libcublasLt.so", "libcusparse.so", "libcusolver.so", "libcufft.so")


def find(facts: Facts) -> Iterator[Diagnosis]:
    libraries = facts.run_event.get("libraries")
    shimmed = (
        [name for name in libraries if name.startswith("libcudart.so")] if isinstance(libraries, dict) else []
    )
    if not shimmed:
        return
    for row in facts.coverage:
        for asked in row.asked:
            if not asked.by.startswith(_WITH_OWN_RUNTIME) or asked.answered is not None:
                continue
            if asked.effect != "fatal-at-init":
                continue
            told = facts.lines("cublas")
            yield Diagnosis(
                rule="cudart-shim-bypassed",
                what=f"{asked.by} does not start: it asks libcuda.so.1 itself, not {shimmed[0]}",
                cause=f"{asked.by} carries its own CUDA runtime; it asked in vain for {row.name}",
                fix="shim libcuda.so.1 with its export tables, or cuBLAS too: a runtime alone is not enough",
                certainty="proved" if told else "likely",
                stage=Stage.WORK,
                evidence=[
                    facts.call_evidence(asked.first_call, row.name),
                    *map(facts.line_evidence, told[:1]),
                ],
                process=facts.session.calls.row(asked.first_call).process,
                independent=True,
            )
            return
