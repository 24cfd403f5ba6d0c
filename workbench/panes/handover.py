"""The key S: a report of the session on the screen, made by `shimbench report` beside the workbench."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp


def hand_over(app: ShimbenchApp) -> None:
    """Start it; the workbench goes on, and says where the zip lies."""
    app.run_worker(_report(app), group="report", exclusive=True)


async def _report(app: ShimbenchApp) -> None:
    session = app.session.path
    path = free_name(app.root, session.stem)
    app.notify(f"making {path.name}: what is private is taken out first")
    # A process of its own: it copies the whole session, and takes pictures of panes by another app.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "workbench.cli", "report", str(session), "-o", str(path)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:  # the workbench is left: a report nobody hears of is not made
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        await process.wait()
        raise
    lines = said.decode("utf-8", "replace").strip().splitlines() or ["nothing said"]
    if process.returncode:
        app.notify(lines[-1], title="no report", severity="error", timeout=20)
    else:
        app.notify("\n".join(lines), title="report", timeout=20)


def free_name(folder: Path, stem: str) -> Path:
    """STEM.zip, or STEM-2.zip and so on where that exists."""
    path, number = folder / f"{stem}.zip", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}.zip"
    return path
