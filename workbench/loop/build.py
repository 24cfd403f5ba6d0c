"""Run the build command: its output whole and live, its diagnostics, and how it ended."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from workbench.loop.diagnostics import Diagnostic, Severity, parse_diagnostics
from workbench.loop.processes import Exit, Spawner

# The output goes into the log, as whoever spawns tees it, and into a file for the diagnostics; the
# status is carried past `tee` by a second file, since a plain sh has no pipefail.
_SCRIPT = '{ sh -c "$1"; echo $? >"$3"; } 2>&1 </dev/null | tee "$2"; exit "$(cat "$3")"'

_PROGRESS = re.compile(r"^\[ *(\d+)(?:/(\d+)|%)\]")


@dataclass(frozen=True)
class BuildReport:
    """One build, finished."""

    number: int
    """from 1, within the session"""
    ok: bool
    seconds: float
    command: str
    output: str
    exit: Exit | None
    """None when there was nothing to run"""
    diagnostics: tuple[Diagnostic, ...] = ()
    sources: tuple[Path, ...] = ()
    """what had changed"""
    store_id: str | None = None
    reason: str = ""
    problem: str = field(default="")
    """what went wrong after the command itself was fine, as a library that was not made"""

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        return tuple(item for item in self.diagnostics if item.severity is Severity.ERROR)


def build_environment() -> dict[str, str]:
    """Ours, with ninja and cmake of our own environment behind the user's."""
    scripts = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{scripts}"}


async def run_build(
    spawner: Spawner,
    command: str,
    directory: Path,
    number: int,
    output_directory: Path,
    on_output: Callable[[str], None] = lambda text: None,
) -> BuildReport:
    """Run `command` by sh in `directory`. `on_output` gets the output as it comes, in pieces.

    Cancelling it ends the build's whole process group.
    """
    output_directory.mkdir(parents=True, exist_ok=True)
    output, status = output_directory / f"{number}.log", output_directory / f"{number}.status"
    output.write_bytes(b"")
    begun = time.monotonic()
    argv = ["/bin/sh", "-c", _SCRIPT, "build", command, str(output), str(status)]
    pid = spawner.spawn(argv, build_environment(), directory, "build", number)
    ending = asyncio.ensure_future(spawner.wait(pid))
    try:
        with output.open(errors="replace") as stream:
            while not ending.done():
                await asyncio.wait([ending], timeout=0.05)
                if text := stream.read():
                    on_output(text)
    except asyncio.CancelledError:
        spawner.signal(pid, signal.SIGKILL)
        raise
    finally:
        status.unlink(missing_ok=True)
    exit_ = ending.result()
    text = output.read_text(errors="replace")
    return BuildReport(
        number,
        exit_.status == 0,
        time.monotonic() - begun,
        command,
        text,
        exit_,
        tuple(parse_diagnostics(text, directory)),
    )


def progress_of(output: str) -> float | None:
    """How far ninja or make says it is, 0..1, from the last line that says so; None if none does."""
    for line in reversed(output.splitlines()):
        if match := _PROGRESS.match(line):
            if match[2] is None:
                return min(1.0, int(match[1]) / 100)
            return min(1.0, int(match[1]) / max(1, int(match[2])))
    return None
