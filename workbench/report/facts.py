"""What a report says, gathered once from a session: versions, runs, diagnosis, coverage, errors, sources."""

from __future__ import annotations

import difflib
import platform
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from sessions import FIRST_PSEUDO_FUNCTION
from sessions.decode import CallDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sessions import Event, Session
    from workbench.diagnosis.engine import Explanation
    from workbench.loop.store import BuildStore, StoredBuild
    from workbench.views.coverage import CoverageRow
    from workbench.views.timeline import Timeline

_BATCH = 1 << 20
_RUNTIMES = re.compile(r"lib(?:cudart|cublas|cublasLt|cuda|nvidia-ml|ggml-cuda|ggml|llama)[-.\w]*\.so[.\d]*$")
FIRST_ERRORS = 20
EXCERPT = 80
"""Log lines around the first wall."""


@dataclass(frozen=True)
class FunctionUse:
    """A function of the last run: calls, and how often which result."""

    name: str
    calls: int
    results: list[tuple[str, int]]
    performed: bool | None

    @property
    def works(self) -> bool:
        """Whether any call of it succeeded."""
        return any(result.endswith("SUCCESS") for result, _ in self.results)


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
    wall: str  #: the first diagnosis, "" without
    seconds_to_first_call: float | None
    ended: str
    outcome: str  #: of its exercise
    diff: str = ""  #: of the sources, against the run before


@dataclass
class ReportFacts:
    """All of it."""

    session: Session
    versions: dict[str, str]
    runs: list[RunFacts]
    explanation: Explanation
    coverage: list[CoverageRow]
    functions: list[FunctionUse]
    first_errors: list[tuple[int, str]]
    excerpt: list[tuple[int, str]]
    timeline: Timeline
    gpu_mode: str
    builds: list[dict[str, Any]] = field(default_factory=list)

    @property
    def diff(self) -> str:
        """The sources' changes from run to run."""
        return "".join(f"=== before run {run.run}\n{run.diff}" for run in self.runs if run.diff)


def gather(session: Session, store: BuildStore | None = None) -> ReportFacts:
    """Look at everything once; `store` holds the sources of the builds, where it is still there."""
    from workbench.diagnosis import explain
    from workbench.views.coverage import Coverage
    from workbench.views.summary import gpu_mode
    from workbench.views.timeline import timeline_of

    coverage = Coverage()
    while coverage.update(session):
        pass
    explanation = explain(session)
    return ReportFacts(
        session=session,
        versions=_versions(session),
        runs=_runs(session, store),
        explanation=explanation,
        coverage=coverage.rows(),
        functions=_functions(session),
        first_errors=_first_errors(session),
        excerpt=_excerpt(session, explanation),
        timeline=timeline_of(session),
        gpu_mode=gpu_mode(session).mode,
        builds=[event.fields for event in session.events if event.kind == "build"],
    )


def _versions(session: Session) -> dict[str, str]:
    """Of the tools here and of what the processes mapped."""
    machine = session.manifest.get("machine", {})
    versions = {
        "shimbench": str(session.manifest.get("tool", "?")),
        "session format": str(session.manifest.get("format", "?")),
        "kernel": f"{machine.get('kernel', '?')}, {machine.get('cpus', '?')} processors",
        "Python": sys.version.split()[0],
        "C library": " ".join(platform.libc_ver()),
        "compiler": _first_line("cc", "--version"),
    }
    for event in session.events:
        if event.kind == "target":
            versions["Ollama"] = str(event.fields.get("version") or "?")
    names = set()
    for process in session.processes:
        for mapping in process.maps:
            if _RUNTIMES.search(mapping.path):
                identity = f" (build id {mapping.build_id[:12]})" if mapping.build_id else ""
                names.add(f"{PurePosixPath(mapping.path).name}{identity}")
        names |= {
            PurePosixPath(module.path).name for module in process.modules if _RUNTIMES.search(module.path)
        }
    versions["libraries seen"] = ", ".join(sorted(names)) or "none"
    return versions


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "none found"
    return done.stdout.partition("\n")[0] or "?"


