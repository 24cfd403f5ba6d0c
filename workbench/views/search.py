"""Search over everything that a session holds: calls with their arguments, the log, notes, builds, sources.

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
from workbench.errors import ShimbenchError
from workbench.views.log import numbered_lines

if TYPE_CHECKING:
    from sessions import Session

FoundKind = Literal["call", "log", "note", "build", "source"]
BATCH = 1 << 16
_SOURCE_LIMIT = 4 << 20  # bytes of a source that is searched


@dataclass(frozen=True)
class Found:
    """Where something was found: `index` is a row, a line of the log, or of the file at `path`, from 0."""

    kind: FoundKind
    index: int
    text: str
    time_ns: int = 0
    path: Path | None = None

    @property
    def place(self) -> str:
        """`@443`, `log:212`, `shim/cuda/memory.c:41`."""
        if self.path is not None:
            return f"{self.path}:{self.index + 1}"
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


def search_sources(root: Path, watched: list[str], pattern: re.Pattern[str]) -> Iterator[Found]:
    """Lines of the sources that are watched (globs under `root`); a file that can't be read is left out."""
    files = sorted({path for glob in watched for path in root.glob(glob) if path.is_file()})
    for path in files:
        try:
            if path.stat().st_size > _SOURCE_LIMIT:
                continue
            lines = path.read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        for number, line in enumerate(lines):
            if pattern.search(line):
                yield Found("source", number, line.strip(), path=path.relative_to(root))


def watched_sources(directory: Path) -> tuple[Path, list[str]]:
    """The project of a directory and the globs it watches; none where its shimbench.toml can't be read."""
    from workbench.config import load_config

    try:
        config = load_config(directory, dict)
    except (ShimbenchError, OSError):
        return directory, []
    return config.directory, list(config.watch)


def search(
    session: Session,
    expression: str,
    root: Path | None = None,
    watched: list[str] | None = None,
    stopped: Callable[[int], bool] = lambda row: False,
) -> Iterator[Found]:
    """All of it: notes, the log, the calls, the sources. `stopped` is asked now
    and then, with the row that has been reached, whether to leave it there."""
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
    calls = CallSearch(session, pattern)
    for start in range(0, len(session.calls), BATCH):
        if stopped(start):
            return
        yield from calls.rows(start, min(start + BATCH, len(session.calls)))
    if root is not None and watched:
        yield from search_sources(root, watched, pattern)
