"""Going through a session's log in pieces, so that a long one is never in memory as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessions import Line, Session

BATCH = 8192

HEAD_BYTES = 4096
"""What tells something stands at a line's beginning: more of it is not searched, so that a line of megabytes
costs no more than its length."""


def numbered_lines(session: Session, start: int, stop: int) -> Iterator[tuple[int, Line]]:
    """Lines start..stop with their indices."""
    for begin in range(start, stop, BATCH):
        yield from enumerate(session.log.lines(begin, min(begin + BATCH, stop)), begin)


def of_run(session: Session, line: Line, run: int) -> bool:
    """Whether a line was written in a run; what no known process wrote counts for every run."""
    known = 0 <= line.process < len(session.processes)
    return not known or session.processes[line.process].run == run
