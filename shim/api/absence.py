"""What follows when a name is not answered, from absence.toml, per version of the runtime."""

from __future__ import annotations

from typing import Any

from shim.api.annotate import Annotations

Json = dict[str, Any]

KEYS = {"runtime", "effect", "error", "source", "version", "per_thread", "how"}


def absence_rows(annotations: Json) -> dict[str, list[Json]]:
    """Name -> its rows; the first that fits a request counts. Every name that is asked has one.

    Rows: runtime "first-last", effect, error or None, source, and where the row counts only for
    some requests: version, per_thread, how.
    """
    rows: dict[str, list[Json]] = {}
    for entry in annotations["effect"]:
        for name in entry["names"]:
            row = {key: value for key, value in entry.items() if key in KEYS}
            rows.setdefault(name, []).append({"error": None, **row})
    last = annotations["runtimes"].split("-")[1]
    for entry in annotations["asked"]:
        since = entry["since"]
        untried = since in annotations["untried"]
        rest = {
            "runtime": f"{since}-{last}",
            "effect": "unknown" if untried else "harmless",
            "error": None,
            "source": "asked for; not tried without" if untried else "facts 4c: not missed when unresolvable",
        }
        for name in entry["names"]:
            if not any(_counts_always(row) for row in rows.get(name, [])):
                rows.setdefault(name, []).append(rest)
    return rows


def _counts_always(row: Json) -> bool:
    return not row.keys() & {"version", "per_thread", "how"}


def private_names(annotations: Annotations, known: set[str]) -> list[str]:
    """Names that are asked for and the headers lack."""
    asked = {name for entry in annotations.absence["asked"] for name in entry["names"]}
    return sorted((asked | set(annotations.private)) - known)
