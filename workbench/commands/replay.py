"""Perform the calls of a recorded run again on a shim, without its programs, and compare.

Each process is performed in a process of its own, one after the other, each thread's calls in their order,
after those of other threads that had returned before; handles and addresses are translated, inputs come from
the recording (`shimbench run --buffers`), and results, outputs and crashes are held against it. The shim is
that of the directory here or of --shim: a DIR with a shimbench.toml, or a library. With --device it is ours
on that device; "driver" is the machine's own libcuda. SESSION:RUN is another run than the newest.

--compare WHAT performs the calls on a second shim as well (soft, count-only, driver, a DIR or a library) and
hashes device memory after every launch, copy and memset: the first call after which it differs is named, with
its kernel and arguments. --minimise looks for the shortest prefix of the calls that still fails (a
crash or a hang if there is one, else a difference), of one process where it fails by itself; -o writes it as
a session.

Exit status: 0 as recorded, 1 not, 2 it could not be performed; with --expect recorded 3 instead of 1. With
--compare: 0 no difference in memory, 1 (or 3) one. What the session lacks is left out or given zeros, and
said to be; with --strict it is refused instead, with status 2 and a list.

--json prints {"session", "shim", "calls", "threads", "performed", "skipped", "not_reached", "cut_off",
"left_out": {why: calls}, "missing": {why: inputs}, "missing_bytes", "lacking": {why: calls or inputs},
"lost", "outputs", "outputs_missing", "same", "counts", "differences": [{"kind", "pid", "a", "b", "call",
"detail", "repeats"}], "ended": {"signal", "hung", "status"}, "seconds", "processes": [the same of each, with
"pid", "index", "role", "program"]}, and with --minimise "prefix" {"calls", "until", "pid", "session"}; with
--compare {"session", "shim", "other", "same", "divergence": {"call", "pid", "text", "kernel", "parameters",
"memory", "detail"}}. Call numbers start at 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.commands.common import add_json, print_json, told_as_errors
from workbench.errors import ShimbenchError, UsageError

if TYPE_CHECKING:
    from sessions import Session
    from workbench.replay.compare import Divergence
    from workbench.replay.stage import Stage

EXPECTATION_STATUS = 3
DEVICES = ("soft", "count-only", "driver")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "session", nargs="?", metavar="SESSION[:RUN]", help="path, name, @ or @-1, or a report's zip"
    )
    parser.add_argument("--until", type=int, metavar="N", help="calls up to number N only")
    parser.add_argument(
        "--process", action="append", default=[], metavar="P",
        help="its calls alone: a pid, an index, or words of what it does (llama-server); may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--shim", type=Path, metavar="PATH", help="a DIR with a shimbench.toml, or a library"
    )  # fmt: skip
    parser.add_argument(
        "--library", action="append", default=[], metavar="[SONAME=]FILE", help="a library of another shim"
    )  # fmt: skip
    parser.add_argument("--device", choices=DEVICES, help="our shim on this device, or the machine's driver")
    parser.add_argument(
        "--compare", metavar="WHAT", help="soft, count-only, driver, DIR or library: hash memory on both"
    )
    parser.add_argument("--minimise", action="store_true", help="find the shortest prefix that still fails")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PATH", help="with --minimise: write it as a session"
    )
    parser.add_argument("--expect", choices=("recorded",), help="exit status 3 unless all is as recorded")
    parser.add_argument(
        "--strict", action="store_true", help="refuse when the session lacks anything that calls were given"
    )
    parser.add_argument("--session-to", type=Path, metavar="PATH", help="keep the replay's own session there")
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="seconds a call may take (60)"
    )
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="GLOB",
        help="FUNCTION.PARAMETER not to compare, besides those of `shimbench diff --ignored`",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="differences shown (20)")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    _check(options)
    try:
        return _run(options)
    except ShimbenchError as error:
        raise UsageError(str(error)) from error  # status 1 is a difference


def _check(options: argparse.Namespace) -> None:
    if options.timeout <= 0:
        raise UsageError("--timeout wants a number of seconds above 0")
    if options.until is not None and options.until < 1:
        raise UsageError("--until wants a call number from 1")
    if options.output and not options.minimise:
        raise UsageError("-o says where --minimise writes what it found")
    if options.compare and (options.minimise or options.session_to):
        what = "--minimise" if options.minimise else "--session-to"
        raise UsageError(
            f"--compare performs the calls several times to name the divergent one: without {what}"
        )
    if options.device and (options.shim or options.library):
        raise UsageError("--device chooses our shim or the driver: without --shim and --library")
    for path in (options.output, options.session_to):
        if path is not None and path.exists():
            raise UsageError(f"{path}: there is something already")
    if any(glob.count(".") != 1 for glob in options.ignore):
        raise UsageError("--ignore wants FUNCTION.PARAMETER, globs allowed: cuMemGetInfo*.free")


def _run(options: argparse.Namespace) -> int:
    from sessions.diff import IGNORED
    from workbench.commands.diff import side_of
    from workbench.replay.compare import first_divergence
    from workbench.replay.minimise import minimise
    from workbench.replay.perform import Wish, perform, scratch_folder
    from workbench.replay.stage import stage_named
    from workbench.replay.text import as_json, lines_of

    with told_as_errors(), scratch_folder() as scratch:
        session, number = side_of(options.session or "@")
        processes = _processes(session, number, options.process)
        stage = _stage(options)
        wish = Wish(session, processes, options.timeout, (*IGNORED, *options.ignore), options.strict)
        if options.compare:
            other = stage_named(options.compare)
            divergence = first_divergence(wish, stage, other, scratch, options.until)
            _tell_divergence(options, session, divergence, stage, other)
            return _status(options, divergence is None)
        done = perform(wish, stage, scratch, until=options.until, keep=options.session_to)
        prefix = (
            minimise(wish, stage, scratch, done, options.until, options.output) if options.minimise else None
        )
        if options.json:
            print_json(as_json(session, done, stage, prefix))
        else:
            print("\n".join(lines_of(session, done, stage, options.limit)))
            if prefix is not None:
                print(prefix.text)
        sys.stdout.flush()
        return _status(options, done.same)


def _status(options: argparse.Namespace, same: bool) -> int:
    if same:
        return 0
    return EXPECTATION_STATUS if options.expect else 1


def _processes(session: Session, number: int | None, asked: list[str]) -> tuple[int, ...]:
    """Those of the run that have calls, in recorded order, or what --process says of them."""
    from sessions.diff.sides import role_of
    from sessions.replay import processes_with_calls

    number = session.newest_run if number is None else number
    calling = tuple(processes_with_calls(session, number))
    if not calling:
        raise UsageError(f"{session.path}: no target of run {number} has made a call")
    chosen: set[int] = set()
    for word in asked:
        known = [session.processes[index] for index in calling]
        found = [p.index for p in known if word == str(p.pid)] or [
            p.index for p in known if word == str(p.index)
        ]
        found = found or [p.index for p in known if not word.isdigit() and word in role_of(p)]
        if not found:
            there = ", ".join(f"{p.pid} {role_of(p)}" for p in known)
            raise UsageError(
                f"--process {word}: no such process in run {number} that has made a call ({there})"
            )
        chosen.update(found)
    return tuple(index for index in calling if not asked or index in chosen)


def _stage(options: argparse.Namespace) -> Stage:
    from workbench.replay.stage import stage_named, stage_of

    libraries = {}
    for word in options.library:
        soname, _, path = word.rpartition("=")
        if not Path(path).is_file():
            raise UsageError(f"--library {word}: there is no such file")
        libraries[soname or "libcuda.so.1"] = Path(path)
    if options.shim is not None and not options.shim.is_dir():
        if not options.shim.is_file():
            raise UsageError(f"--shim {options.shim}: neither a directory nor a library")
        if libraries:
            raise UsageError("--shim with a library leaves no room for --library: name each by --library")
        return stage_named(str(options.shim))
    return stage_of(options.shim or Path(), libraries, options.device)


def _tell_divergence(
    options: argparse.Namespace, session: Session, found: Divergence | None, stage: Stage, other: Stage
) -> None:
    if options.json:
        print_json(
            {
                "session": str(session.path),
                "shim": stage.title,
                "other": other.title,
                "same": found is None,
                "divergence": None if found is None else found.as_json(),
            }
        )
    elif found is None:
        print(f"device memory was the same after every call, on {stage.title} and on {other.title}")
    else:
        print(f"A: {stage.title}\nB: {other.title}\n{found.text}")
