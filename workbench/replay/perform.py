"""A replay: plans, the players under the tap on a shim of one's choice, and what came of it."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sessions import Session, open_session
from sessions.replay import NothingToPerform, Plan, Results, Verdict, compare_replay, make_plan
from sessions.replay.compare import Ending
from workbench import native
from workbench.config import RecordConfig
from workbench.errors import ShimbenchError
from workbench.loop.headless import run_once
from workbench.loop.loop import Loop
from workbench.replay.stage import Stage
from workbench.sessions_store import place_of
from workbench.target.command import Target

HUNG = (124, 125)
_NOT_BEGUN = 2  # the player's exit statuses
_EVERYTHING = 1 << 50  # bytes of outputs


@dataclass
class Performance:
    """The replay of one process."""

    plan: Plan
    results: Results
    ending: Ending
    verdict: Verdict
    hashes: Path


@dataclass
class Replay:
    """A replay that has been made: a performance a process, in recorded order."""

    performances: list[Performance]
    session: Path

    @property
    def same(self) -> bool:
        """Whether nothing that is compared differs."""
        return all(done.verdict.same for done in self.performances)

    @property
    def counts(self) -> Counter[str]:
        """Of all differences."""
        return sum((done.verdict.counts for done in self.performances), Counter())

    @property
    def calls(self) -> int:
        """How many were to be performed."""
        return sum(len(done.plan.rows) for done in self.performances)


@dataclass(frozen=True)
class Wish:
    """What is to be performed, and how long a call may take, in seconds."""

    session: Session
    processes: tuple[int, ...]
    patience: float = 60.0
    ignored: tuple[str, ...] = ()
    strict: bool = False
    """refuse when anything is missing that the calls were given"""
    nvml: bool = True
    """perform calls of NVML too, where the stage has one"""


def plans_of(
    wish: Wish, stage: Stage, folder: Path, *, until: int | None = None, ordered: bool = False
) -> list[tuple[Plan, Path]]:
    """A plan for each process that has calls to perform, in a folder of its own. ShimbenchError: none has."""
    plans = []
    nvml = wish.nvml and stage.has_nvml
    for process in wish.processes:
        place = folder / str(process)
        place.mkdir()
        try:
            plan = make_plan(wish.session, process, place / "plan", until=until, ordered=ordered, nvml=nvml)
        except NothingToPerform:
            continue
        plans.append((plan, place))
    if not plans:
        raise ShimbenchError(f"{wish.session.path}: no call to perform again")
    return plans


def perform(
    wish: Wish,
    stage: Stage,
    scratch: Path,
    *,
    until: int | None = None,
    hashed: bool = False,
    dump: tuple[int, Path] | None = None,
    keep: Path | None = None,
) -> Replay:
    """Perform calls up to number `until`, one process after the other, each on the shim in a new process, and
    compare. The replay's own session is `keep`, else in `scratch`.

    `hashed`: one call after the other, and device memory is hashed after each call that may have written to
    it; then results alone are compared; `dump` (call, folder) writes what was hashed after that call, a file
    for each start. ShimbenchError when it can't begin.
    """
    folder = Path(tempfile.mkdtemp(prefix="replay-", dir=scratch))
    plans = plans_of(wish, stage, folder, until=until, ordered=hashed)
    if wish.strict:
        _refuse_missing([plan for plan, _ in plans])
    ends = folder / "ends"
    command = [str(native.paths().bin / "shimbench-replay")]
    for _, place in plans:
        command += [str(place / "plan"), str(place / "results")]
    command += ["--ends", str(ends), "--patience", str(wish.patience)]
    command += ["--hashes"] if hashed else []
    command += ["--dump", str(dump[0]), str(dump[1])] if dump else []
    session_dir = keep or folder / "session"
    _run(command, stage, session_dir)
    replayed = open_session(session_dir)
    ended = _ends(ends)
    performances = []
    for number, (plan, place) in enumerate(plans):
        pid, status = ended[number] if number < len(ended) else (None, None)
        if status == _NOT_BEGUN or (status is not None and not (place / "results").exists()):
            words = _last_words(replayed, pid) or f"the player ended with status {status}"
            raise ShimbenchError(f"the replay could not begin: {words.removeprefix('shimbench-replay: ')}")
        read = Results.read(place / "results") if status is not None else Results.none(plan)
        ending = _ending(status)
        verdict = compare_replay(plan, read, None if hashed else replayed, ending, wish.ignored, pid)
        performances.append(Performance(plan, read, ending, verdict, place / "results.hashes"))
    return Replay(performances, session_dir)


def _refuse_missing(plans: list[Plan]) -> None:
    lacking = sum((plan.lacking for plan in plans), Counter())
    if lacking:
        said = "".join(f"\n  {count} x {why}" for why, count in lacking.most_common())
        raise ShimbenchError(
            f"--strict: the session lacks what calls were given, so not all is performed as it was:{said}"
        )


def _ends(path: Path) -> list[tuple[int, int]]:
    """(pid, exit status or signal with a minus) of the players that have ended."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(pid), int(status)) for pid, status in (line.split() for line in lines)]


def _ending(status: int | None) -> Ending:
    if status is None:
        return Ending(begun=False)
    if status in HUNG:
        return Ending(hung=True)
    return Ending(signal=-status) if status < 0 else Ending(status=status)


def _run(command: list[str], stage: Stage, session: Path) -> None:
    record = RecordConfig(_EVERYTHING, inputs=False)
    config = dataclasses.replace(stage.config, record=record)
    target = Target(tuple(command), dict(stage.environment), Path.cwd())
    loop = Loop(config, session, target=target, watch=False, place=place_of(config.directory))
    loop.open()
    said: list[str] = []
    outcome = asyncio.run(run_once(loop, None, said.append))  # players end themselves when a call hangs
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.exit is None:
        raise ShimbenchError(f"the replay could not begin: {outcome.problem or 'the player did not start'}")


def _last_words(session: Session, pid: int | None) -> str:
    lines = [line for line in session.log.lines(0, len(session.log)) if line.role == "target"]
    said = [line for line in lines if line.pid == pid] or lines
    return said[-1].text.decode("utf-8", "replace") if said else ""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for plans, results and sessions of replays; gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="shimbench-replay-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
