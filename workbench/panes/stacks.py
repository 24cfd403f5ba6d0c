"""The native stacks of a target's threads, asked of gdb, or read off their stacks where it is not there."""

from __future__ import annotations

import asyncio
import shutil

_PATIENCE_SECONDS = 20.0


def no_debugger() -> str | None:
    """Why gdb can't be asked, or None."""
    return None if shutil.which("gdb") else "gdb is not on PATH: apt install gdb"


async def stacks_of(pid: int) -> list[str]:
    """The stacks of all threads, a line a frame. gdb stops the process for as long as it reads.

    Without gdb, or where it may not attach, what lies on the stacks of the threads that sleep; [] when
    that can't be read either.
    """
    lines = await _asked_of_gdb(pid) if no_debugger() is None else []
    if any(line.lstrip().startswith("#") for line in lines):
        return lines
    from workbench.loop.threads import backtraces, look

    return backtraces(await asyncio.to_thread(look, pid, with_frames=True)) or lines


async def _asked_of_gdb(pid: int) -> list[str]:
    words = (
        "-nx",
        "-batch",
        "-p",
        str(pid),
        "-ex",
        "set pagination off",
        "-ex",
        "thread apply all backtrace",
    )
    gdb = await asyncio.create_subprocess_exec(
        "gdb",
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(gdb.communicate(), _PATIENCE_SECONDS)
    except TimeoutError:
        gdb.terminate()  # gdb lets go of the process as it ends
        await gdb.wait()
        return [f"gdb did not answer in {_PATIENCE_SECONDS:g} s"]
    lines = output.decode(errors="replace").splitlines()
    first = next((number for number, line in enumerate(lines) if line.startswith("Thread ")), 0)
    return [line for line in lines[first:] if line.strip()]
