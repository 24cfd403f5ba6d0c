"""Perform the calls of a recorded process again on a shim, without its program, and compare.

Each thread's calls are made in their order, after those of other threads that had returned before; handles
and addresses are translated, inputs come from the recording (`shimbench run --buffers`), and results, outputs
and crashes are held against it. The shim is that of --shim DIR (default: here), a single library given by
--library, or with --device ours on that device ("driver": the machine's own libcuda).

--compare WHAT performs the calls on a second shim as well (soft, count-only, driver, or a DIR) and hashes
device memory after every launch, copy and memset: the first call after which it differs is named, with its
kernel and arguments. --minimise looks for the shortest prefix of the calls that still fails (a difference, a
crash or a hang); -o writes it as a session of its own.

Exit status: 0 as recorded, 1 not, 2 it could not be performed; with --expect recorded 3 instead of 1. With
--compare: 0 no difference in memory, 1 (or 3) one.

--json prints {"session", "process", "shim", "calls", "performed", "skipped", "not_reached", "left_out":
{why: calls}, "missing": {why: inputs}, "missing_bytes", "outputs", "outputs_missing", "same", "counts",
"differences": [{"kind", "a", "b", "call", "detail", "repeats"}], "ended", "seconds"}, and with --minimise
"prefix" {"calls", "until", "session"}, with --compare "divergence" {"call", "text", "kernel", "memory",
"detail"}; call numbers start at 1.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.commands.common import add_json, print_json, size, told_as_errors
from workbench.errors import ShimbenchError, UsageError

if TYPE_CHECKING:
    from sessions import Session
    from workbench.replay.compare import Divergence
    from workbench.replay.minimise import Prefix
    from workbench.replay.perform import Performance, Stage, Wish

EXPECTATION_STATUS = 3
DEVICES = ("soft", "count-only", "driver")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "session", nargs="?", metavar="SESSION", help="path, name, @ or @-1, or a report's zip"
    )
    parser.add_argument("--until", type=int, metavar="N", help="calls up to number N only")
    parser.add_argument(
        "--process", type=int, metavar="P", help="its pid or index (default: with most calls)"
    )
    parser.add_argument("--shim", type=Path, metavar="DIR", help="where a shimbench.toml names shim and host")
    parser.add_argument(
        "--library", action="append", default=[], metavar="[SONAME=]FILE", help="a library of another shim"
    )  # fmt: skip
    parser.add_argument("--device", choices=DEVICES, help="our shim on this device, or the machine's driver")
    parser.add_argument(
        "--compare", metavar="WHAT", help="soft, count-only, driver or a DIR: hash memory on both"
    )
    parser.add_argument("--minimise", action="store_true", help="find the shortest prefix that still fails")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PATH", help="with --minimise: write it as a session"
    )
    parser.add_argument("--expect", choices=("recorded",), help="exit status 3 unless all is as recorded")
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
    if options.compare and options.minimise:
        raise UsageError("--compare names the divergent call by itself: without --minimise")
    for path in (options.output, options.session_to):
        if path is not None and path.exists():
            raise UsageError(f"{path}: there is something already")
    if any(glob.count(".") != 1 for glob in options.ignore):
        raise UsageError("--ignore wants FUNCTION.PARAMETER, globs allowed: cuMemGetInfo*.free")


def _run(options: argparse.Namespace) -> int:
    from sessions.diff import IGNORED
    from workbench.commands.common import opened
    from workbench.replay.compare import first_divergence
    from workbench.replay.minimise import minimise
    from workbench.replay.perform import Wish, perform, scratch_folder
    from workbench.sessions_store import resolve

    with told_as_errors(), scratch_folder() as scratch:
        session = opened(resolve(options.session))
        process = _process(session, options.process)
        stage = _stage(options)
        wish = Wish(session, process, options.timeout, (*IGNORED, *options.ignore))
        if options.compare:
            other = _other_stage(options.compare)
            divergence = first_divergence(wish, stage, other, scratch, options.until)
            _tell_divergence(options, session, divergence, stage, other)
            return _status(options, divergence is None)
        done = perform(wish, stage, scratch, until=options.until, keep=options.session_to)
        prefix = (
            minimise(wish, stage, scratch, done, options.until, options.output) if options.minimise else None
        )
        if options.json:
            print_json(_as_json(session, wish, stage, done, prefix))
        else:
            _print(session, wish, stage, done, prefix, options.limit)
        return _status(options, done.verdict.same)


def _status(options: argparse.Namespace, same: bool) -> int:
    if same:
        return 0
    return EXPECTATION_STATUS if options.expect else 1


def _process(session: Session, asked: int | None) -> int:
    from sessions.replay.plan import processes_with_calls

    counted = processes_with_calls(session)
    if asked is None:
        if not counted:
            raise UsageError(f"{session.path}: no target of its newest run has made a call")
        if len(counted) > 1:
            process = session.processes[counted[0][0]]
            print(
                f"shimbench replay: {len(counted)} processes have calls; this is pid {process.pid}, with most"
                " (--process)", file=sys.stderr,
            )  # fmt: skip
        return counted[0][0]
    for process in session.processes:
        if asked in (process.pid, process.index):
            return process.index
    raise UsageError(f"--process {asked}: {session.path} has no such process")


def _stage(options: argparse.Namespace) -> Stage:
    from workbench.replay.perform import stage_of

    libraries = {}
    for word in options.library:
        soname, _, path = word.rpartition("=")
        if not Path(path).is_file():
            raise UsageError(f"--library {word}: there is no such file")
        libraries[soname or "libcuda.so.1"] = Path(path)
    return stage_of(options.shim or Path(), libraries, options.device)


def _other_stage(word: str) -> Stage:
    from workbench.replay.perform import stage_of

    if word in DEVICES:
        return stage_of(Path(), device=word)
    if not Path(word).is_dir():
        raise UsageError(f"--compare {word}: neither {', '.join(DEVICES)} nor a directory")
    return stage_of(Path(word))


def _lines(session: Session, done: Performance, limit: int) -> list[str]:
    from sessions.decode import CallDecoder

    recorded = CallDecoder(session.schema)
    lines = []
    for one in done.verdict.differences[: max(limit, 0)]:
        more = f", {one.repeats} times" if one.repeats > 1 else ""
        lines += ["", f"~ {one.kind}{more}: {one.detail}"]
        if one.a is not None:
            lines.append(f"    {one.a + 1:>8}  {recorded.text(session, one.a)}")
    left = sum(done.verdict.counts.values()) - sum(
        o.repeats for o in done.verdict.differences[: max(limit, 0)]
    )
    return [*lines, *([f"\nand {left} more (--limit)"] if left > 0 else [])]


def _print(
    session: Session, wish: Wish, stage: Stage, done: Performance, prefix: Prefix | None, limit: int
) -> None:
    verdict, plan = done.verdict, done.plan
    process = session.processes[wish.process]
    print(
        f"{verdict.performed} of {len(plan.rows)} calls of pid {process.pid} in {len(plan.thread_ids)} "
        f"thread{'s' if len(plan.thread_ids) != 1 else ''} on {stage.title}, {_seconds(done):.3f} s"
    )
    for why, count in plan.left_out.most_common():
        if count:
            print(f"not performed: {count} x {why}")
    for why, count in plan.missing.most_common():
        print(f"missing: {count} inputs ({size(plan.missing_bytes)} in all, zeros instead): {why}")
    for text in _remarks(done):
        print(text)
    for at in done.results.under_way if verdict.same else ():
        print(f"call {int(plan.rows[at]) + 1} does not return, as it was recorded ({_ended(done)})")
    if verdict.same:
        print(f"as recorded: {verdict.performed} results, {verdict.outputs} buffers")
    else:
        print(", ".join(f"{count} x {kind}" for kind, count in verdict.counts.most_common()))
    print("\n".join(_lines(session, done, limit)))
    if prefix is not None:
        print(prefix.text)
    sys.stdout.flush()


def _ended(done: Performance) -> str:
    return "hung" if done.ending.hung else f"signal {done.ending.signal}"


def _remarks(done: Performance) -> list[str]:
    verdict, plan, results = done.verdict, done.plan, done.results
    remarks = [
        (plan.guessed, "launches whose parameters' sizes had to be guessed: the shim had not told them"),
        (plan.callbacks, "callbacks: nothing of the program's is called"),
        (results.unknown, "handles that no recorded call had made, passed on as they were"),
        (verdict.skipped, "calls left out: they need what a failed one was to make"),
        (verdict.not_reached, "calls not come to"),
        (verdict.outputs_missing, "outputs not compared: one side was not recorded"),
    ]
    return [f"{count} {text}" for count, text in remarks if count]


def _seconds(done: Performance) -> float:
    began = done.results.began[done.results.began > 0]
    return (
        float(done.results.ended.max() - began.min()) / 1e9
        if len(began) and done.results.ended.any()
        else 0.0
    )


def _as_json(
    session: Session, wish: Wish, stage: Stage, done: Performance, prefix: Prefix | None
) -> dict[str, Any]:
    from sessions.decode import CallDecoder

    verdict, plan, recorded = done.verdict, done.plan, CallDecoder(session.schema)
    return {
        "session": str(session.path),
        "process": session.processes[wish.process].pid,
        "shim": stage.title,
        "calls": len(plan.rows),
        "threads": len(plan.thread_ids),
        "performed": verdict.performed,
        "skipped": verdict.skipped,
        "not_reached": verdict.not_reached,
        "left_out": {why: count for why, count in plan.left_out.items() if count},
        "missing": dict(plan.missing),
        "missing_bytes": plan.missing_bytes,
        "outputs": verdict.outputs,
        "outputs_missing": verdict.outputs_missing,
        "same": verdict.same,
        "counts": dict(verdict.counts),
        "differences": [
            {
                "kind": one.kind,
                "a": None if one.a is None else one.a + 1,
                "b": None if one.b is None else one.b + 1,
                "call": None if one.a is None else recorded.text(session, one.a),
                "detail": one.detail,
                "repeats": one.repeats,
            }
            for one in verdict.differences
        ],
        "ended": {"signal": done.ending.signal, "hung": done.ending.hung},
        "seconds": _seconds(done),
        "prefix": None if prefix is None else prefix.as_json(),
    }


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
