"""A unit's journal as lines: whole ones, however journald has cut them, with who wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

ERROR_PRIORITY = 3


@dataclass(frozen=True)
class JournalLine:
    """One line as it was written."""

    text: bytes
    pid: int
    error: bool
    """on stderr, as far as the priority tells"""


@dataclass
class JournalReader:
    """Takes `journalctl --output=json --all`, an object a line."""

    cursor: str = ""
    """of the newest entry taken"""
    _parts: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def feed(self, row: bytes) -> Iterator[JournalLine]:
        """The lines that this entry completes. What is no entry is passed over."""
        try:
            entry: dict[str, Any] = json.loads(row)
        except ValueError:
            return
        if not isinstance(entry, dict):
            return
        self.cursor = str(entry.get("__CURSOR", self.cursor))
        text = _bytes(entry.get("MESSAGE"))
        pid = int(entry.get("_PID") or entry.get("SYSLOG_PID") or 0)
        stream = (str(entry.get("_STREAM_ID", "")), pid)
        text = self._parts.pop(stream, b"") + text
        if entry.get("_LINE_BREAK") == "line-max":
            self._parts[stream] = text  # journald cuts at LineMax (48 KiB); the rest follows
            return
        error = str(entry.get("PRIORITY", "6")).isdigit() and int(entry.get("PRIORITY", 6)) <= ERROR_PRIORITY
        for line in text.split(b"\n"):
            yield JournalLine(line, pid, error)

    def finish(self) -> Iterator[JournalLine]:
        """What was never completed."""
        for (_, pid), text in self._parts.items():
            yield JournalLine(text, pid, False)
        self._parts.clear()


def _bytes(message: Any) -> bytes:
    """A message is text, or numbers where it is not UTF-8; several of one entry are a list of these."""
    if isinstance(message, str):
        return message.encode()
    if isinstance(message, list):
        if all(isinstance(item, int) for item in message):
            return bytes(message)
        return b"\n".join(_bytes(item) for item in message)
    return b""
