"""The environment of an ollama.service: systemd's unit and its drop-ins, read from their files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

UNIT_DIRECTORIES = (
    "usr/lib/systemd/system",
    "lib/systemd/system",
    "usr/local/lib/systemd/system",
    "run/systemd/system",
    "etc/systemd/system",
)
"""From the weakest to the strongest, as systemd searches them."""


@dataclass
class Service:
    """What a unit and its drop-ins say together."""

    files: list[Path] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def find_service(name: str = "ollama.service", root: Path = Path("/")) -> Service | None:
    """-> None when there is no such unit below `root`."""
    service = Service()
    units = [root / place / name for place in UNIT_DIRECTORIES if (root / place / name).is_file()]
    if not units:
        return None
    _read(units[-1], service, root)
    drop_ins = {
        path.name: path
        for place in UNIT_DIRECTORIES
        for path in sorted((root / place / f"{name}.d").glob("*.conf"))
    }
    for file in sorted(drop_ins):
        _read(drop_ins[file], service, root)
    return service


def _read(path: Path, service: Service, root: Path) -> None:
    service.files.append(path)
    section = ""
    for line in _logical_lines(path.read_text(errors="replace")):
        if line.startswith("["):
            section = line.strip("[]")
            continue
        key, equals, value = line.partition("=")
        if section != "Service" or not equals:
            continue
        key, value = key.strip(), value.strip()
        if key == "ExecStart":
            service.command = shlex.split(value) if value else []
        elif key == "Environment":
            _assign(service, shlex.split(value))
        elif key == "EnvironmentFile":
            file = root / value.lstrip("-").lstrip("/")
            if file.is_file():
                service.files.append(file)
                lines = file.read_text(errors="replace").splitlines()
                _assign(service, [word for text in lines for word in shlex.split(text, comments=True)])


def _assign(service: Service, words: list[str]) -> None:
    """An empty Environment= takes back all that was said before, as systemd has it."""
    if not words:
        service.environment.clear()
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            service.environment[name] = value


def _logical_lines(text: str) -> Iterator[str]:
    """Without comments, and with continued lines joined."""
    pending = ""
    for line in text.splitlines():
        stripped = line.strip()
        if not pending and (not stripped or stripped[0] in "#;"):
            continue
        if stripped.endswith("\\"):
            pending += stripped[:-1] + " "
            continue
        yield (pending + stripped).strip()
        pending = ""
