"""Marks and notes on calls and lines of the log.

Those made while the session is recorded are events of it. To one that nobody writes any more they are added
in `marks.jsonl` beside its streams, as lines like those of `events.jsonl`; where that can't be written, or
the session was unpacked from a file only to be looked at, in a folder of whoever marks.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sessions.errors import SessionError
from sessions.events import Event, EventReader
from sessions.session import Session

FILE = "marks.jsonl"

MarkKind = Literal["call", "line"]
_KINDS: tuple[MarkKind, ...] = ("call", "line")


@dataclass(frozen=True)
class Mark:
    """`index` is a row or a line, from 0; `note` may be empty."""

    kind: MarkKind
    index: int
    note: str = ""

    def fields(self, removed: bool = False) -> dict[str, Any]:
        """As fields of an event; numbers in it are those displayed."""
        fields: dict[str, Any] = {self.kind: self.index + 1, "note": self.note}
        return {**fields, "removed": True} if removed else fields


class Marks:
    """The marks of a session; `elsewhere` is the folder for those that can't be kept beside it."""

    def __init__(self, session: Session, elsewhere: Path | None = None) -> None:
        self.session = session
        own = session.path / FILE
        other = elsewhere / f"{session.start_unix_ns}.jsonl" if elsewhere is not None else None
        self._files = [path for path in (own, other) if path is not None]
        self._readers: dict[Path, EventReader] = {}
        self._events = 0
        self._marks: dict[tuple[str, int], Mark] = {}
        self.late: list[Event] = []  #: those that are no events of the session
        self.problem = ""
        self.update()

    def __iter__(self) -> Iterator[Mark]:
        """By kind and place."""
        return iter(sorted(self._marks.values(), key=lambda mark: (mark.kind, mark.index)))

    def of(self, kind: MarkKind) -> dict[int, str]:
        """index -> note, of calls or of lines."""
        return {mark.index: mark.note for mark in self if mark.kind == kind}

    def update(self) -> bool:
        """Take in what has been marked since, by whomever; True if anything was."""
        events = self.session.events
        fresh = [event for event in events[self._events :] if event.kind == "mark"]
        self._events = len(events)
        late = self._added()
        self.late += late
        fresh += late
        for event in fresh:
            self._take(event)
        return bool(fresh)

    def _added(self) -> list[Event]:
        """What was added since the last time to a session that was written already."""
        found = []
        for path in self._files:
            reader = self._readers.get(path)
            try:
                if reader is None:
                    if not path.exists():
                        continue
                    reader = self._readers[path] = EventReader(path)
                found += reader.new()
            except (SessionError, OSError) as error:
                self.problem = f"{error}; its marks are not shown"
        return found

    def put(self, mark: Mark, removed: bool = False) -> Path:
        """Add a mark, or take it back; -> the file it was kept in. OSError when it can't be kept anywhere."""
        time_ns = self.session.now_ns()
        text = json.dumps({"time": time_ns, "kind": "mark", **mark.fields(removed)}).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        problem: OSError | None = None
        for path in self._files[1:] if self.session.archive is not None and self._files[1:] else self._files:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as file:
                    file.write(line)
                self.update()
                return path
            except OSError as error:
                problem = error
        assert problem is not None
        raise problem

    def _take(self, event: Event) -> None:
        for kind in _KINDS:
            number = event.fields.get(kind)
            if not isinstance(number, int) or number < 1:
                continue
            key = kind, number - 1
            if event.fields.get("removed"):
                self._marks.pop(key, None)
            else:
                self._marks[key] = Mark(kind, number - 1, str(event.fields.get("note") or ""))
