"""A session on disk, live or finished: the one way in for panes, commands, diff and replay."""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from sessions import format
from sessions.buffers import Buffers
from sessions.calls import Calls
from sessions.errors import SessionError
from sessions.events import Event, EventReader
from sessions.files import StreamFile, check_head
from sessions.log import Log
from sessions.processes import Process, Processes
from sessions.schema import Schema

_SCHEMA_LIMIT = 256 << 20


@dataclass(frozen=True, slots=True)
class InFlight:
    """A call under way at the last look (several a second); times in ns."""

    process: int
    thread: int
    function: int
    started_ns: int
    age_ns: int
    args: tuple[int, ...]
    parent: int
    caller: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Finished:
    """How much a writer that ended orderly had written."""

    time: int
    calls: int
    blobs: int
    lines: int
    events: int


class Session:
    """Reads a session directory. Nothing is decoded before it is asked for.

    What is seen stands still until refresh(). `damage` holds a sentence for everything that is
    missing at the end of a stream (a copy that was cut, say); damage inside a stream is a
    SessionError of the call that would have shown it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.archive: Path | None = None  #: the file it was unpacked from, only to be looked at
        if not self.path.is_dir():
            raise SessionError(f"{self.path}: no such session")
        self._read_manifest()
        self.live = self._writer_alive()
        self.schema = self._read_schema()
        self.calls = Calls(self.path, lambda: self.live)
        self.log = Log(self.path, lambda: self.live)
        self.buffers = Buffers(self.path)
        self._event_reader = EventReader(self.path / "events.jsonl")
        self._in_flight = StreamFile(self.path / "inflight")
        self._processes = Processes()
        self.events: list[Event] = []
        self._damage: list[str] = []
        self._take_events()
        if not self.live:
            self._check_totals()

    def __repr__(self) -> str:
        return f"Session({str(self.path)!r}, live={self.live}, calls={len(self.calls)})"

    @property
    def processes(self) -> list[Process]:
        """All processes, by index; the same objects are updated by refresh()."""
        return self._processes.list

    @property
    def broke_off(self) -> bool:
        """Whether its writer is gone without having ended it: what came after now_ns() is not known."""
        return not self.live and self.finished is None

    @property
    def lost(self) -> int:
        """Calls that happened and are not in the session."""
        return self._processes.lost

    @property
    def lost_to_disk(self) -> tuple[int, int]:
        """Calls and log lines that the file system would not take; the disk was full, or failed."""
        return self._processes.lost_to("disk"), self._processes.lost_lines

    @property
    def damage(self) -> list[str]:
        """What is missing at the ends of streams, as sentences."""
        return self.calls.damage + self.log.damage + self._damage

    def refresh(self) -> bool:
        """Pick up what has been written since; True if anything changed."""
        if not self.live:
            return False
        alive = self._writer_alive()
        if not alive:
            self._read_manifest()
            self.live = False
        changed = self.calls.refresh()
        changed = self.log.refresh() or changed
        changed = self._take_events() or changed
        if not alive:
            self._check_totals()
        return changed or not alive

    @property
    def newest_run(self) -> int:
        """The number of the newest run of a target, which may have no process yet, or come to none; -1 before
        the first. Builds have numbers of their own."""
        return self._processes.newest_run

    def in_flight(self) -> list[InFlight]:
        """Calls under way, of the processes read so far. Those at its end when nobody writes any more."""
        head_size, row_size = format.IN_FLIGHT_HEAD.itemsize, format.IN_FLIGHT_ROW.itemsize
        path = self._in_flight.path
        for _ in range(1000):
            head = self._in_flight_head()
            count = min(int(head["count"]), format.IN_FLIGHT_ROWS)
            data = self._in_flight.read(head_size, count * row_size)
            again = self._in_flight_head()
            still = head["generation"] == again["generation"] and int(head["generation"]) % 2 == 0
            if still or not self.live:
                break
        rows = np.frombuffer(data, dtype=format.IN_FLIGHT_ROW, count=len(data) // row_size)
        good = format.row_checks(rows, 0) == rows["check"] if len(rows) else np.empty(0, dtype=bool)
        if still and (not good.all() or len(rows) < count):
            raise SessionError(f"{path}: damaged")
        # This file may be newer than the events that were read: its process comes with the next refresh.
        good &= rows["process"] < len(self.processes)
        now = int(head["time"])
        return [
            InFlight(
                process=int(row["process"]),
                thread=int(row["thread"]),
                function=int(row["function"]),
                started_ns=int(row["started"]),
                age_ns=max(0, now - int(row["started"])),
                args=tuple(int(value) for value in row["args"]),
                parent=int(row["parent"]),
                caller=int(row["caller"]),
                sequence=int(row["sequence"]),
            )
            for row in rows[good]
        ]

    def now_ns(self) -> int:
        """The moment the writer last looked at calls under way; its last one when nobody writes any more."""
        return int(self._in_flight_head()["time"])

    def blob(self, number: int) -> bytes:
        """The payload of that number, as it was stored (an event names it). SessionError: not there."""
        return self.calls.blob(number)

    def caller_name(self, process: int, address: int) -> str:
        """`libcudart.so.13+0x1234`: where in which file of that process an address lies."""
        if 0 <= process < len(self.processes):
            return self.processes[process].caller_name(address)
        return f"0x{address:x}"

    def _in_flight_head(self) -> np.void:
        for _ in range(1000):
            data = self._in_flight.read(0, format.IN_FLIGHT_HEAD.itemsize)
            check_head(self._in_flight.path, data, format.IN_FLIGHT_MAGIC, format.IN_FLIGHT_ROW.itemsize)
            if len(data) < format.IN_FLIGHT_HEAD.itemsize:
                raise SessionError(f"{self._in_flight.path}: cut")
            head: np.void = np.frombuffer(data, dtype=format.IN_FLIGHT_HEAD, count=1)[0]
            # An odd generation: being written now, or its writer was killed while it wrote. The first writers
            # had no check of the head: where it stands, they wrote how many rows there is room for.
            checked = int(head["crc"]) in (zlib.crc32(data[:-4]), format.IN_FLIGHT_ROWS)
            if int(head["generation"]) % 2 or checked:
                return head
        raise SessionError(f"{self._in_flight.path}: damaged")

    def _read_manifest(self) -> None:
        path = self.path / "session.json"
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SessionError(f"{path}: {error.strerror}") from error
        try:
            prefix, rest = data[:11], data[11:]
            text, crc = rest.rsplit(b',"crc32":', 1)
            if prefix != b'{"session":' or zlib.crc32(text) != int(crc.rstrip(b"}\n")):
                raise ValueError("its check fails")
            self.manifest: dict[str, Any] = json.loads(text)
            if self.manifest["format"] != format.FORMAT:
                raise SessionError(
                    f"{path}: written in format {self.manifest['format']} by shimbench "
                    f"{self.manifest['tool']}; this version reads format {format.FORMAT}"
                )
            self.start_unix_ns = int(self.manifest["start_unix_ns"])
            self.start_mono_ns = int(self.manifest["start_mono_ns"])
            finished = self.manifest["finished"]
            self.finished = None if finished is None else Finished(**finished)
        except (ValueError, KeyError, TypeError) as error:
            raise SessionError(f"{path}: damaged: {error}") from error

    def _read_schema(self) -> Schema:
        path = self.path / "schema.json.zst"
        data = StreamFile(path).read(0, _SCHEMA_LIMIT)
        if zlib.crc32(data) != self.manifest.get("schema_crc32"):
            raise SessionError(f"{path}: damaged")
        try:
            text = zstandard.ZstdDecompressor().decompress(data, max_output_size=_SCHEMA_LIMIT)
        except zstandard.ZstdError as error:
            raise SessionError(f"{path}: {error}") from error
        return Schema.from_json(text, str(path))

    def _writer_alive(self) -> bool:
        """The writer holds a lock on writer.lock as long as it lives."""
        if self.finished is not None:
            return False
        try:
            fd = os.open(self.path / "writer.lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _take_events(self) -> bool:
        fresh = self._event_reader.new()
        for event in fresh:
            try:
                self._processes.add(event)
            except (ValueError, KeyError, TypeError) as error:
                raise SessionError(f"{self.path / 'events.jsonl'}: {event.kind}: {error!r}") from error
        self.events += fresh
        return bool(fresh)

    def _check_totals(self) -> None:
        """Notes what is missing; more than a finished writer wrote is damage."""
        if self._event_reader.torn():
            self._damage.append("events.jsonl: its last event is torn")
        finished = self.finished
        if finished is None:
            written = self.calls.counts()
        else:
            names = ("calls", "lines", "events", "blobs")
            written = {name: int(getattr(finished, name)) for name in names}
        for name, text, there in (
            ("calls", "calls", len(self.calls)),
            ("lines", "log lines", self.log.whole),
            ("events", "events", len(self.events)),
            ("blobs", "payloads", self.calls.payloads),
        ):
            count = written.get(name, there)
            if there > count and finished is not None:
                raise SessionError(f"{self.path}: {there} {text}, its writer had ended with {count}")
            if there < count:
                self._damage.append(f"{count - there} of {count} {text} are missing: the copy was cut")


def open_session(path: str | os.PathLike[str]) -> Session:
    """Open a session directory, live or finished. SessionError when it is none or is damaged."""
    return Session(path)
