"""The session writer for Python: the native one, driven through cffi. It is the one the collector uses."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cffi  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt

from sessions import format
from sessions.blobs import Item

_DECLARATIONS = """
const char *shimbench_session_error(void);
void *shimbench_session_open(const char *, const char *, const char *, size_t);
void *shimbench_session_open_copy(
    const char *, const char *, const char *, size_t, int64_t, int64_t, const char *);
int64_t shimbench_session_now(void *);
uint32_t shimbench_session_blob(void *, const void *, size_t);
uint64_t shimbench_session_buffer(void *, const void *, uint64_t);
void shimbench_session_calls(void *, const void *, size_t);
void shimbench_session_line(void *, int64_t, uint32_t, int32_t, uint8_t, uint8_t, int, const char *, size_t);
int shimbench_session_line_in_pieces(
    void *, int64_t, uint32_t, int32_t, uint8_t, uint8_t, int, const char *, size_t, size_t);
void shimbench_session_event(void *, int64_t, const char *, const char *, size_t);
void shimbench_session_in_flight(void *, int64_t, const void *, size_t);
int shimbench_session_publish(void *);
void shimbench_session_finish(void *);
void shimbench_session_close(void *);
"""


def library_path() -> Path:
    """Where the built writer lies: $SHIMBENCH_BUILD/lib, else build/lib of this checkout."""
    build = os.environ.get("SHIMBENCH_BUILD")
    root = Path(build) if build else Path(__file__).resolve().parent.parent / "build"
    return root / "lib" / "libshimbench-session.so"


def pack_items(items: Iterable[Item]) -> bytes:
    """A payload as the tap records it."""
    packed = b""
    for item in items:
        head = struct.pack("<BBHI", item.kind, item.index, len(item.data), item.original)
        packed += head + item.data + bytes(-len(item.data) % 8)
    return packed


class SessionWriter:
    """Writes a session directory. Times are ns since its start."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: bytes,
        tool: str,
        *,
        original: Mapping[str, Any] | None = None,
        library: Path | None = None,
    ) -> None:
        """`model` is model.json; `original` the manifest of the session this is a copy of.

        OSError when the writer is not built, or refuses: the directory holds a session already, say.
        """
        self._ffi = cffi.FFI()
        self._ffi.cdef(_DECLARATIONS)
        self._library = self._ffi.dlopen(str(library or library_path()))
        begun = os.fsencode(path), tool.encode(), model, len(model)
        if original is None:
            self._handle = self._library.shimbench_session_open(*begun)
        else:
            start = int(original["start_mono_ns"]), int(original["start_unix_ns"])
            machine = json.dumps(original.get("machine", {})).encode()
            self._handle = self._library.shimbench_session_open_copy(*begun, *start, machine)
        if self._handle == self._ffi.NULL:
            raise OSError(self._ffi.string(self._library.shimbench_session_error()).decode())

    def blob(self, data: bytes) -> int:
        """The number of this content."""
        return int(self._library.shimbench_session_blob(self._handle, data, len(data)))

    def buffer(self, data: bytes) -> int:
        """The number of this buffer; 0 when the file system would not take it."""
        return int(self._library.shimbench_session_buffer(self._handle, data, len(data)))

    def calls(self, rows: npt.NDArray[np.void]) -> None:
        """Calls, as records of sessions.format.CALL_ROW; their checks are made here."""
        data = np.ascontiguousarray(rows)
        assert data.dtype == format.CALL_ROW
        self._library.shimbench_session_calls(self._handle, self._ffi.from_buffer(data), len(data))

    def line(
        self,
        time: int,
        pid: int,
        process: int,
        stream: str,
        role: str,
        text: bytes,
        torn: bool = False,
        *,
        piece: int = 0,
    ) -> None:
        """A line with its newline, if it has one; `process` -1: of none.

        `piece`: store it in pieces of so many bytes, as lines are whose end is long in coming; OSError when
        the file system would not take one.
        """
        numbers = format.STREAMS.index(stream), format.ROLES.index(role)
        line = (self._handle, time, pid, process, *numbers, torn, text, len(text))
        if not piece:
            self._library.shimbench_session_line(*line)
        elif not self._library.shimbench_session_line_in_pieces(*line, piece):
            raise OSError("the file system took no further piece of a line")

    def event(self, time: int, kind: str, fields: Mapping[str, Any]) -> None:
        """An event; fields are JSON."""
        body = json.dumps(fields)[1:-1].encode()
        self._library.shimbench_session_event(self._handle, time, kind.encode(), body, len(body))

    def in_flight(self, now: int, rows: npt.NDArray[np.void]) -> None:
        """The calls under way now, as records of sessions.format.IN_FLIGHT_ROW."""
        data = np.ascontiguousarray(rows)
        self._library.shimbench_session_in_flight(self._handle, now, self._ffi.from_buffer(data), len(data))

    def publish(self) -> bool:
        """Make visible what was added so far; False when the file system would not take all of it."""
        return bool(self._library.shimbench_session_publish(self._handle))

    def close(self, finish: bool = True) -> None:
        """Seal it, or leave it as a killed writer would; does nothing the second time."""
        if self._handle != self._ffi.NULL:
            if finish:
                self._library.shimbench_session_finish(self._handle)
            self._library.shimbench_session_close(self._handle)
            self._handle = self._ffi.NULL
