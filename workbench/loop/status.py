"""What the loop says about itself: the state line of the header, and the events behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BuildStatus:
    state: str = "none"
    """ok, building, failed or none (nothing to build, nothing kept yet)"""
    seconds: float | None = None
    build_id: str | None = None
    """of the build that runs, as the store names it"""
    progress: float | None = None
    """0..1 while building, when the tool says so"""
    errors: int = 0


@dataclass(frozen=True)
class HostStatus:
    state: str = "none"
    """none, starting, ok, failed, or unknown (nobody would hear of its end)"""
    detail: str = ""


@dataclass(frozen=True)
class TargetStatus:
    state: str = "none"
    """none, starting, running, stopping, ended, or unknown (nobody would hear of its end)"""
    processes: int = 0
    exit: str = ""
    """how it ended, in words"""
    exit_status: int | None = None
    title: str = ""


@dataclass(frozen=True)
class LoopStatus:
    run: int = 0
    """number of the newest run, from 1"""
    shim: BuildStatus = BuildStatus()
    host: HostStatus = HostStatus()
    target: TargetStatus = TargetStatus()
    top: str = "tokens"
    """the rung of the ladder that a run climbs to"""
    rung: str = ""
    """the newest rung of the newest run, in words"""
    exercise: str = ""
    """what became of its exercise"""
    since: str = ""
    """what is different from the run before"""
    last_save_to_first_call: float | None = None
    """seconds"""


@dataclass(frozen=True)
class LoopEvent:
    """Something happened; `status` is in Loop.status already."""

    kind: str
    """status, build-started, build-output, build-finished, run-started, run-ended, host, first-call,
    rung, exercise, since, target (a line about the program, before its first run), problem,
    session (the loop's is another one from now on)"""
    text: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
