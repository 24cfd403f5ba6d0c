"""The CUDA runtimes that ask for names: which version one is, and what a name's absence means to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessions.schema import Schema

EFFECTS = ("fatal-at-init", "fatal-later", "unknown", "harmless")
"""From worst to best."""

_LIBRARY_MAJOR = re.compile(r"libcudart\.so\.(\d+)")


@dataclass(frozen=True)
class Verdict:
    """What a name's absence means. `reason` is where that is known from, or why it is not."""

    effect: str
    error: int | None
    reason: str


def runtime_version(newest_asked: int) -> tuple[int, int] | None:
    """The version of a runtime by the newest API version it asks for: 12090 -> (12, 9).

    A runtime asks for nothing newer than itself, and each so far asks for something of its own
    release or of the one before. None when nothing has been asked with a version.
    """
    return (newest_asked // 1000, newest_asked % 1000 // 10) if newest_asked >= 10000 else None


def library_major(library: str) -> int | None:
    """`libcudart.so.13` -> 13; None for what is not libcudart."""
    found = _LIBRARY_MAJOR.search(library)
    return int(found[1]) if found else None


def in_range(version: tuple[int, int], text: str) -> bool:
    """Whether "12.4-13.5" holds a version."""
    first, _, last = text.partition("-")
    low, high = _version(first), _version(last or first)
    return low <= version <= high


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)


class AbsenceRules:
    """The absence rows of a session's schema."""

    def __init__(self, schema: Schema) -> None:
        self._rows: Mapping[str, Sequence[Mapping[str, Any]]] = schema.model.get("absence", {})
        self._tables: Mapping[str, Mapping[str, Any]] = schema.model.get("tables", {})

    def of_name(
        self,
        names: Sequence[str],
        how: str,
        version: int,
        per_thread: bool,
        runtime: tuple[int, int] | None,
    ) -> Verdict:
        """What it means that a runtime got no answer. `names`: as asked, then what else it is called."""
        rows = next((self._rows[name] for name in names if name in self._rows), None)
        if rows is None:
            return Verdict("unknown", None, "nobody has tried what happens without it")
        fitting = [row for row in rows if _fits(row, how, version, per_thread)]
        if runtime is None:
            runtimes = {row["effect"] for row in fitting}
            if len(runtimes) == 1:
                return _verdict(fitting[0])
            return Verdict("unknown", None, "the version of the runtime that asks is not known")
        for row in fitting:
            if in_range(runtime, row["runtime"]):
                return _verdict(row)
        if not fitting:
            return Verdict("unknown", None, "nobody has tried what happens without it")
        tried = rows[0]["runtime"]
        return Verdict("unknown", None, f"runtime {runtime[0]}.{runtime[1]} is none of those tried ({tried})")

    def of_table(self, uuid: str, runtime: tuple[int, int] | None) -> Verdict:
        """What it means that a table was refused."""
        table = self._tables.get(uuid)
        if table is None:
            return Verdict("unknown", None, "a table nobody has described")
        required = table.get("required", "")
        if required and (runtime is None or in_range(runtime, required)):
            return Verdict("fatal-at-init", 500, "facts 4a")
        return Verdict("harmless", None, "facts 4a")


def _fits(row: Mapping[str, Any], how: str, version: int, per_thread: bool) -> bool:
    return (
        row.get("how") in (None, how)
        and row.get("version") in (None, version)
        and row.get("per_thread") in (None, per_thread)
    )


def _verdict(row: Mapping[str, Any]) -> Verdict:
    return Verdict(row["effect"], row.get("error"), row["source"])


class Ladders:
    """The version ladders of a session's schema."""

    def __init__(self, schema: Schema) -> None:
        self._rungs: Mapping[str, Sequence[Mapping[str, Any]]] = schema.model.get("ladders", {})

    def export_for(self, name: str, version: int, per_thread: bool) -> str | None:
        """The export that should answer cuGetProcAddress; None for a name without one."""
        rungs = [rung for rung in self._rungs.get(name, ()) if rung["version"] <= version]
        wanted = [rung for rung in rungs if rung["per_thread"]] if per_thread else []
        wanted = wanted or [rung for rung in rungs if not rung["per_thread"]]
        return max(wanted, key=lambda rung: int(rung["version"]))["export"] if wanted else None