def _runs(session: Session, store: BuildStore | None) -> list[RunFacts]:
    from workbench.diagnosis import diagnose
    from workbench.views.summary import gpu_mode

    later: dict[tuple[str, int], Event] = {
        (event.kind, int(event.fields.get("run", 0))): event
        for event in session.events
        if event.kind in ("run-end", "first-call", "exercise")
    }
    calls, failed = _calls_by_run(session)
    runs: list[RunFacts] = []
    before: StoredBuild | None = None
    for event in session.events:
        if event.kind != "run":
            continue
        run = int(event.fields.get("run", 0))
        found = [each for each in diagnose(session, run) if each.consequence_of is None]
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
                calls=calls[run],
                failed=failed[run],
                wall=found[0].what if found else "",
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
    if event is None:
        return "not ended"
    signal, code = event.fields.get("signal"), event.fields.get("exit_code")
    return f"signal {signal}" if signal else f"exit {code}"


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


def _calls_by_run(session: Session) -> tuple[Counter[int], Counter[int]]:
    run_of = np.array([process.run for process in session.processes] or [0], np.int64)
    calls: Counter[int] = Counter()
    failed: Counter[int] = Counter()
    for start in range(0, len(session.calls), _BATCH):
        stop = min(start + _BATCH, len(session.calls))
        columns = session.calls.columns(start, stop, ("process", "function", "result", "flags"))
        real = (columns["function"] < FIRST_PSEUDO_FUNCTION) & ((columns["flags"] & 1) == 0)
        runs = run_of[np.minimum(columns["process"], len(run_of) - 1)]
        for counter, mask in ((calls, real), (failed, real & (columns["result"] != 0))):
            numbers, counts = np.unique(runs[mask], return_counts=True)
            counter.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
    return calls, failed


def _functions(session: Session) -> list[FunctionUse]:
    """Of the newest run; the most called first."""
    mine = [process.index for process in session.processes if process.run == session.newest_run]
    counts: Counter[tuple[int, int]] = Counter()
    for start in range(0, len(session.calls), _BATCH):
        stop = min(start + _BATCH, len(session.calls))
        columns = session.calls.columns(start, stop, ("process", "function", "result", "flags"))
        mask = np.isin(columns["process"], mine) & (columns["function"] < FIRST_PSEUDO_FUNCTION)
        mask &= (columns["flags"] & 1) == 0
        keys = columns["function"][mask].astype(np.int64) << 32 | columns["result"][mask].astype(np.uint32)
        unique, number = np.unique(keys, return_counts=True)
        for key, count in zip(unique.tolist(), number.tolist(), strict=True):
            result = int(np.uint32(key & 0xFFFFFFFF).astype(np.int32))
            counts[(key >> 32, result)] += count
    decoder = CallDecoder(session.schema)
    by_function: dict[int, list[tuple[str, int]]] = {}
    for (function, result), count in counts.most_common():
        by_function.setdefault(function, []).append((decoder.result_text(function, result), count))
    uses = []
    for function, results in by_function.items():
        known = session.schema.functions.get(function)
        name = session.schema.function_name(function)
        uses.append(
            FunctionUse(name, sum(count for _, count in results), results, known.performed if known else None)
        )
    return sorted(uses, key=lambda use: -use.calls)


def _first_errors(session: Session) -> list[tuple[int, str]]:
    """The first failing calls of the newest run: number and text. A name not found is no error."""
    mine = [process.index for process in session.processes if process.run == session.newest_run]
    decoder = CallDecoder(session.schema)
    asking = [
        number for number, f in session.schema.functions.items() if f.name.startswith("cuGetProcAddress")
    ]
    found: list[tuple[int, str]] = []
    for start in range(0, len(session.calls), _BATCH):
        stop = min(start + _BATCH, len(session.calls))
        columns = session.calls.columns(start, stop, ("process", "function", "result", "flags"))
        mask = np.isin(columns["process"], mine) & (columns["function"] < FIRST_PSEUDO_FUNCTION)
        mask &= (columns["result"] != 0) & ~np.isin(columns["function"], asking)
        for row in np.flatnonzero(mask)[: FIRST_ERRORS - len(found)].tolist():
            found.append((start + row + 1, decoder.text(session, start + row)))
        if len(found) >= FIRST_ERRORS:
            break
    return found


def _excerpt(session: Session, explanation: Explanation) -> list[tuple[int, str]]:
    """Log lines up to the one the first diagnosis points at, else the last ones."""
    pieces = [piece for diagnosis in explanation.diagnoses for piece in diagnosis.evidence]
    at = next((piece.log for piece in [*pieces, *explanation.unexplained] if piece.log is not None), None)
    stop = len(session.log) if at is None else min(at + EXCERPT // 4, len(session.log))
    start = max(0, stop - EXCERPT)
    lines = session.log.lines(start, stop)
    return [(start + n + 1, line.text.decode("utf-8", "replace")) for n, line in enumerate(lines)]
