"""What an edit has changed: a run beside the one before it, in a few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sessions import FIRST_PSEUDO_FUNCTION
from sessions.decode import INTERNAL, UNRETURNED, CallDecoder
from workbench.target.roles import is_kernel_probe
from workbench.views.summary import gpu_mode

if TYPE_CHECKING:
    from sessions import Session

BATCH = 1 << 20
SHOWN = 3
_MODES = {
    "gpu": "GPU mode",
    "cpu": "CPU fallback",
    "not-executed": "GPU mode, kernels not executed",
    "load-failed": "a GPU is found, and loading the model fails",
    "unknown": "GPU mode not known",
}
_RUNGS = ("probe", "list-devices", "discovery", "load")
"""Of the ladder, as workbench.config.RUNGS; for the tokens the exercise speaks."""


@dataclass(frozen=True)
class RunFacts:
    """What is compared of one run."""

    run: int
    called: Mapping[str, int] = field(default_factory=dict)
    """function -> calls, the shim's own of itself apart"""
    failed: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """(function, result) -> calls"""
    mode: str = "unknown"
    exercise: Mapping[str, Any] = field(default_factory=dict)
    """fields of the session's event; empty when there was none"""
    rungs: Mapping[str, str] = field(default_factory=dict)
    """rung -> ok or failed"""
    ending: str = ""
    """a signal that killed the target by itself"""

    @property
    def errors(self) -> int:
        return sum(self.failed.values())


def run_facts(session: Session, run: int) -> RunFacts:
    """Read everything about one run of a session."""
    members = [
        process.run == run and process.role == "target" and not is_kernel_probe(process.argv)
        for process in session.processes
    ]
    mine = np.array([*members, False], bool)
    called: Counter[int] = Counter()
    failed: Counter[tuple[int, int]] = Counter()
    total = len(session.calls)
    for start in range(0, total, BATCH):
        columns = session.calls.columns(
            start, min(start + BATCH, total), ("function", "result", "process", "flags")
        )
        process = np.minimum(columns["process"], len(members))
        wanted = mine[process] & (columns["function"] < FIRST_PSEUDO_FUNCTION)
        wanted &= (columns["flags"] & INTERNAL) == 0
        numbers, counts = np.unique(columns["function"][wanted], return_counts=True)
        called.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        wanted &= (columns["result"] != 0) & ((columns["flags"] & UNRETURNED) == 0)
        function = columns["function"][wanted].tolist()
        failed.update(zip(function, columns["result"][wanted].tolist(), strict=True))
    decoder = CallDecoder(session.schema)
    name = session.schema.function_name
    exercise: Mapping[str, Any] = {}
    rungs: dict[str, str] = {}
    ending = ""
    for event in session.events:
        if event.fields.get("run") != run:
            continue
        if event.kind == "exercise":
            exercise = event.fields
        elif event.kind == "rung":
            rungs[str(event.fields["name"])] = str(event.fields["state"])
        elif event.kind == "run-end" and event.fields.get("reason") == "by itself":
            ending = f"signal {event.fields['signal']}" if event.fields.get("signal") else ""
    return RunFacts(
        run,
        {name(number): count for number, count in called.items()},
        {(name(key[0]), decoder.result_text(*key)): count for key, count in failed.items()},
        gpu_mode(session, run).mode,
        exercise,
        rungs,
        ending,
    )


def changes(before: RunFacts, after: RunFacts) -> list[str]:
    """What is different in `after`, the farthest reaching first; [] when nothing is."""
    found = []
    if before.mode != after.mode:
        found.append(_MODES.get(after.mode, after.mode))
    found += _ladder(before.rungs, after.rungs)
    found += _exercise(before.exercise, after.exercise)
    new = [name for name in after.called if name not in before.called]
    gone = [name for name in before.called if name not in after.called]
    if new:
        found.append(f"{_names(new)} called for the first time")
    if gone:
        found.append(f"{_names(gone)} no longer called")
    failing = [key for key in after.failed if key not in before.failed]
    found += [f"{function} fails now: {result}" for function, result in failing[:SHOWN]]
    mended = [key for key in before.failed if key not in after.failed and key[0] in after.called]
    found += [f"{function} no longer fails with {result}" for function, result in mended[:SHOWN]]
    difference = after.errors - before.errors
    if difference:
        count = abs(difference)
        found.append(f"{count} error{'' if count == 1 else 's'} {'more' if difference > 0 else 'fewer'}")
    if before.ending != after.ending:
        found.append(f"killed by {after.ending}" if after.ending else f"no longer killed by {before.ending}")
    return found


def _ladder(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    old, new = _highest(before), _highest(after)
    if old == new or not set(_RUNGS) & after.keys() or not set(_RUNGS) & before.keys():
        return []
    said = f"{_RUNGS[new]} reached" if new >= 0 else "not even the first rung reached"
    return [f"{said} (before: {_RUNGS[old] if old >= 0 else 'none'})"]


def _highest(rungs: Mapping[str, str]) -> int:
    return max((number for number, name in enumerate(_RUNGS) if rungs.get(name) == "ok"), default=-1)


def _exercise(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    if not before or not after:
        return []
    if bool(before.get("ok")) != bool(after.get("ok")):
        return [
            "the exercise succeeds now" if after.get("ok") else f"the exercise fails: {after.get('error')}"
        ]
    found = []
    old, new = before.get("tokens"), after.get("tokens")
    if old != new and new is not None:
        found.append(f"{new} tokens (before: {old if old is not None else 'none'})")
    first, earlier = after.get("first_token_seconds"), before.get("first_token_seconds")
    if first and earlier and not 0.8 < first / earlier < 1.25:
        found.append(f"first token after {first:.2f} s (before: {earlier:.2f} s)")
    return found


def _names(names: Iterable[str]) -> str:
    every = list(names)
    if len(every) <= SHOWN:
        return ", ".join(every)
    return f"{', '.join(every[:SHOWN])} and {len(every) - SHOWN} more"
