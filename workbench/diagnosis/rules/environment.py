"""What leads to the shim was dropped from the environment on the way to a process that needs it."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis, Evidence, Stage

_CUDA = ("libcuda.so", "libcudart.so", "libggml-cuda.so", "libcublas.so")


INSUFFICIENT_DRIVER = 35


def find(facts: Facts) -> Iterator[Diagnosis]:
    shown = [*_dropped(facts), *_unrecorded(facts)]
    yield from shown or _unseen(facts)


def _unseen(facts: Facts) -> Iterator[Diagnosis]:
    """A runtime says that there is no driver, and no tap was ever asked for one: it ran without the tap.

    So does what exec started without the environment, and what ended before it could be looked at.
    """
    asked = any(facts.opened("libcuda.so", process.index) for process in facts.processes)
    if facts.run_event.get("tap") is False or facts.calls_by_target or asked:
        return
    for said in facts.errors([INSUFFICIENT_DRIVER])[:1]:
        process = facts.process(said.process)
        words = " ".join(process.argv[:2]) if process is not None else "a process of the target"
        yield Diagnosis(
            rule="environment-dropped",
            what="a CUDA runtime found no driver, and asked nobody the tap could see",
            cause=f"LD_LIBRARY_PATH and LD_PRELOAD of the run did not reach the program that {words} became "
            "or started",
            fix="let them pass (env -i, sudo, setuid programs, systemd and wrapper scripts drop them)",
            certainty="likely",
            stage=Stage.LOAD,
            evidence=[facts.line_evidence(said)],
            process=said.process,
            independent=True,
        )


def _unrecorded(facts: Facts) -> Iterator[Diagnosis]:
    """No tap could be loaded into a process, and it misses a library of the run: that is why."""
    for process in facts.processes:
        if not process.unrecorded or process.registered:
            continue
        missed = facts.lines("not-loaded", process.index) + facts.errors([35, 100], process.index)
        if not missed or "dropped from its environment" in process.unrecorded:
            continue
        words = " ".join(process.argv[:2])
        yield Diagnosis(
            rule="environment-dropped",
            what=f"{words} does not run under the shim",
            cause=f"the run's libraries do not reach process {process.pid} ({words}): {process.unrecorded}",
            fix=process.advice,
            certainty="proved",
            stage=Stage.LOAD,
            evidence=[
                Evidence(f"process {process.pid}: {process.unrecorded}"),
                facts.line_evidence(missed[0]),
            ],
            process=process.index,
            independent=True,
        )


def _dropped(facts: Facts) -> Iterator[Diagnosis]:
    folder = f"/runs/{facts.run}/"  # wherever the session lies now
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
