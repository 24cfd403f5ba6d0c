"""Taking up a session whose workbench was killed: its collector, its run and its forwarder live on.

Everything the next workbench needs is in the session, which is the same that the panes show.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sessions import Session
from sessions.processes import Process
from workbench.loop.claim import Claim, Work
from workbench.loop.processes import Exit
from workbench.sessions_store import Place
from workbench.tap.collector import Collector, CollectorError

RECENT = 50
"""sessions looked at, the newest first"""


@dataclass(frozen=True)
class Attached:
    """A session that goes on, claimed."""

    directory: Path
    collector: Collector
    claim: Claim
    work: Work


@dataclass(frozen=True)
class Remains:
    """What an earlier workbench left behind in its session."""

    run: int
    """number of the newest run; 0: none began"""
    target: Process | None
    """the program that run started; None when it never did"""
    run_ended: bool
    """its end is told in the session"""
    first_call_told: bool
    shim_id: str
    builds: int
    """number of the newest build"""
    host: Process | None
    """the forwarder, when it lives"""

    @property
    def exit(self) -> Exit | None:
        """How the target ended, when it has."""
        if self.target is None or self.target.ended_ns is None:
            return None
        return Exit(self.target.pid, self.target.exit_code, self.target.signal)


def attach(place: Place, directory: Path, command: Sequence[str], tap: bool) -> Attached | str | None:
    """The newest session of just this work that was left alone.

    None when there is none; a sentence when there is one, but at work on another command.
    """
    other: str | None = None
    for path in place.all()[:RECENT]:
        taken = Claim.take(path)
        if taken is None:
            continue
        claim, work = taken
        try:
            collector = Collector.attach(path)
        except (CollectorError, OSError):
            claim.release()  # its collector has ended as well
            continue
        if work.directory == str(directory) and tuple(work.command) == tuple(command) and work.tap == tap:
            return Attached(path, collector, claim, work)
        collector.detach()
        claim.release(remove=False)
        if work.directory == str(directory):
            other = (
                f"{path.name} is still being recorded: {shlex.join(work.command)} runs on without a workbench"
            )
    return other


def remains_of(session: Session, command: Sequence[str]) -> Remains:
    """What stands in a session that is to go on, whose runs start `command`."""
    runs = [event.fields for event in session.events if event.kind == "run"]
    run = int(runs[-1]["run"]) if runs else 0
    ended = any(event.kind == "run-end" and event.fields.get("run") == run for event in session.events)
    first = any(event.kind == "first-call" and event.fields.get("run") == run for event in session.events)
    builds = [int(event.fields["build"]) for event in session.events if event.kind == "build"]
    members = [each for each in session.processes if each.role == "target" and each.run == run]
    pid = next((each.pid for each in members if list(each.argv) == list(command)), None)
    # It may be another program by now, by exec.
    target = next((each for each in reversed(members) if each.pid == pid), None)
    hosts = [each for each in session.processes if each.role == "host" and each.ended_ns is None]
    return Remains(
        run,
        target,
        ended,
        first,
        str(runs[-1].get("shim_id", "")) if runs else "",
        max(builds, default=0),
        hosts[0] if hosts else None,
    )
