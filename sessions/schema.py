"""The API model a session carries: names and types of functions, parameters and enums."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from sessions.errors import SessionError
from sessions.format import Pseudo

_PSEUDO_NAMES = {
    Pseudo.DLSYM: "dlsym",
    Pseudo.DLVSYM: "dlvsym",
    Pseudo.DLOPEN: "dlopen",
    Pseudo.LOAD: "load of the shim",
    Pseudo.TABLE_SLOT: "export table slot",
    Pseudo.UNKNOWN: "unknown export",
}


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter, as model.json describes it; sizes in bytes."""

    name: str
    type: str = ""
    kind: str = "uint"
    size: int = 8
    direction: str = "in"
    pointee: str = ""
    pointee_kind: str = ""
    pointee_size: int = 0
    length: int | str | None = None
    depth: int = 0
    enum: str | None = None


@dataclass(frozen=True, slots=True)
class Function:
    """An entry point of the model."""

    id: int
    name: str
    library: str = ""
    base: str = ""
    version: int = 0
    per_thread: bool = False
    result: str = ""
    params: tuple[Param, ...] = ()
    performed: bool | None = None


_PARAM_FIELDS = frozenset(Param.__slots__)


@dataclass(frozen=True)
class Schema:
    """`functions` by id; `model` is all of model.json, for what has no attribute here."""

    hash: str
    functions: dict[int, Function]
    enums: dict[str, dict[str, int]]
    structs: dict[str, Any]
    model: dict[str, Any] = field(repr=False)
    _ids: dict[str, int] = field(repr=False)
    _enum_names: dict[str, dict[int, str]] = field(repr=False)

    @classmethod
    def from_json(cls, text: bytes, where: str) -> Schema:
        """Parse model.json; SessionError naming `where` when it is none."""
        try:
            model = json.loads(text)
            functions = {}
            for row in model.get("functions", []):
                params = tuple(
                    Param(
                        **{
                            key: value
                            for key, value in param.items()
                            if key in _PARAM_FIELDS and value is not None
                        }
                    )
                    for param in row.get("params", [])
                )
                functions[int(row["id"])] = Function(
                    id=int(row["id"]),
                    name=row["name"],
                    library=row.get("library", ""),
                    base=row.get("base", row["name"]),
                    version=row.get("version", 0),
                    per_thread=row.get("per_thread", False),
                    result=row.get("result", ""),
                    params=params,
                    performed=row.get("performed"),
                )
            enums = model.get("enums", {})
            names: dict[str, dict[int, str]] = {}
            for enum, members in enums.items():
                for name, value in members.items():
                    names.setdefault(enum, {}).setdefault(value, name)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SessionError(f"{where}: no API model: {error!r}") from error
        ids = {function.name: number for number, function in functions.items()}
        return cls(
            hash=str(model.get("hash", "")),
            functions=functions,
            enums=enums,
            structs=model.get("structs", {}),
            model=model,
            _ids=ids,
            _enum_names=names,
        )

    def function_id(self, name: str) -> int | None:
        """The number of an entry point by its exported name, None when the model lacks it."""
        return self._ids.get(name)

    def function_name(self, number: int) -> str:
        """A name to show, also for what is no function of the model."""
        function = self.functions.get(number)
        if function is not None:
            return function.name
        if number in _PSEUDO_NAMES:
            return _PSEUDO_NAMES[Pseudo(number)]
        return f"function {number}"

    def enum_name(self, enum: str, value: int) -> str | None:
        """The name of an enum's value, the first declared when several are equal."""
        return self._enum_names.get(enum, {}).get(value)
