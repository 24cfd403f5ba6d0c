"""A copy of a session, whole or a span of it, with an edit applied to every text on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import zstandard

from sessions import format
from sessions.blobs import Item
from sessions.buffers import BufferState, buffer_of
from sessions.marks import Marks
from sessions.session import Session
from sessions.writer import SessionWriter, pack_items

_BATCH = 65536


class Edit(Protocol):
    """What is done to texts that are copied. Each method returns what is written instead."""

    def line(self, text: bytes) -> bytes:
        """A log line, without its newline."""

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an event, or another JSON object."""

    def item(self, item: Item) -> Item:
        """A part of a call's payload."""

    def blob(self, data: bytes) -> bytes | None:
        """What an event names, the text of a kernel say; None leaves it out."""


class Untouched:
    """The edit of a plain copy."""

    def line(self, text: bytes) -> bytes:
        return text

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return dict(fields)

    def item(self, item: Item) -> Item:
        return item

    def blob(self, data: bytes) -> bytes | None:
        return data


class _Buffered:
    """Another edit, which also gives buffers the numbers they have in the copy."""

    def __init__(self, edit: Edit, source: Session, keep: bool) -> None:
        self._edit = edit
        self._source = source
        self._keep = keep
        self._numbers: dict[int, int] = {}
        self.line, self.fields, self.blob = edit.line, edit.fields, edit.blob
        self.writer: SessionWriter | None = None

    def item(self, item: Item) -> Item:
        buffer = buffer_of(item)
        if buffer is None:
            return self._edit.item(item)
        if buffer.state != BufferState.KEPT:
            return item
        if not self._keep or self.writer is None:
            return replace(buffer, number=0, state=BufferState.LEFT_OUT).item()
        if buffer.number not in self._numbers:
            self._numbers[buffer.number] = self.writer.buffer(self._source.buffers.content(buffer.number))
        return replace(buffer, number=self._numbers[buffer.number]).item()


@dataclass(frozen=True)
class Window:
    """Calls and lines between two moments, ns since the start, and which of the calls. Events are kept
    whole: they say who is who."""

    since_ns: int = -(1 << 62)
    until_ns: int = 1 << 62
    calls: int = 1 << 62
    """no more than the first so many calls of the session"""
    processes: frozenset[int] | None = None
    """their calls alone"""

    def mask(self, start: int, rows: np.ndarray[Any, np.dtype[np.void]]) -> npt.NDArray[np.bool_]:
        """Which of the rows from `start` on are inside."""
        inside = (rows["time"] >= self.since_ns) & (rows["time"] <= self.until_ns)
        inside &= np.arange(start, start + len(rows)) < self.calls
        if self.processes is not None:
            inside &= np.isin(rows["process"], list(self.processes))
        answer: npt.NDArray[np.bool_] = inside
        return answer


def copy_session(
    source: Session,
    path: Path,
    edit: Edit | None = None,
    window: Window | None = None,
    progress: Callable[[float], object] = lambda share: None,
    *,
    keep_buffers: bool = False,
    model: bytes | None = None,
) -> None:
    """Write `source` as a new, finished session at `path`; `progress` gets the share done, 0..1.

    A source that was never finished (its writer was killed, or still writes) is copied as far as it is
    known. Recorded buffers hold what a program computed with: they are left out, and said to be, unless
    `keep_buffers`. `model`: another model.json than the source's, of the same functions. OSError when
    `path` can't be written, SessionError when the source is damaged.
    """
    buffered = _Buffered(edit or Untouched(), source, keep_buffers)
    window = window or Window()
    manifest = buffered.fields(source.manifest)
    if model is None:
        packed = (source.path / "schema.json.zst").read_bytes()
        model = zstandard.ZstdDecompressor().decompress(packed, max_output_size=256 << 20)
    writer = SessionWriter(path, model, str(manifest.get("tool", "")), original=manifest)
    try:
        buffered.writer = writer
        _copy(source, writer, buffered, window, progress)
    finally:
        writer.close()


def go_through(
    source: Session,
    edit: Edit,
    window: Window | None = None,
    progress: Callable[[float], object] = lambda share: None,
) -> None:
    """Let `edit` see all that copy_session() would give it; nothing is written, and no writer needed."""
    buffered = _Buffered(edit, source, False)
    buffered.fields(source.manifest)
    _copy(source, _Nowhere(), buffered, window or Window(), progress)


