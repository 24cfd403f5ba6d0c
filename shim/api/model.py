"""The API model for Python users: `load_model(path)` reads model.json into typed rows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Param:
    """A parameter, and what it points to."""

    name: str
    type: str  #: as C spells it
    kind: str  #: int uint float enum handle pointer string struct function
    size: int  #: bytes of the parameter itself
    direction: str  #: in out inout
    pointee: str | None
    pointee_kind: str | None
    pointee_size: int  #: bytes; 0 when not known
    length: int | str | None  #: elements pointed to: a number, or an expression over parameter names
    depth: int  #: of pointers
    enum: str | None
    struct: str | None


@dataclass(frozen=True)
class Function:
    """An exported function."""

    id: int
    name: str
    library: str  #: "cuda" or "nvml"
    base: str  #: its name without _v2 and _ptsz
    version: int  #: the API version that brought this entry point, such as 3020
    per_thread: bool
    headers: tuple[int, ...]  #: the API versions of the headers that declare it
    result: str  #: the C type of what it returns
    params: tuple[Param, ...]
    performed: bool | None  #: whether our shim really performs it


@dataclass(frozen=True)
class Rung:
    """One step of a name's version ladder."""

    version: int
    per_thread: bool
    export: str


@dataclass(frozen=True)
class Absence:
    """What follows when a name is not answered to the runtimes `runtime` names ("12.4-13.5")."""

    runtime: str
    effect: str  #: fatal-at-init fatal-later harmless unknown
    error: int | None  #: the cudaError the consumer sees
    source: str
    version: int | None = None  #: counts only for requests of this version
    per_thread: bool | None = None  #: counts only for the per-thread entry point, or only for the other
    how: str | None = None  #: counts only for lookups of this kind: "dlsym", "proc-address"


@dataclass(frozen=True)
class Table:
    """A private table behind cuGetExportTable."""

    uuid: str
    name: str
    size_word: bool
    hashed: tuple[int | str, ...]
    called: tuple[int, ...]
    required: str


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    kind: str
    offset: int
    size: int
    count: int
    enum: str | None = None
    struct: str | None = None
    bits: int = 0
    first_bit: int = 0


@dataclass(frozen=True)
class Struct:
    name: str
    size: int
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Model:
    """Everything in model.json."""

    hash: str
    sources: tuple[dict[str, Any], ...]
    functions: tuple[Function, ...]
    enums: dict[str, dict[str, int]]
    structs: dict[str, Struct]
    typedefs: dict[str, str]
    ladders: dict[str, tuple[Rung, ...]]
    absence: dict[str, tuple[Absence, ...]]
    private_names: frozenset[str]
    tables: dict[str, Table]
    by_name: dict[str, Function] = field(repr=False, compare=False, default_factory=dict)

    def resolve_proc_address(self, name: str, version: int, per_thread: bool = False) -> str | None:
        """The export that answers cuGetProcAddress(name, version); None when there is none.

        As the driver does: the newest entry point that is not newer than the version asked for, the
        per-thread one if it is asked for and there is one.
        """
        rungs = [rung for rung in self.ladders.get(name, ()) if rung.version <= version]
        matching = [rung for rung in rungs if rung.per_thread] if per_thread else []
        matching = matching or [rung for rung in rungs if not rung.per_thread]
        return max(matching, key=lambda rung: rung.version).export if matching else None

    @cached_property
    def exports(self) -> dict[str, frozenset[str]]:
        """The names each library must export, by library."""
        libraries = {function.library for function in self.functions}
        return {
            library: frozenset(f.name for f in self.functions if f.library == library)
            for library in libraries
        }


def load_model(path: Path) -> Model:
    """Read model.json; ValueError when it is of another format."""
    data = json.loads(path.read_text())
    if data.get("format") != 1:
        raise ValueError(f"{path}: model format {data.get('format')}, this shimbench reads 1: rebuild it")
    functions = tuple(
        Function(
            **{
                **row,
                "headers": tuple(row["headers"]),
                "params": tuple(Param(**param) for param in row["params"]),
            }
        )
        for row in data["functions"]
    )
    return Model(
        hash=data["hash"],
        sources=tuple(data["sources"]),
        functions=functions,
        enums=data["enums"],
        structs={
            name: Struct(name, value["size"], tuple(Field(**member) for member in value["fields"]))
            for name, value in data["structs"].items()
        },
        typedefs=data["typedefs"],
        ladders={name: tuple(Rung(**rung) for rung in rungs) for name, rungs in data["ladders"].items()},
        absence={name: tuple(Absence(**row) for row in rows) for name, rows in data["absence"].items()},
        private_names=frozenset(data["private_names"]),
        tables={
            uuid: Table(
                uuid,
                table["name"],
                table["size_word"],
                tuple(table["hashed"]),
                tuple(table["called"]),
                table["required"],
            )
            for uuid, table in data["tables"].items()
        },
        by_name={function.name: function for function in functions},
    )
