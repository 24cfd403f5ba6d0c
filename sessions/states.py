"""Snapshots of what was derived from the calls, beside the session: `states/`, a file each.

They are a cache. Whoever goes through all calls may leave them; whoever wants the state at a moment starts
at the last one before it. One that is damaged, or of another session or version, is one that is not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zlib
from bisect import bisect_right
from pathlib import Path
from typing import Any

import zstandard

from sessions.session import Session

FOLDER = "states"

INTERVAL = 1 << 17
"""Rows between snapshots: so many at most are gone through for the state at a moment."""

VERSION = 1
"""Of what the snapshots hold. One of another version is made anew."""

_MAGIC = b"SBSTATE1"
_LIMIT = 256 << 20  # bytes of one, unpacked


class States:
    """The snapshots of one session, by the number of rows they stand for and the run they are of.

    Where the session's folder can't be written they are kept in memory, and `problem` says so.
    """

    def __init__(self, session: Session) -> None:
        self._folder = session.path / FOLDER
        self._of = {"version": VERSION, "start_unix_ns": session.start_unix_ns,
                    "schema": session.manifest.get("schema_crc32")}  # fmt: skip
        self._in_memory: dict[tuple[int, int], bytes] = {}
        self._known: list[tuple[int, int]] = []
        self.problem = ""
        self.refresh()

    def refresh(self) -> None:
        """Look for what others have left."""
        found = set(self._in_memory)
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                rows, dot, run = path.name.partition(".")
                if dot and rows.isdecimal() and run.removeprefix("-").isdecimal():
                    found.add((int(rows), int(run)))
        self._known = sorted(found)

    def before(self, rows: int) -> list[tuple[int, int]]:
        """(rows, run) of the snapshots that stand for at most so many rows, the nearest first."""
        return self._known[: bisect_right(self._known, (rows, 1 << 62))][::-1]

    def __contains__(self, place: tuple[int, int]) -> bool:
        return place in self._known

    def put(self, rows: int, run: int, state: dict[str, Any]) -> None:
        """Keep one; `state` is plain JSON."""
        packed = zstandard.ZstdCompressor(1).compress(json.dumps({**self._of, "state": state}).encode())
        data = _MAGIC + zlib.crc32(packed).to_bytes(4, "little") + packed
        try:
            self._write(f"{rows}.{run}", data)
        except OSError as error:
            self.problem = f"{self._folder}: {error.strerror}; states are kept in memory"
            self._in_memory[rows, run] = data
        if (rows, run) not in self._known:
            self._known = sorted([*self._known, (rows, run)])

    def get(self, rows: int, run: int) -> dict[str, Any] | None:
        """What was kept; None when it can't be used."""
        data = self._in_memory.get((rows, run))
        try:
            if data is None:
                data = (self._folder / f"{rows}.{run}").read_bytes()
            if data[:8] != _MAGIC or zlib.crc32(data[12:]).to_bytes(4, "little") != data[8:12]:
                raise ValueError("damaged")
            text = zstandard.ZstdDecompressor().decompress(data[12:], max_output_size=_LIMIT)
            whole = json.loads(text)
            state = whole.pop("state")
            if whole == self._of and isinstance(state, dict):
                return state
        except (OSError, ValueError, KeyError, AttributeError, RecursionError, zstandard.ZstdError):
            pass
        self.forget(rows, run)
        return None

    def forget(self, rows: int, run: int) -> None:
        """One is of no use: it is made anew when it is needed."""
        if (rows, run) in self._known:
            self._known.remove((rows, run))

    def _write(self, name: str, data: bytes) -> None:
        self._folder.mkdir(exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=self._folder, prefix=".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(scratch).replace(self._folder / name)
        except OSError:
            Path(scratch).unlink(missing_ok=True)
            raise
