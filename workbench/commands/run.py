"""Record one run without the workbench. The target's exit status is ours; 3 when an expectation was not
met, 124 when the time was up.

--json prints one object on stdout: session, exit_status, timed_out, problem, and what
workbench.views.summary finds in the session (runs, processes, calls, lost, errors by function and result,
asked, answered and missing symbols, gpu_mode), and diagnosis: what failed and why, the first wall first,
[] when no rule speaks; exercise: what [target] exercise brought (ok, tokens, first_token_seconds, error),
ladder: the rungs climbed, since: what is different from the run before, in the session before this one.
Without it the target's own output is passed through.

A target that is driven by an exercise is ended when that is over: exit status 0, or 3 when it failed. With
--top the ladder is climbed to that rung: probe, list-devices, discovery, load or tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.config import RUNGS

if TYPE_CHECKING:
    from sessions import Session
    from workbench.loop.loop import Loop

TIMED_OUT_STATUS = 124
EXPECTATION_STATUS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from workbench.commands.common import add_directory

    parser.usage = (
        "shimbench run [DIR] [--session PATH] [--timeout S] [--json] [--no-tap] [--expect-gpu]\n"
        "                     [--top RUNG] [--buffers[=LIMIT]] [--driver] [-- COMMAND ...]"
    )
    add_directory(parser)
    parser.add_argument("--session", type=Path, metavar="PATH", help="where to record; must not exist yet")
    parser.add_argument("--timeout", type=float, metavar="S", help="end the target after so many seconds")
    parser.add_argument("--json", action="store_true", help="print one JSON object about the run")
    parser.add_argument(
        "--buffers", nargs="?", const="512M", metavar="LIMIT",
        help="record what calls are given and fill as well, so that `shimbench replay` can perform them"
        " again: up to LIMIT of the session (512M)",
    )  # fmt: skip
    parser.add_argument(
        "--driver", action="store_true",
        help="record on the machine's own driver, not on a shim: what others are compared with",
    )  # fmt: skip
    parser.add_argument("--no-tap", action="store_true", help="run bare: the same libraries, no recording")
    parser.add_argument(
        "--expect-gpu",
        action="store_true",
        help="exit status 3 unless GPU mode was reached (with count-only as well)",
    )
    parser.add_argument(
        "--top", choices=RUNGS, help="climb the ladder to this rung; exit status 3 if it is not reached"
    )


def run(options: argparse.Namespace) -> int:
    from workbench.commands.setting import plan_loop
    from workbench.loop.headless import OutputCopy, run_once

    if options.timeout is not None and options.timeout <= 0:
        from workbench.errors import UsageError

        raise UsageError("--timeout wants a number of seconds above 0")
    loop = plan_loop(options, watch=False).make()
    loop.open()
    passed_on = OutputCopy(loop.session, sys.stdout.buffer, sys.stderr.buffer, target=not options.json)
    if loop.notice:
        _say(f"shimbench: warning: {loop.notice}")
    loop.driver.top = options.top or RUNGS[-1]
    climb = options.top is not None
    outcome = asyncio.run(run_once(loop, options.timeout, _say, passed_on, climb=climb))
    status = outcome.exit.status if outcome.exit is not None else 1
    failure = _failure(loop, climb)
    if outcome.driven or (climb and loop.status.rung):
        status = 0
    if failure and not outcome.timed_out and not outcome.interrupted:
        _say(f"shimbench: {failure}")
        status = EXPECTATION_STATUS
    if outcome.timed_out:
        status = TIMED_OUT_STATUS
    mode = _gpu_mode(loop.session_dir) if options.expect_gpu or options.json else None
    unmet = options.expect_gpu and mode not in ("gpu", "not-executed")
    if options.json:
        report: dict[str, Any] = {
            "session": str(loop.session_dir),
            "exit_status": status,
            "signal": outcome.exit.signal if outcome.exit else None,
            "timed_out": outcome.timed_out,
            "problem": outcome.problem or None,
            **_summary(loop.session_dir),
            **_driven(loop),
        }
        print(json.dumps(report, indent=1))
    else:
        _say(f"shimbench: recorded in {loop.session_dir}")
    warnings = (_losses, _unrecorded, _wrong_libraries)
    for warning in (text for told in warnings for text in told(loop.session_dir)):
        _say(f"shimbench: warning: {warning}")
    if outcome.timed_out:
        _say(f"shimbench: the target was still running after {options.timeout:g} s and was ended")
    if unmet:
        _say(f"shimbench: expected GPU mode, found: {mode}")
        return EXPECTATION_STATUS
    return status


def _losses(session_dir: Path) -> list[str]:
    """What happened and is not in the session."""
    from sessions import open_session

    session = open_session(session_dir)
    calls, lines = session.lost_to_disk
    said = [f"{calls} calls and {lines} lines are lost, the disk took no more: {session_dir}"]
    left = session.lost - calls
    return (said if calls or lines else []) + ([f"{left} calls are lost"] if left else [])


def _unrecorded(session_dir: Path) -> list[str]:
    """Processes of which nothing is in the session, why, and what to do."""
    from sessions import open_session
    from workbench.views.summary import unrecorded

    said = []
    for row in unrecorded(open_session(session_dir)):
        first, more = row["pids"][0], len(row["pids"]) - 1
        others = f" and {more} more" if more else ""
        advice = f"; {row['advice']}" if row["advice"] else ""
        said.append(f"{row['program']} (pid {first}{others}): calls not recorded: {row['why']}{advice}")
    return said


def _wrong_libraries(session_dir: Path) -> list[str]:
    from sessions import open_session
    from workbench.views.mapped import wrong_libraries

    return [wrong.text for wrong in wrong_libraries(open_session(session_dir))]


def _summary(session_dir: Path) -> dict[str, Any]:
    from sessions import open_session
    from workbench.diagnosis import diagnose
    from workbench.views.summary import summarize

    session = open_session(session_dir)
    summary: dict[str, Any] = summarize(session)
    summary["diagnosis"] = [diagnosis.as_json() for diagnosis in diagnose(session)]
    return summary


def _failure(loop: Loop, climb: bool) -> str:
    """What the ladder or the exercise did not reach; "" when all is well."""
    driver = loop.driver
    failed = next((rung for rung in driver.rungs.values() if rung.state == "failed"), None)
    if climb and failed is not None:
        return str(failed)
    if climb and driver.top not in driver.rungs:
        return f"the run ended before the rung {driver.top}"
    if driver.outcome is not None and not driver.outcome.ok:
        return f"the exercise failed: {driver.outcome}"
    if driver.expectation is not None and not driver.expectation.same:
        return driver.expectation.text
    return ""


def _driven(loop: Loop) -> dict[str, Any]:
    driver = loop.driver
    exercise = None
    if driver.outcome is not None:
        exercise = driver.outcome.as_json()
        if driver.expectation is not None:
            exercise |= {"same": driver.expectation.same, "expectation": driver.expectation.text}
    return {
        "exercise": exercise,
        "ladder": [rung.as_json() for rung in driver.rungs.values()],
        "since": _since(loop.session_dir, loop.place.all()),
    }


MOST_CALLS = 20_000_000
"""A session before this one is compared with when it has at most so many."""


def _since(session_dir: Path, sessions: list[Path]) -> dict[str, Any] | None:
    """This run beside the newest earlier one of the same command; None when there is none."""
    from sessions import SessionError, open_session
    from workbench.views.since import changes, run_facts

    ours = open_session(session_dir)
    command = _command(ours)
    for path in sessions:
        if path == session_dir or (path.exists() and path.stat().st_mtime > session_dir.stat().st_mtime):
            continue
        try:
            earlier = open_session(path)
        except (SessionError, OSError):
            continue
        if _command(earlier) == command and len(earlier.calls) <= MOST_CALLS:
            before, after = run_facts(earlier, earlier.newest_run), run_facts(ours, ours.newest_run)
            return {"session": str(path), "run": before.run, "changes": changes(before, after)}
    return None


def _command(session: Session) -> Any:
    runs = [event.fields.get("command") for event in session.events if event.kind == "run"]
    return runs[-1] if runs else None


def _gpu_mode(session_dir: Path) -> str:
    from sessions import open_session
    from workbench.views.summary import gpu_mode

    return str(gpu_mode(open_session(session_dir)).mode)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
