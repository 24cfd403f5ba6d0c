"""What leads to the shim was dropped from the environment on the way to a process that needs it."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

_CUDA = ("libcuda.so", "libcudart.so", "libggml-cuda.so", "libcublas.so")


def find(facts: Facts) -> Iterator[Diagnosis]:
    folder = f"{facts.session.path}/runs/{facts.run}/"
    for process in facts.processes:
        parent = facts.process(process.parent_index)
        if parent is None or parent.run != facts.run or process.registered:
            continue
        dropped = [
            name
            for name in ("LD_LIBRARY_PATH", "LD_PRELOAD")
            if folder in parent.env.get(name, "") and folder not in process.env.get(name, "")
        ]
        missed = facts.lines("not-loaded", process.index) + facts.errors([35, 100], process.index)
        wants = any(
            m.soname.startswith(_CUDA) or m.path.rpartition("/")[2].startswith(_CUDA) for m in process.maps
        )
        if not dropped or not (missed or wants):
            continue
        words = " ".join(process.argv[:2])
        yield Diagnosis(
            rule="environment-dropped",
            what=f"{words} does not run under the shim",
            cause=f"{' and '.join(dropped)} of the run did not reach process {process.pid} ({words}); "
            f"its parent {parent.pid} had {'them' if len(dropped) > 1 else 'it'}",
            fix="let the parent pass them on (sudo, env -i, systemd and wrapper scripts drop them)",
            certainty="proved",
            stage=Stage.LOAD,
            evidence=[
                Evidence(f"process {process.pid} has {name}={process.env.get(name, '')!r}")
                for name in dropped
            ]
            + [facts.line_evidence(said) for said in missed[:1]],
            process=process.index,
            independent=True,
        )
