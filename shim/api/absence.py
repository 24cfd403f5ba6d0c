"""What follows when a name is not answered, from absence.toml, per version of the runtime."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]


def absence_rows(annotations: Json) -> dict[str, list[Json]]:
    """Name -> its rows. A row without `version` counts for every version of the name."""
    rows: dict[str, list[Json]] = {}
    for entry in annotations.get("effect", []):
        for name in entry["names"]:
            row = {key: value for key, value in entry.items() if key != "names"}
            rows.setdefault(name, []).append({"error": None, **row})
    return rows


def private_names(annotations: Json, functions: Json, ladders: Json) -> list[str]:
    """Names that runtimes ask for and the headers lack."""
    known = set(functions) | set(ladders)
    return sorted({name for entry in annotations.get("effect", []) for name in entry["names"]} - known)
