"""Sessions made by hand, for tests: the real writer, driven through cffi.

with SessionBuilder(path, model) as builder:
    ollama = builder.process(["ollama", "serve"])
    builder.call("cuInit", process=ollama, args=(0,))
    builder.line("hello", process=ollama)
    builder.publish()                    # now a reader sees it
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from sessions import format
from sessions.blobs import Item
from sessions.session import Session
from sessions.writer import SessionWriter, pack_items


def string_item(index: int, text: str | bytes) -> Item:
    """String argument `index`."""
    data = text.encode() if isinstance(text, str) else text
    return Item(format.ItemKind.STRING, index, data, len(data))


def out_item(index: int, data: bytes) -> Item:
    """What argument `index` pointed to after the call."""
    return Item(format.ItemKind.OUT, index, data, len(data))


def args_item(values: Sequence[int]) -> Item:
    """Arguments from number 3 on."""
    data = struct.pack(f"<{len(values)}Q", *values)
    return Item(format.ItemKind.ARGS, 3, data, len(data))


def resolved_item(function: int, address: int) -> Item:
    """What cuGetProcAddress or dlsym answered."""
    data = struct.pack("<HHIQ", function, 0, 0, address)
    return Item(format.ItemKind.RESOLVED, 0, data, len(data))


class SessionBuilder:
    """Writes a session. Times are ns since its start; calls follow each other unless given one."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: Mapping[str, Any] | bytes | None = None,
        library: Path | None = None,
    ) -> None:
        """`model` is model.json, parsed or as bytes; OSError when the writer is not built or refuses."""
        self.path = Path(path)
        text = model if isinstance(model, bytes) else json.dumps(model).encode() if model else b""
        parsed = json.loads(text) if text else {}
        self._ids = {row["name"]: int(row["id"]) for row in parsed.get("functions", [])}
        self._writer = SessionWriter(self.path, text, "testing", library=library)
        self._pids: list[int] = []
        self._sequences: dict[tuple[int, int], int] = {}
        self._time = 0

    def __enter__(self) -> SessionBuilder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def function(self, name: str | int) -> int:
        """A function's number; KeyError when the model lacks it."""
        return name if isinstance(name, int) else self._ids[name]

    def process(
        self,
        argv: Sequence[str] = ("target",),
        *,
        pid: int | None = None,
        ppid: int = 1,
        exe: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        run: int = 1,
        role: str = "target",
        parent: int = -1,
        modules: Sequence[tuple[str, int, int]] = (),
        maps: Sequence[Mapping[str, str]] = (),
        time: int | None = None,
    ) -> int:
        """Another process; returns its index. `modules` are (path, start, end)."""
        index = len(self._pids)
        self._pids.append(4000 + index if pid is None else pid)
        self.event(
            "process",
            time=time,
            index=index,
            pid=self._pids[index],
            ppid=ppid,
            exe=exe or argv[0],
            argv=list(argv),
            env=dict(env or {}),
            cwd=cwd,
            run=run,
            role=role,
            parent=parent,
            registered=True,
        )
        if modules:
            self.event("modules", time=time, index=index, modules=[list(module) for module in modules])
        if maps:
            self.event("maps", time=time, index=index, maps=[dict(row) for row in maps])
        return index

    def exit(self, process: int, exit_code: int | None = 0, signal: int | None = None, **fields: Any) -> None:
        """The process ended."""
        self.event("exit", index=process, exit_code=None if signal else exit_code, signal=signal, **fields)

    def call(
        self,
        function: str | int,
        *,
        process: int = 0,
        thread: int | None = None,
        args: Sequence[int] = (),
        result: int = 0,
        items: Iterable[Item] = (),
        caller: int = 0,
        parent: int = 0,
        sequence: int | None = None,
        flags: int = 0,
        nesting: int | None = None,
        time: int | None = None,
        duration: int = 1000,
    ) -> int:
        """A completed call; returns its per-thread sequence. Arguments beyond three become an item."""
        thread = self._pids[process] if thread is None and self._pids else thread or 1
        if sequence is None:
            sequence = self._sequences.get((process, thread), 0) + 1
        self._sequences[(process, thread)] = max(sequence, self._sequences.get((process, thread), 0))
        self._time = self._time + 1500 if time is None else time
        parts = list(items)
        if len(args) > 3:
            parts.insert(0, args_item(args[3:]))
        payload = self.blob(pack_items(parts)) if parts else 0
        row = np.zeros(1, dtype=format.CALL_ROW)
        values = {
            "time": self._time,
            "duration": duration,
            "caller": caller,
            "thread": thread,
            "sequence": sequence,
            "parent": parent,
            "payload": payload,
            "result": result,
            "process": process,
            "function": self.function(function),
            "flags": flags,
            "nesting": (1 if parent else 0) if nesting is None else nesting,
        }
        values |= {f"arg{i}": value for i, value in enumerate(args[:3])}
        for name, value in values.items():
            row[name] = value
        self.calls(row)
        return sequence

    def calls(self, rows: npt.NDArray[np.void]) -> None:
        """Many calls at once, as records of sessions.format.CALL_ROW."""
        self._writer.calls(rows)

    def blob(self, data: bytes) -> int:
        """The number of this content."""
        return self._writer.blob(data)

    def line(
        self,
        text: str | bytes,
        *,
        process: int = 0,
        stream: str = "stderr",
        role: str = "target",
        torn: bool = False,
        time: int | None = None,
        piece: int = 0,
    ) -> None:
        """A line; its newline is added unless it is torn. `process` -1: none. `piece`: see SessionWriter."""
        data = text.encode() if isinstance(text, str) else text
        if not torn:
            data += b"\n"
        pid = self._pids[process] if 0 <= process < len(self._pids) else 0
        moment = self._time if time is None else time
        self._writer.line(moment, pid, process, stream, role, data, torn, piece=piece)

    def event(self, kind: str, /, *, time: int | None = None, **fields: Any) -> None:
        """An event; fields are JSON."""
        self._writer.event(self._time if time is None else time, kind, fields)

    def in_flight(
        self,
        function: str | int | None,
        *,
        process: int = 0,
        thread: int | None = None,
        args: Sequence[int] = (),
        started: int | None = None,
        age: int = 0,
        parent: int = 0,
        caller: int = 0,
        sequence: int = 1,
    ) -> None:
        """One call under way, started `age` ns before now; None: no call is."""
        rows = np.zeros(0 if function is None else 1, dtype=format.IN_FLIGHT_ROW)
        started = self._time if started is None else started
        if function is not None:
            row = rows[0]
            row["started"], row["caller"], row["sequence"], row["parent"] = started, caller, sequence, parent
            row["args"][: len(args)] = list(args)[:4]
            row["thread"] = self._pids[process] if thread is None else thread
            row["process"], row["function"] = process, self.function(function)
        self._writer.in_flight(started + age, rows)

    def publish(self) -> None:
        """Make visible what was added so far."""
        self._writer.publish()

    def open(self) -> Session:
        """Publish and open it for reading."""
        self.publish()
        return Session(self.path)

    def abandon(self) -> None:
        """Leave it as a killed writer would."""
        self._writer.publish()
        self._writer.close(finish=False)

    def finish(self) -> None:
        """Seal it; does nothing the second time."""
        self._writer.close()
