"""One replay: the plan, the player under the tap on a shim of one's choice, and what came of it."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sessions import Session, open_session
from sessions.replay import Plan, Results, Verdict, compare_replay, make_plan
from sessions.replay.compare import Ending
from workbench import native
from workbench.config import Config, HostConfig, RecordConfig, ShimConfig, load_config
from workbench.errors import ShimbenchError
from workbench.loop.headless import run_once
from workbench.loop.loop import Loop
from workbench.sessions_store import place_of
from workbench.target.command import Target

HUNG_STATUS = 124
_NOT_BEGUN = 2  # the player's exit status
_EVERYTHING = 1 << 50  # bytes of outputs


@dataclass(frozen=True)
class Stage:
    """What calls are performed on. `config` names shim and forwarder."""

    config: Config
    title: str
    environment: Mapping[str, str] = field(default_factory=dict)


def stage_of(
    directory: Path, libraries: Mapping[str, Path] | None = None, device: str | None = None
) -> Stage:
    """The shim of DIR/shimbench.toml, or ours; `libraries` (soname -> file) in its stead.

    `device`: our shim and forwarder with "soft" or "count-only", or "driver": the machine's own libcuda.
    """
    if device == "driver":
        found = {"libcuda.so.1": real_driver()}
        return Stage(Config(directory.resolve(), shim=ShimConfig(libraries=found)), "the machine's driver")
    if device is not None:
        config = load_config(directory)
        own = {path.name: path for path in sorted(native.paths().lib.glob("lib*.so.*"))}
        kept = config.shim.libraries if config.own_shim else own
        host = HostConfig(run=("shimbench-host", "--device", device))
        config = dataclasses.replace(config, shim=ShimConfig(libraries=kept), host=host, own_shim=True)
        return Stage(config, f"our shim, device {device}")
    config = load_config(directory)
    if libraries:
        shim = ShimConfig(libraries={name: path.resolve() for name, path in libraries.items()})
        host = config.host
        if config.own_shim and host.run is not None:  # it is found by name for our own libraries alone
            host = HostConfig(run=(str(native.paths().host), *host.run[1:]))
        config = dataclasses.replace(config, shim=shim, host=host, own_shim=False)
        return Stage(config, ", ".join(str(path) for path in libraries.values()))
    title = (
        "our shim" if config.own_shim else str(config.shim.libraries.get("libcuda.so.1", "no libcuda.so.1"))
    )
    return Stage(config, title)


def real_driver() -> Path:
    """The libcuda.so.1 of the machine. ShimbenchError when it has none."""
    import subprocess

    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        if line.strip().startswith("libcuda.so.1 ") and "x86-64" in line:
            return Path(line.rpartition("=> ")[2].strip()).resolve()
    raise ShimbenchError("this machine has no libcuda.so.1 in the loader's cache: no driver to replay on")


@dataclass
class Performance:
    """A replay that has been made."""

    plan: Plan
    results: Results
    ending: Ending
    session: Path
    verdict: Verdict


@dataclass(frozen=True)
class Wish:
    """What is to be performed, and how long a call may take, in seconds."""

    session: Session
    process: int
    patience: float = 60.0
    ignored: tuple[str, ...] = ()


def perform(
    wish: Wish,
    stage: Stage,
    scratch: Path,
    *,
    until: int | None = None,
    hashes: Path | None = None,
    dump: tuple[int, Path] | None = None,
    keep: Path | None = None,
) -> Performance:
    """Perform calls up to number `until` and compare. The replay's own session is `keep`, else in `scratch`.

    With `hashes`, one call after the other, and device memory is hashed into that file after each call that
    may have written to it; then results alone are compared; `dump` (call, folder) writes what was
    hashed after that call, a file for each start. ShimbenchError when it can't begin.
    """
    folder = Path(tempfile.mkdtemp(prefix="replay-", dir=scratch))
    plan = make_plan(wish.session, wish.process, folder / "plan", until=until, ordered=hashes is not None)
    results = folder / "results"
    command = [str(native.paths().bin / "shimbench-replay"), str(folder / "plan"), str(results)]
    command += ["--patience", str(wish.patience)]
    if hashes is not None:
        command += ["--hashes", str(hashes)]
    if dump is not None:
        command += ["--dump", str(dump[0]), str(dump[1])]
    session_dir = keep or folder / "session"
    status, ending = _run(command, stage, session_dir)
    replayed = open_session(session_dir)
    if status == _NOT_BEGUN or not results.exists():
        words = _last_words(replayed) or f"the player ended with status {status}"
        raise ShimbenchError(f"the replay could not begin: {words.removeprefix('shimbench-replay: ')}")
    read = Results.read(results)
    verdict = compare_replay(plan, read, None if hashes else replayed, ending, wish.ignored)
    return Performance(plan, read, ending, session_dir, verdict)


def _run(command: list[str], stage: Stage, session: Path) -> tuple[int, Ending]:
    record = RecordConfig(_EVERYTHING, inputs=False)
    config = dataclasses.replace(stage.config, record=record)
    target = Target(tuple(command), dict(stage.environment), Path.cwd())
    loop = Loop(config, session, target=target, watch=False, place=place_of(config.directory))
    loop.open()
    said: list[str] = []
    outcome = asyncio.run(run_once(loop, None, said.append))  # the player ends itself when a call hangs
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.exit is None:
        raise ShimbenchError(f"the replay could not begin: {outcome.problem or 'the player did not start'}")
    hung = outcome.timed_out or outcome.exit.status == HUNG_STATUS
    return outcome.exit.status, Ending(None if hung else outcome.exit.signal, hung)


def _last_words(session: Session) -> str:
    lines = [line for line in session.log.lines(0, len(session.log)) if line.role == "target"]
    return lines[-1].text.decode("utf-8", "replace") if lines else ""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for plans, results and sessions of replays; gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="shimbench-replay-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
