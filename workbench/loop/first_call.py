"""When a run made its first call: the end of the stretch from saving a file to seeing its effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sessions import FIRST_PSEUDO_FUNCTION

if TYPE_CHECKING:
    from sessions import Session


def first_call_ns(session: Session, run: int, start: int) -> tuple[int | None, int]:
    """The first call of the targets of `run`, among the calls from row `start` on. Loading and lookups,
    which come before it, are none.

    -> (its time.monotonic_ns(), or None when there is none yet; the row to go on from).
    """
    end = len(session.calls)
    if end <= start:
        return None, end
    processes = {process.index for process in session.processes if process.run == run}
    columns = session.calls.columns(start, end, ["time", "process", "function"])
    calls = columns["function"] < FIRST_PSEUDO_FUNCTION
    for moment, process in zip(columns["time"][calls], columns["process"][calls], strict=True):
        if int(process) in processes:
            return session.start_mono_ns + int(moment), end
    return None, end
