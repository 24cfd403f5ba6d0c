"""The events stream: one checked JSON object a line."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessions.errors import SessionError
from sessions.files import StreamFile


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: `time_ns` since the session's start."""

    time_ns: int
    kind: str
    fields: dict[str, Any]


class EventReader:
    """Reads what has been appended since the last time."""

    def __init__(self, path: Path) -> None:
        self._file = StreamFile(path)
        self._read_to = 0

    def torn(self) -> int:
        """Bytes behind the last whole line read."""
        return self._file.size() - self._read_to

    def new(self) -> list[Event]:
        """Events appended since the last call; a line without its end is left for later."""
        data = self._file.read(self._read_to, self._file.size() - self._read_to)
        whole = data.rfind(b"\n") + 1
        events = []
        for line in data[:whole].split(b"\n")[:-1]:
            events.append(self._parse(line))
        self._read_to += whole
        return events

    def _parse(self, line: bytes) -> Event:
        try:
            crc, text = int(line[:8], 16), line[9:]
            if line[8:9] != b" " or zlib.crc32(text) != crc:
                raise ValueError("its check fails")
            fields = json.loads(text)
            return Event(int(fields.pop("time")), str(fields.pop("kind")), fields)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SessionError(
                f"{self._file.path}: the event after byte {self._read_to} is damaged: {error}"
            ) from error
