"""Our annotations: what NVIDIA's headers can't say, read from TOML and laid over the declarations."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

ANNOTATIONS = Path(__file__).resolve().parent / "annotations"


class AnnotationError(Exception):
    """An annotation that means nothing; says the file and what is wrong."""


@dataclass
class PointerRule:
    """One [[rule]] of pointers.toml."""

    functions: list[str]
    params: list[str]
    effects: dict[str, Any]
    used: bool = False

    def matches(self, function: str, param: str) -> bool:
        return any(fnmatchcase(param, glob) for glob in self.params) and any(
            fnmatchcase(function, glob) for glob in self.functions
        )


@dataclass
class Annotations:
    """All annotation files."""

    rules: list[PointerRule]
    performed: list[str]
    aliases: dict[str, str]
    rungs: list[dict[str, Any]]
    private: list[str]
    tables: dict[str, dict[str, Any]]
    absence: dict[str, Any]

    def pointer_effects(self, function: str, param: str) -> dict[str, Any]:
        """What the rules say about one pointer parameter of one export."""
        effects: dict[str, Any] = {}
        for rule in self.rules:
            if rule.matches(function, param):
                rule.used = True
                effects.update(rule.effects)
        return effects


def load_annotations(directory: Path = ANNOTATIONS) -> Annotations:
    """Read every annotation file; AnnotationError says which one is wrong and how."""

    def read(name: str) -> dict[str, Any]:
        path = directory / name
        try:
            return tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise AnnotationError(f"{path}: {error}") from None

    rules = []
    for number, entry in enumerate(read("pointers.toml").get("rule", []), 1):
        unknown = set(entry) - {"functions", "params", "direction", "length", "opaque"}
        if unknown or not {"functions", "params"} <= set(entry):
            raise AnnotationError(f"pointers.toml: rule {number} has keys {sorted(entry)}")
        if entry.get("direction", "in") not in ("in", "out", "inout"):
            raise AnnotationError(f"pointers.toml: rule {number}: direction {entry['direction']!r}")
        effects = {key: entry[key] for key in ("direction", "length", "opaque") if key in entry}
        rules.append(PointerRule(entry["functions"], entry["params"], effects))
    performed = read("performed.toml").get("performed", [])
    repeated = sorted({name for name in performed if performed.count(name) > 1})
    if repeated:
        raise AnnotationError(f"performed.toml: listed twice: {', '.join(repeated)}")
    ladders = read("ladders.toml")
    return Annotations(
        rules=rules,
        performed=performed,
        aliases=ladders.get("aliases", {}),
        rungs=ladders.get("rung", []),
        private=ladders.get("private", {}).get("exports", []),
        tables=read("tables.toml"),
        absence=read("absence.toml"),
    )
