"""Record one run without the workbench. The target's exit status is ours; 3 when an expectation was not
met, 124 when the time was up.

--json prints one object on stdout: session, exit_status, timed_out, problem, and what
workbench.views.summary finds in the session (runs, processes, calls, lost, errors by function and result,
asked, answered and missing symbols, gpu_mode), and diagnosis: what failed and why, the first wall first,
[] when no rule speaks. Without it the target's own output is passed through.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

TIMED_OUT_STATUS = 124
EXPECTATION_STATUS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "shimbench run [DIR] [--session PATH] [--timeout S] [--json] [--no-tap] [--expect-gpu]\n"
        "                     [-- COMMAND ...]"
    )
    parser.add_argument("directory", nargs="?", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--session", type=Path, metavar="PATH", help="where to record; must not exist yet")
    parser.add_argument("--timeout", type=float, metavar="S", help="end the target after so many seconds")
    parser.add_argument("--json", action="store_true", help="print one JSON object about the run")
    parser.add_argument("--no-tap", action="store_true", help="run bare: the same libraries, no recording")
    parser.add_argument(
        "--expect-gpu",
        action="store_true",
        help="exit status 3 unless GPU mode was reached (with count-only as well)",
    )


def run(options: argparse.Namespace) -> int:
    from workbench.commands.setting import make_loop
    from workbench.loop.headless import OutputCopy, run_once

    if options.timeout is not None and options.timeout <= 0:
        from workbench.errors import UsageError

        raise UsageError("--timeout wants a number of seconds above 0")
    loop = make_loop(options, watch=False)
    loop.open()
    passed_on = OutputCopy(loop.session, sys.stdout.buffer, sys.stderr.buffer, target=not options.json)
    outcome = asyncio.run(run_once(loop, options.timeout, _say, passed_on))
    status = outcome.exit.status if outcome.exit is not None else 1
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
        }
        print(json.dumps(report, indent=1))
    else:
        _say(f"shimbench: recorded in {loop.session_dir}")
    if outcome.timed_out:
        _say(f"shimbench: the target was still running after {options.timeout:g} s and was ended")
    if unmet:
        _say(f"shimbench: expected GPU mode, found: {mode}")
        return EXPECTATION_STATUS
    return status


def _summary(session_dir: Path) -> dict[str, Any]:
    from sessions import open_session
    from workbench.diagnosis import diagnose
    from workbench.views.summary import summarize

    session = open_session(session_dir)
    summary: dict[str, Any] = summarize(session)
    summary["diagnosis"] = [diagnosis.as_json() for diagnosis in diagnose(session)]
    return summary


def _gpu_mode(session_dir: Path) -> str:
    from sessions import open_session
    from workbench.views.summary import gpu_mode

    return str(gpu_mode(open_session(session_dir)).mode)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
