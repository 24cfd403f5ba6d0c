"""The processes of a session, put together from its events."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from sessions.events import Event


@dataclass(frozen=True, slots=True)
class Mapping:
    """A driver or runtime library a process really mapped."""

    path: str
    soname: str
    build_id: str


@dataclass(frozen=True, slots=True)
class Module:
    """A mapped file: `start` is where its offset 0 lies, `end` is behind its last page."""

    path: str
    start: int
    end: int


@dataclass(slots=True)
class Process:
    """One process image; an exec makes another with the same pid. Times in ns of the session."""

    index: int
    pid: int = 0
    ppid: int = 0
    exe: str = ""
    argv: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = ""
    run: int = 0
    role: str = ""
    started_ns: int = 0
    ended_ns: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    maps: list[Mapping] = field(default_factory=list)
    parent_index: int = -1
    lost: int = 0
    modules: list[Module] = field(default_factory=list)  # by address; unloaded ones too, till mapped over
    registered: bool = False  # its tap has spoken to the collector
    unrecorded: str = ""  # why its calls are not recorded
    advice: str = ""  # what to do that they are; may be empty
    unrecorded_children: int = 0  # forked, and unable to register
    ended_for: str = ""  # why the workbench ended it; "" when it ended by itself

    def module_at(self, address: int) -> Module | None:
        """The mapped file an address lies in."""
        place = bisect_right(self.modules, address, key=lambda module: module.start) - 1
        if place >= 0 and address < self.modules[place].end:
            return self.modules[place]
        return None

    def caller_name(self, address: int) -> str:
        """`libcudart.so.13+0x1234`, or the bare address when it lies in no file."""
        module = self.module_at(address)
        if module is None:
            return f"0x{address:x}"
        return f"{PurePosixPath(module.path).name}+0x{address - module.start:x}"


def _put_over(before: list[Module], modules: list[Module]) -> list[Module]:
    """Modules by address: the new ones, and those from before that none of the new ones overlaps."""
    latest = sorted(modules, key=lambda module: module.start)
    kept = []
    for module in before:
        place = bisect_right(latest, module.start, key=lambda other: other.start)
        below = latest[place - 1] if place else None
        above = latest[place] if place < len(latest) else None
        if (below is None or below.end <= module.start) and (above is None or above.start >= module.end):
            kept.append(module)
    return sorted(kept + latest, key=lambda module: module.start)


_STOPS = (9, 15)  # by which the workbench ends what it ends

_PLAIN = ("pid", "ppid", "exe", "argv", "env", "cwd", "run", "role", "registered")


class Processes:
    """Builds the list from events as they come."""

    def __init__(self) -> None:
        self.list: list[Process] = []
        self._lost: dict[tuple[int, str], int] = {}
        self.lost_lines = 0
        """log lines that the writer could not keep"""
        self._run = -1
        self._stopping: dict[int, str] = {}  # runs whose end has begun, and why

    @property
    def newest_run(self) -> int:
        """The number of the newest run, be it without a process yet; -1 before the first."""
        return max(self._run, max((p.run for p in self.list if p.role == "target"), default=-1))

    @property
    def lost(self) -> int:
        """Calls that were not recorded, in all processes and in the writer."""
        return sum(self._lost.values())

    def lost_to(self, why: str) -> int:
        """Of these, those lost for one reason: `ring` or `disk`."""
        return sum(count for (_, reason), count in self._lost.items() if reason == why)

    def add(self, event: Event) -> None:
        """Take an event in; ValueError when it makes no sense. Those not about processes do nothing."""
        fields = event.fields
        if event.kind == "lost":
            self._add_lost(fields)
            return
        if event.kind == "run-stopping":
            self._stopping[int(fields.get("run", -1))] = str(fields.get("reason", ""))
        if event.kind == "run" and "run" in fields:
            self._run = max(self._run, int(fields["run"]))
        if event.kind not in ("process", "exit", "exec", "modules", "maps", "unrecorded"):
            return
        if event.kind == "unrecorded" and "index" not in fields:
            self._add_refused_children(fields)
            return
        process = self._process(int(fields["index"]), event)
        if event.kind == "process":
            for name in _PLAIN:
                if name in fields:
                    setattr(process, name, fields[name])
            process.parent_index = fields.get("parent", process.parent_index)
            if process.registered:
                process.unrecorded = process.advice = ""
        elif event.kind == "unrecorded":
            process.unrecorded = str(fields.get("why", ""))
            process.advice = str(fields.get("advice", ""))
        elif event.kind == "exec":
            process.ended_ns = event.time_ns
        elif event.kind == "exit":
            process.ended_ns = event.time_ns
            process.exit_code = fields.get("exit_code")
            process.signal = fields.get("signal")
            if process.signal in _STOPS or process.exit_code:
                process.ended_for = self._stopping.get(process.run, "")
        elif event.kind == "modules":
            modules = [Module(str(path), int(start), int(end)) for path, start, end in fields["modules"]]
            process.modules = _put_over(process.modules, modules)
        else:
            process.maps = [
                Mapping(row["path"], row.get("soname", ""), row.get("build_id", "")) for row in fields["maps"]
            ]

    def _process(self, index: int, event: Event) -> Process:
        if not 0 <= index <= len(self.list):
            raise ValueError(f"process {index} before process {len(self.list)}")
        if index == len(self.list):
            if event.kind != "process":
                raise ValueError(f"{event.kind} of process {index}, which is not known")
            self.list.append(Process(index=index, started_ns=event.time_ns))
        return self.list[index]

    def _add_refused_children(self, fields: dict[str, Any]) -> None:
        index = int(fields.get("parent", -1))
        if 0 <= index < len(self.list):
            parent = self.list[index]
            parent.unrecorded_children += int(fields.get("count", 1))
            count, why = parent.unrecorded_children, fields.get("why", "")
            parent.unrecorded = f"{count} of its forked children: {why}"
            parent.advice = str(fields.get("advice", ""))

    def _add_lost(self, fields: dict[str, Any]) -> None:
        index = int(fields.get("process", -1))
        self._lost[(index, str(fields.get("why", "")))] = int(fields["count"])
        self.lost_lines = max(self.lost_lines, int(fields.get("lines", 0)))
        if 0 <= index < len(self.list):
            self.list[index].lost = sum(count for (of, _), count in self._lost.items() if of == index)
