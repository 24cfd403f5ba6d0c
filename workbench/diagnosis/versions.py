"""Which CUDA runtimes a run has, and which of them the rules were not checked with."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from workbench.diagnosis.facts import Facts
from workbench.target.installation import beyond_rules
from workbench.views.runtimes import runtime_version

OLDEST, NEWEST = (12, 4), (13, 5)
"""What was recorded of runtimes, table by table and fault by fault, was recorded from these on to these."""
_FILE = re.compile(r"libcudart\.so\.(\d+)(?:\.(\d+))?")


def runtimes(facts: Facts) -> dict[tuple[int, str], tuple[int, int]]:
    """(process, library) -> version of each library that bootstrapped as a CUDA runtime does.

    By its file's name where that tells the minor version, else by the newest name it asked for.
    """
    asked: dict[str, int] = {}
    for row in facts.coverage:
        for entry in row.asked:
            if entry.how == "proc-address":
                asked[entry.by] = max(entry.version, asked.get(entry.by, 0))
    found = {}
    for process in facts.processes:
        for module in process.modules:
            name = PurePosixPath(module.path).name
            version = _named(name)
            is_runtime = _FILE.match(name) or (process.index, name) in facts.runtimes
            if version is None and name in asked and is_runtime:
                version = runtime_version(asked[name])
            if version is not None:
                found[process.index, name] = version
    return found


def unknown_runtimes(facts: Facts) -> dict[int, str]:
    """process -> a sentence about a runtime in it that is newer or older than those the rules know."""
    notes = {}
    claimed = {
        call.process: claim
        for call in facts.of("cuDriverGetVersion")
        if not call.result and (claim := facts.out_of(call, 0)) is not None
    }
    for (process, name), version in runtimes(facts).items():
        shown = f"{version[0]}.{version[1]}"
        what = "cudart" if name.startswith("libcudart") else f"the runtime in {name}"
        if version > NEWEST:
            notes[process] = f"{what} {shown} not known, rules checked to {NEWEST[0]}.{NEWEST[1]}"
        elif version < OLDEST and not _held_back(name, version, claimed.get(process)):
            notes[process] = f"{what} {shown} not known, rules checked from {OLDEST[0]}.{OLDEST[1]}"
    return notes


def unknown_ollama(facts: Facts) -> str:
    """A sentence about an Ollama that is newer than the rules know; "" when they know it, or none runs."""
    told = [event.fields for event in facts.session.events if event.kind == "target"]
    version = told[-1].get("version") if told else None
    sentences = beyond_rules(version if isinstance(version, str) else None, [])
    return sentences[0] if sentences else ""


def _held_back(name: str, version: tuple[int, int], driver: int | None) -> bool:
    """Was the version read off requests that the driver's own version kept low? A runtime asks for nothing
    newer than the driver says it is."""
    return _named(name) is None and driver is not None and (driver // 1000, driver % 1000 // 10) <= version


def _named(name: str) -> tuple[int, int] | None:
    found = _FILE.match(name)
    return (int(found[1]), int(found[2])) if found and found[2] else None
