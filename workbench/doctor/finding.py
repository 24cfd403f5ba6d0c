"""A finding, and all of them in the order in which one reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """How it stands with one thing."""

    OK = "ok"
    WARNING = "warning"
    """shimbench works, with less than it could do"""
    PROBLEM = "problem"
    """something does not work before this is mended"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    text: str
    """what was found"""
    advice: str = ""
    """what to do about it; never empty for a problem"""


def ok(what: str, text: str, advice: str = "") -> Finding:
    return Finding(what, State.OK, text, advice)


def warning(what: str, text: str, advice: str) -> Finding:
    return Finding(what, State.WARNING, text, advice)


def problem(what: str, text: str, advice: str) -> Finding:
    return Finding(what, State.PROBLEM, text, advice)


def examine(directory: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look at everything, for a project in `directory`; what is mended first comes first."""
    from workbench.doctor import kernel, places, programs

    yield from programs.findings(environ)
    yield from kernel.findings()
    yield from places.findings(directory, environ)
