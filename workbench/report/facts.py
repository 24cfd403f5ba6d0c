"""What a report says, gathered once from a session: versions, runs, diagnosis, coverage, errors, sources."""

from __future__ import annotations

import difflib
import re
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.report.tallies import FunctionUse, Tallies
from workbench.report.versions import versions_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sessions import Event, Line, Session
    from workbench.diagnosis.engine import Explanation
    from workbench.loop.store import BuildStore, StoredBuild
    from workbench.views.coverage import CoverageRow
    from workbench.views.stages import Stage
    from workbench.views.summary import GpuMode
    from workbench.views.timeline import Timeline

EXCERPT = 80
"""Log lines around the first wall."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]")


@dataclass
class RunFacts:
    """One run and what had been edited before it."""

    run: int
    at_ns: int
    reason: str
    shim_id: str
    gpu_mode: str
    calls: int
    failed: int
    not_found: int  #: names asked for and not answered
    unreturned: int
    walls: list[str]  #: what the diagnosis found, without what only follows
    seconds_to_first_call: float | None
    ended: str
    outcome: str  #: of its exercise
    diff: str = ""  #: of the sources, against the run before

    @property
    def wall(self) -> str:
        """The first diagnosis, "" without."""
        return self.walls[0] if self.walls else ""

    @property
    def figures(self) -> str:
        """`420 calls, 1 failed, 281 names not found, 1 never returned`."""
        parts = [f"{self.calls} calls", f"{self.failed} failed"]
        parts += [f"{self.not_found} name{'s' * (self.not_found > 1)} not found"] if self.not_found else []
        parts += [f"{self.unreturned} never returned"] if self.unreturned else []
        return ", ".join(parts)


@dataclass
class ReportFacts:
    """All of it. Functions and first errors are those of the newest run."""

    session: Session
    versions: dict[str, str]
    runs: list[RunFacts]
    explanation: Explanation
    coverage: list[CoverageRow]
    functions: list[FunctionUse]
    first_errors: list[tuple[int, str, int]]  #: displayed number, text, how many like it
    excerpt: list[tuple[int, str]]
    timeline: Timeline
    gpu_mode: GpuMode
    stages: list[Stage]
    builds: list[dict[str, Any]] = field(default_factory=list)

    @property
    def diff(self) -> str:
        """The sources' changes from run to run."""
        return "".join(f"=== before run {run.run}\n{run.diff}" for run in self.runs if run.diff)

    def changes(self, run: RunFacts) -> str:
        """What a run brought against the one before: walls that are gone, and new ones; "" for the first."""
        place = self.runs.index(run)
        if not place:
            return ""
        before = self.runs[place - 1]
        gone = [wall for wall in before.walls if wall not in run.walls]
        new = [wall for wall in run.walls if wall not in before.walls]
        parts = [f"gone: {'; '.join(gone)}"] if gone else []
        parts += [f"new: {'; '.join(new)}"] if new else []
        if not parts and before.gpu_mode == run.gpu_mode:
            return "as before" if run.walls else ""
        return "; ".join(parts)


def gather(session: Session, store: BuildStore | None = None, *, here: bool = False) -> ReportFacts:
    """Look at everything once; `store` holds the sources of the builds, where it is still there. `here`:
    the session was recorded on this machine."""
    from workbench.diagnosis import explain
    from workbench.views.coverage import Coverage
    from workbench.views.stages import StageTracker, with_walls
    from workbench.views.summary import gpu_mode
    from workbench.views.timeline_tracker import timeline_of

    coverage = Coverage()
    while coverage.update(session):
        pass
    rows = coverage.rows()
    explanation = explain(session)
    tallies = Tallies(session)
    road = StageTracker(session)
    road.update()
    return ReportFacts(
        session=session,
        versions=versions_of(session, here),
        runs=_runs(session, tallies, store),
        explanation=explanation,
        coverage=rows,
        functions=tallies.functions(session.newest_run),
        first_errors=tallies.first_errors(session.newest_run),
        excerpt=_excerpt(session, explanation),
        timeline=timeline_of(session),
        gpu_mode=gpu_mode(session),
        stages=with_walls(road.stages(rows), explanation.diagnoses),
        builds=[event.fields for event in session.events if event.kind == "build"],
    )