def _copy(
    source: Session,
    writer: _Writes,
    edit: Edit,
    window: Window,
    progress: Callable[[float], object],
) -> None:
    _events(source, writer, edit)
    _calls_and_lines(source, writer, edit, window, progress)
    _in_flight(source, writer)
    writer.publish()


class _Nowhere:
    """A writer that writes nothing."""

    def blob(self, data: bytes) -> int:
        return 0

    def calls(self, rows: object) -> None:
        pass

    def line(self, *line: object) -> None:
        pass

    def event(self, time: int, kind: str, fields: Mapping[str, Any]) -> None:
        pass

    def in_flight(self, now: int, rows: object) -> None:
        pass

    def publish(self) -> bool:
        return True


_Writes = SessionWriter | _Nowhere


def _events(source: Session, writer: _Writes, edit: Edit) -> None:
    """Payloads that events name go along with them, if the edit leaves them."""
    for event in (*source.events, *Marks(source).late):
        fields = edit.fields(event.fields)
        number = fields.pop("blob", None)
        if isinstance(number, int) and (data := edit.blob(source.blob(number))) is not None:
            fields["blob"] = writer.blob(data)
        writer.event(event.time_ns, event.kind, fields)


def _calls_and_lines(
    source: Session,
    writer: _Writes,
    edit: Edit,
    window: Window,
    progress: Callable[[float], object],
) -> None:
    """A line says after which call it came, so both are written in that order."""
    payloads: dict[int, int] = {0: 0}
    line, total = 0, len(source.calls)
    for start in range(0, total, _BATCH):
        stop = min(start + _BATCH, total)
        rows, inside = _rows(source, start, stop, payloads, writer, edit, window)
        at = start
        while line < len(source.log):
            said = source.log.line(line)
            if said.after_call > stop:
                break
            upto = max(said.after_call, at)
            writer.calls(rows[at - start : upto - start][inside[at - start : upto - start]])
            writer.publish()
            at = upto
            _line(source, writer, edit, window, line)
            line += 1
        writer.calls(rows[at - start :][inside[at - start :]])
        writer.publish()
        progress(stop / max(total, 1))
    for number in range(line, len(source.log)):
        _line(source, writer, edit, window, number)


def _rows(
    source: Session,
    start: int,
    stop: int,
    payloads: dict[int, int],
    writer: _Writes,
    edit: Edit,
    window: Window,
) -> tuple[np.ndarray[Any, np.dtype[np.void]], npt.NDArray[np.bool_]]:
    """Rows, and which of them are inside of the window: what only others were given is not written."""
    columns = source.calls.columns(start, stop)
    rows = np.zeros(stop - start, dtype=format.CALL_ROW)
    for name, column in columns.items():
        rows[name] = column
    inside = window.mask(start, rows)
    rows["payload"] = 0
    unique, places = np.unique(columns["payload"][inside], return_inverse=True)
    for number in unique.tolist():
        if number not in payloads:
            items = [edit.item(item) for item in source.calls.payload_of(number)]
            payloads[number] = writer.blob(pack_items(items))
    rows["payload"][inside] = np.array([payloads[number] for number in unique.tolist()], np.uint32)[places]
    return rows, inside


def _line(source: Session, writer: _Writes, edit: Edit, window: Window, number: int) -> None:
    line = source.log.line(number)
    if window.since_ns <= line.time_ns <= window.until_ns:
        newline = b"" if line.length == len(line.text) else b"\n"
        text = edit.line(line.text) + newline
        writer.line(line.time_ns, line.pid, line.process, line.stream, line.role, text, line.torn)


def _in_flight(source: Session, writer: _Writes) -> None:
    calls = source.in_flight()
    rows = np.zeros(len(calls), dtype=format.IN_FLIGHT_ROW)
    for row, call in zip(rows, calls, strict=True):
        row["started"], row["caller"], row["sequence"] = call.started_ns, call.caller, call.sequence
        row["parent"], row["thread"], row["process"] = call.parent, call.thread, call.process
        row["function"], row["args"] = call.function, call.args
    writer.in_flight(source.now_ns(), rows)
