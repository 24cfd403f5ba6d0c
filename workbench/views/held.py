"""What the processes of a run hold on the device: memory, contexts, streams, modules, kernels, graphs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Allocation:
    """Memory somebody asked for. `kind`: device, managed, host (pinned), physical (cuMemCreate)."""

    address: int  #: or the handle, of physical memory
    size: int  #: bytes
    kind: str
    owner: str  #: library of the caller
    call: int  #: number of the call that made it, as displayed
    mapped: int = 0  #: physical: how often it is mapped
    released: bool = False  #: physical: its handle is gone, its mappings hold it


@dataclass
class Context:
    """A context; `call` is the number of the call that made it."""

    handle: int
    device: int
    primary: bool
    retained: int  #: how often a primary context is held
    call: int


@dataclass
class Made:
    """A stream, event, module, graph or executable graph; `call` is the number of the call that made it."""

    handle: int
    kind: str
    call: int
    detail: str = ""


@dataclass
class Kernel:
    """A function of a module by its handle, with how often it was launched."""

    handle: int
    name: str
    launches: int


@dataclass
class ProcessDevice:
    """What one process holds."""

    process: int
    contexts: dict[int, Context] = field(default_factory=dict)
    held: dict[int, Allocation] = field(default_factory=dict)  #: by address
    streams: dict[int, Made] = field(default_factory=dict)
    events: dict[int, Made] = field(default_factory=dict)
    modules: dict[int, Made] = field(default_factory=dict)
    graphs: dict[int, Made] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)  #: kernel handle -> name
    launches: dict[int, int] = field(default_factory=dict)  #: kernel handle -> count
    graph_launches: dict[int, int] = field(default_factory=dict)  #: executable graph -> count
    memory_total: int = 0  #: bytes, as the process was told last; 0: it did not ask
    memory_free: int | None = None  #: bytes, as the process was told last
    ended: bool = False
    changed_ns: int = 0  #: when it last took or gave back memory
    mappings: dict[int, tuple[int, int]] = field(default_factory=dict)  # address -> size, handle

    @property
    def allocations(self) -> list[Allocation]:
        """What it holds, the largest first."""
        return sorted(self.held.values(), key=lambda allocation: -allocation.size)

    @property
    def memory_used(self) -> int:
        """Bytes of device memory it holds by its own calls."""
        return sum(a.size for a in self.held.values() if a.kind != "host")

    @property
    def pinned(self) -> int:
        """Bytes of pinned host memory."""
        return sum(a.size for a in self.held.values() if a.kind == "host")

    @property
    def kernels(self) -> list[Kernel]:
        """Kernels by number of launches, most first. Handles of one name are one kernel."""
        by_name: dict[str, Kernel] = {}
        for handle, count in self.launches.items():
            name = self.names.get(handle, f"0x{handle:x}")
            known = by_name.setdefault(name, Kernel(handle, name, 0))
            known.launches += count
        return sorted(by_name.values(), key=lambda kernel: (-kernel.launches, kernel.name))

    def as_json(self) -> dict[str, Any]:
        """All of it as lists and numbers, for from_json()."""
        saved: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        for name in _MADE_OF:
            saved[name] = [list(vars(made).values()) for made in getattr(self, name).values()]
        for name in _TABLES:
            saved[name] = list(getattr(self, name).items())
        return saved

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> ProcessDevice:
        """The mirror of as_json(). KeyError, TypeError or ValueError when it is nothing of the kind."""
        device = cls(**{name: saved[name] for name in _PLAIN})
        for name, kind in _MADE_OF.items():
            made = [kind(*values) for values in saved[name]]
            setattr(device, name, {_key(each): each for each in made})
        for name in _TABLES:
            setattr(device, name, {key: tuple(value) if isinstance(value, list) else value
                                   for key, value in saved[name]})  # fmt: skip
        return device


def _key(made: Allocation | Context | Made) -> int:
    return made.address if isinstance(made, Allocation) else made.handle


_PLAIN = ("process", "memory_total", "memory_free", "ended", "changed_ns")
_MADE_OF: dict[str, type[Allocation] | type[Context] | type[Made]] = {
    "contexts": Context, "held": Allocation, "streams": Made, "events": Made, "modules": Made, "graphs": Made,
}  # fmt: skip
_TABLES = ("names", "launches", "graph_launches", "mappings")