def _runs(session: Session, tallies: Tallies, store: BuildStore | None) -> list[RunFacts]:
    from workbench.diagnosis import diagnose
    from workbench.views.summary import gpu_mode

    later: dict[tuple[str, int], Event] = {
        (event.kind, int(event.fields.get("run", 0))): event
        for event in session.events
        if event.kind in ("run-end", "first-call", "exercise")
    }
    runs: list[RunFacts] = []
    before: StoredBuild | None = None
    for event in session.events:
        if event.kind != "run":
            continue
        run = int(event.fields.get("run", 0))
        found = [each.what for each in diagnose(session, run) if each.consequence_of is None]
        shim_id = str(event.fields.get("shim_id") or "")
        build = _stored(store, shim_id)
        first = later.get(("first-call", run))
        runs.append(
            RunFacts(
                run=run,
                at_ns=event.time_ns,
                reason=str(event.fields.get("reason", "")),
                shim_id=shim_id,
                gpu_mode=gpu_mode(session, run).mode,
                calls=tallies.calls(run),
                failed=tallies.failed(run),
                not_found=tallies.not_found(run),
                unreturned=tallies.unreturned(run),
                walls=list(dict.fromkeys(found)),
                seconds_to_first_call=first.fields.get("seconds_since_save") if first else None,
                ended=_ended(later.get(("run-end", run))),
                outcome=_outcome(later.get(("exercise", run))),
                diff=sources_diff(store, before, build) if store and before and build else "",
            )
        )
        before = build or before
    return runs


def _stored(store: BuildStore | None, identity: str) -> StoredBuild | None:
    if store is None or not identity:
        return None
    try:
        return store.load(identity)
    except (OSError, ValueError, KeyError):
        return None


def sources_diff(store: BuildStore, before: StoredBuild, after: StoredBuild) -> str:
    """The unified diff of two builds' sources; a source that is gone from the store is named."""
    pieces: list[str] = []
    for name in sorted(before.sources.keys() | after.sources.keys()):
        if before.sources.get(name) == after.sources.get(name):
            continue
        try:
            texts = [
                store.source(build, name).splitlines(keepends=True) if name in build.sources else []
                for build in (before, after)
            ]
        except OSError:
            pieces.append(f"# {name} changed; its text is no longer in the store\n")
            continue
        lines = difflib.unified_diff(texts[0], texts[1], f"a/{name}", f"b/{name}")
        pieces += [
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
        ]
    return "".join(pieces)


def _ended(event: Event | None) -> str:
    """`exit 1`, `SIGSEGV`, `SIGTERM (shim.c)`: how, and why when it was not by itself."""
    if event is None:
        return "not ended"
    number, code = event.fields.get("signal"), event.fields.get("exit_code")
    reason = str(event.fields.get("reason") or "by itself")
    how = _signal(number) if number else f"exit {code}" if code is not None else "ended"
    return how if reason == "by itself" else f"{how} ({reason})"


def _signal(number: object) -> str:
    try:
        return signal.Signals(int(str(number))).name
    except ValueError:
        return f"signal {number}"


def _outcome(event: Event | None) -> str:
    if event is None:
        return ""
    said: Mapping[str, Any] = event.fields
    if said.get("error"):
        return f"failed: {said['error']}"
    parts = [f"{said['tokens']} tokens" if said.get("tokens") is not None else ""]
    first = said.get("first_token_seconds")
    parts.append(f"first after {first:.2f} s" if isinstance(first, int | float) else "")
    return ", ".join(part for part in parts if part) or "answered"


def _excerpt(session: Session, explanation: Explanation) -> list[tuple[int, str]]:
    """Log lines up to the one the first diagnosis points at, else the last ones: number, and text with who
    wrote it."""
    pieces = [piece for diagnosis in explanation.diagnoses for piece in diagnosis.evidence]
    at = next((piece.log for piece in [*pieces, *explanation.unexplained] if piece.log is not None), None)
    stop = len(session.log) if at is None else min(at + EXCERPT // 4, len(session.log))
    start = max(0, stop - EXCERPT)
    lines = session.log.lines(start, stop)
    return [(start + n + 1, f"{_writer(line)}  {plain(line.text)}") for n, line in enumerate(lines)]


def _writer(line: Line) -> str:
    return f"{line.pid:>7}" if line.role == "target" else f"{line.role:>7}"


def plain(text: bytes) -> str:
    """A line as it reads without colours and other commands to a terminal."""
    return _CONTROL.sub("", text.decode("utf-8", "replace"))
