"""A short program whose output goes into the session and to us, with the time of each line."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.loop.processes import Spawner

# stdout passes through `tee`, stderr as well if $1 says so. What the loader reads is set for the program
# alone, by env: neither sh nor tee is a target.
_SCRIPT = """
both=$1 output=$2 status=$3; shift 3
if [ "$both" = 1 ]; then exec 2>&1; fi
{ env "$@"; echo $? >"$status"; } </dev/null | tee "$output"
exit "$(cat "$status")"
"""
_LOADERS = ("LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "LD_DEBUG")


@dataclass(frozen=True)
class Teed:
    """How it went."""

    status: int | None
    """as a shell tells it; None when it had to be ended"""
    seconds: float
    lines: tuple[tuple[float, bytes], ...]
    """(seconds since the start, line without its newline)"""

    @property
    def text(self) -> str:
        return b"\n".join(line for _, line in self.lines).decode(errors="replace")

    @property
    def ending(self) -> str:
        """In words."""
        if self.status is None:
            return "no end"
        if self.status > 128:
            try:
                return f"killed by {signal.Signals(self.status - 128).name}"
            except ValueError:
                pass
        return f"exit status {self.status}"


async def run_teed(
    spawner: Spawner,
    argv: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path,
    role: str,
    run: int,
    folder: Path,
    *,
    timeout: float,
    both: bool = False,
    ending_early: Awaitable[object] | None = None,
) -> Teed:
    """Run `argv` until it ends, `timeout` seconds are over or `ending_early` is done; then all of it is
    ended. `folder` is for the output; `both` reads stderr as well."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{role}-{time.monotonic_ns()}"
    output, status = folder / f"{name}.out", folder / f"{name}.status"
    output.write_bytes(b"")
    plain = {key: value for key, value in environment.items() if key not in _LOADERS}
    loading = [f"{key}={environment[key]}" for key in _LOADERS if key in environment]
    words = ["/bin/sh", "-c", _SCRIPT, role, "1" if both else "0", str(output), str(status), *loading, *argv]
    begun = time.monotonic()
    pid = spawner.spawn(words, plain, cwd, role, run)
    ending = asyncio.ensure_future(spawner.wait(pid))
    early = asyncio.ensure_future(ending_early) if ending_early is not None else None
    lines: list[tuple[float, bytes]] = []
    rest = b""
    try:
        with output.open("rb") as stream:
            while True:
                waited = [ending] if early is None else [ending, early]
                await asyncio.wait(waited, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
                done = ending.done()
                *whole, rest = (rest + stream.read()).split(b"\n")
                lines += [(time.monotonic() - begun, line) for line in whole]
                late = time.monotonic() - begun > timeout or (early is not None and early.done())
                if done or late:
                    break
        if rest:
            lines.append((time.monotonic() - begun, rest))
        seconds = time.monotonic() - begun
        return Teed(ending.result().status if ending.done() else None, seconds, tuple(lines))
    finally:
        spawner.signal(pid, signal.SIGKILL)
        for task in (ending, early):
            if task is not None and not task.done():
                task.cancel()
        output.unlink(missing_ok=True)
        status.unlink(missing_ok=True)
