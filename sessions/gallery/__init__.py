"""Small real recordings of known failures: `recordings()`. Made by `./dev gallery`, opened as any session."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Recording:
    """One failure: how it was made, and what the diagnosis says of it. Fields as gallery.toml has them."""

    name: str
    title: str
    shim: str
    target: str
    runtime: str
    rule: str
    word: str
    build: dict[str, str] = field(default_factory=dict)
    seconds: float = 60.0

    @property
    def path(self) -> Path:
        """Its zip; it need not be there yet."""
        return FOLDER / f"{self.name}.zip"


def recordings() -> list[Recording]:
    """All of them, in the order of gallery.toml."""
    rows = tomllib.loads((FOLDER / "gallery.toml").read_text(encoding="utf-8"))
    return [Recording(name, **row) for name, row in rows.items()]
