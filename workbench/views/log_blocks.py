"""Lines of the log that are one report: a CUDA error with its location and stack, a panic with its frames.

The lines of several processes are mixed in a log; a report goes on through the lines of its own process
and stream until one that is no part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workbench.target.log_grammar import continues_abort, starts_abort
from workbench.views.log import numbered_lines

if TYPE_CHECKING:
    from sessions import Line, Session

LONGEST = 5000
"""Lines: a target that prints frames without end is not all one report."""


@dataclass
class Block:
    """A report: the indices of its lines, ascending."""

    lines: list[int] = field(default_factory=list)

    @property
    def first(self) -> int:
        """Where it begins."""
        return self.lines[0]


class LogBlocks:
    """The reports of one session's log, kept up to date: update() looks only at new lines."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self._scanned = 0
        self._open: dict[tuple[int, int, str], Block] = {}
        self._of_line: dict[int, Block] = {}

    @property
    def scanned(self) -> int:
        """Lines looked at so far."""
        return self._scanned

    def update(self, session: Session, stop: int | None = None) -> None:
        """Take in lines written since, up to number `stop`."""
        if session is not self._session:
            self._session, self._scanned = session, 0
            self._open.clear()
            self._of_line.clear()
        stop = len(session.log) if stop is None else stop
        for number, line in numbered_lines(session, self._scanned, stop):
            self._take(number, line)
        self._scanned = max(stop, self._scanned)

    def of(self, number: int) -> Block | None:
        """The report a line is part of; None when it stands alone."""
        block = self._of_line.get(number)
        return block if block is not None and len(block.lines) > 1 else None

    def _take(self, number: int, line: Line) -> None:
        key = (line.process, line.pid, line.stream)
        block = self._open.get(key)
        # Only the head matters, and decoding is dear: most lines begin no report.
        text = line.text[:2048].decode("utf-8", "surrogateescape")
        if block is not None and len(block.lines) < LONGEST and continues_abort(text):
            block.lines.append(number)
        elif starts_abort(text):
            block = self._open[key] = Block([number])
        else:
            self._open.pop(key, None)
            return
        self._of_line[number] = block
