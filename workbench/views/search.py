"""Search over everything that a session holds: calls with their arguments, the log, notes, sources.

A call is looked at by its text as the panes show it. Equal calls are many: what names and payloads say is
decided once a function and payload, and only calls whose text may match are decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sessions.decode import CallDecoder
from workbench.views.log import numbered_lines
from workbench.views.sources import Source, lines_found, sources_of

if TYPE_CHECKING:
    from sessions import Session

FoundKind = Literal["call", "log", "note", "source"]
BATCH = 1 << 16


@dataclass(frozen=True)
class Found:
    """Where something was found: `index` is a row, a line of the log, or of `source`, from 0."""

    kind: FoundKind
    index: int
    text: str
    time_ns: int = 0
    source: Source | None = None

    @property
    def place(self) -> str:
        """`@443`, `log:212`, `shim/cuda/memory.c:41`, `shim/cuda/memory.c:40 run 3`."""
        if self.source is not None:
            run = "" if self.source.run is None else f" run {self.source.run}"
            return f"{self.source.name}:{self.index + 1}{run}"
        return f"@{self.index + 1}" if self.kind in ("call", "note") else f"log:{self.index + 1}"


def compiled(expression: str) -> re.Pattern[str]:
    """A regular expression without regard to capitals; one that is none is taken as plain text."""
    try:
        return re.compile(expression, re.IGNORECASE)
    except re.error:
        return re.compile(re.escape(expression), re.IGNORECASE)


def search_log(session: Session, pattern: re.Pattern[str], start: int, stop: int) -> Iterator[Found]:
    """Lines start..stop in which it is found."""
    for number, line in numbered_lines(session, start, stop):
        text = line.text.decode("utf-8", "replace")
        if pattern.search(text):
            yield Found("log", number, text, line.time_ns)


class CallSearch:
    """Looks through the calls of one session; what it has decided of a payload it keeps."""

    def __init__(self, session: Session, pattern: re.Pattern[str]) -> None:
        self.session = session
        self.pattern = pattern
        self._decoder = CallDecoder(session.schema)
        self._last: dict[tuple[int, ...], bool] = {}

    def rows(self, start: int, stop: int) -> Iterator[Found]:
        """Calls of the rows start..stop in whose text it is found, in order."""
        names = ("function", "payload", "arg0", "arg1", "arg2", "result", "flags", "time")
        columns = self.session.calls.columns(start, stop, names)
        values = [columns[name].tolist() for name in names]
        for at, (*alike, time_ns) in enumerate(zip(*values, strict=True)):
            key = tuple(alike)
            known = self._last.get(key)
            if known is False:
                continue
            text = self._decoder.text(self.session, start + at)
            if len(self._last) > BATCH:
                self._last.clear()
            found = self._last[key] = bool(self.pattern.search(text))
            if found:
                yield Found("call", start + at, text, time_ns)


def search(
    session: Session,
    expression: str,
    directory: Path,
    stopped: Callable[[int], bool] = lambda row: False,
) -> Iterator[Found]:
    """All of it: notes, the log, the sources, the calls; what its project watches is that of a directory.
    `stopped` is asked now and then, with the row that has been reached, whether to leave it there."""
    from sessions.marks import Marks
    from workbench.sessions_store import marks_elsewhere

    pattern = compiled(expression)
    for mark in Marks(session, marks_elsewhere()):
        if mark.note and pattern.search(mark.note):
            yield Found("note" if mark.kind == "call" else "log", mark.index, f"note: {mark.note}")
    for start in range(0, len(session.log), BATCH):
        if stopped(0):
            return
        yield from search_log(session, pattern, start, min(start + BATCH, len(session.log)))
    for source, number, line in lines_found(sources_of(session, directory), pattern):
        yield Found("source", number, line, source=source)
    calls = CallSearch(session, pattern)
    for start in range(0, len(session.calls), BATCH):
        if stopped(start):
            return
        yield from calls.rows(start, min(start + BATCH, len(session.calls)))
