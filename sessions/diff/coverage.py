"""What a run wanted of the driver: names, export tables, slots of these; and which of them it did not get."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

import numpy as np

from sessions.blobs import Item
from sessions.diff.sides import Side, Thread
from sessions.format import ItemKind, Pseudo

_LOOKUPS = (int(Pseudo.DLSYM), int(Pseudo.DLVSYM))
_OURS = (b"cu", b"nv")


@dataclass(frozen=True)
class Wants:
    """`cuInit`, `table 6bd5fb6c`, `slot d4082055[3]`. `missing`: asked for and never answered; `versions`: of
    each name, of which CUDA it was asked for, as 12080: another version may be another variant of it."""

    asked: frozenset[str]
    missing: frozenset[str]
    versions: Mapping[str, frozenset[int]]

    @classmethod
    def of(cls, side: Side) -> Wants:
        """Of a run, in all of its processes."""
        schema = side.session.schema
        asking = {
            number
            for number, function in schema.functions.items()
            if function.name.startswith(("cuGetProcAddress", "cuGetExportTable"))
        }
        answered: dict[str, bool] = {}
        versions: dict[str, set[int]] = {}
        slots: set[str] = set()
        for member in side.members:
            for thread in member.threads:
                for name, got, version in _lookups(side, thread, asking):
                    answered[name] = answered.get(name, False) or got
                    if version:
                        versions.setdefault(name, set()).add(version)
                slots |= set(_slots(side, thread))
        missing = {name for name, got in answered.items() if not got}
        known = {name: frozenset(each) for name, each in versions.items()}
        return cls(frozenset(answered) | frozenset(slots), frozenset(missing), known)

    def asked_beyond(self, other: Wants) -> list[str]:
        """What `other` did not ask for: names, and of those that it did `cuCtxGetDevice as of CUDA 13.0`."""
        beyond = set(self.asked - other.asked)
        for name, versions in self.versions.items():
            if name in other.versions:
                beyond |= {f"{name} as of CUDA {_spelt(each)}" for each in versions - other.versions[name]}
        return sorted(beyond)


def _spelt(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def only(a: Set[str], b: Set[str]) -> tuple[list[str], list[str]]:
    """What is in one of them alone."""
    return sorted(a - b), sorted(b - a)


def _lookups(side: Side, thread: Thread, asking: set[int]) -> Iterator[tuple[str, bool, int]]:
    """Each different request, whether something came back, and the CUDA version that it names or 0."""
    columns = thread.columns
    mask = np.isin(columns["function"], [*_LOOKUPS, *asking])
    named = ("function", "payload", "result", "arg2")
    requests = zip(*(columns[name][mask].tolist() for name in named), strict=True)
    for function, payload, result, third in set(requests):
        items = side.session.calls.payload_of(payload)
        got = result != 0 if function in _LOOKUPS else result == 0 and _resolved(items)
        for item in items:
            if item.kind == ItemKind.STRING and item.index in (0, 1) and item.data.startswith(_OURS):
                yield item.data.decode("utf-8", "backslashreplace"), got, 0 if function in _LOOKUPS else third
            elif item.kind == ItemKind.TABLE:
                yield f"table {item.data.hex()[:8]}", got, 0


def _resolved(items: list[Item]) -> bool:
    """Whether an answer that was recorded is an address; one that wasn't is believed."""
    return all(any(item.data[8:16]) for item in items if item.kind == ItemKind.RESOLVED)


def _slots(side: Side, thread: Thread) -> Iterator[str]:
    """Slots of export tables that were called."""
    columns = thread.columns
    mask = columns["function"] == Pseudo.TABLE_SLOT
    for payload, slot in set(
        zip(columns["payload"][mask].tolist(), columns["arg0"][mask].tolist(), strict=True)
    ):
        for item in side.session.calls.payload_of(payload):
            if item.kind == ItemKind.TABLE:
                yield f"slot {item.data.hex()[:8]}[{slot}]"
