"""How long Ollama lets its processes take (facts/ollama.md). `limit_of` is all that others need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessions import Process, Session

DISCOVERY, VALIDATION, PROBE, REFRESH, LOAD = 30.0, 30.0, 15.0, 3.0, 300.0
PER_PROCESS = 0.8
"""Seconds in which a process may load and start the shim, so that the three of a refresh keep to 3 s."""


@dataclass(frozen=True)
class Limit:
    """`seconds` from `began_ns` on; `ended_ns` is None as long as it runs."""

    name: str
    seconds: float
    began_ns: int
    ended_ns: int | None

    def used(self, now_ns: int) -> float:
        """Seconds used up so far, or in all."""
        return max(0, (now_ns if self.ended_ns is None else self.ended_ns) - self.began_ns) / 1e9


def is_ollama(command: list[str]) -> bool:
    """Whether these words run ollama itself."""
    return bool(command) and PurePosixPath(command[0]).name == "ollama"


def limit_of(session: Session, process: Process) -> Limit | None:
    """The limit a process of Ollama stands under; None for any other program."""
    words = process.argv
    program = PurePosixPath(words[0]).name if words else ""
    if program not in ("llama-server", "ollama") or not _under_ollama(session, process):
        return None
    if "--model" in words:
        name, seconds = "model load", LOAD
    elif "gpu-discover" in words:
        name, seconds = "gpu-discover", PROBE
    elif program == "ollama" and "runner" not in words:
        return None
    elif process.env.get("GGML_CUDA_INIT"):
        name, seconds = "validation", VALIDATION
    elif _serves(session, process):
        name, seconds = "refresh", REFRESH
    else:
        name, seconds = "discovery", DISCOVERY
    began = process.started_ns
    if name in ("validation", "refresh", "discovery"):
        began = min(each.started_ns for each in _pass(session, process))
    return Limit(name, seconds, began, process.ended_ns)


def newest_limit(session: Session, run: int) -> Limit | None:
    """The limit that runs now, else None; of several the one that is nearest to its end."""
    alive = [p for p in session.processes if p.run == run and p.role == "target" and p.ended_ns is None]
    limits = [limit for process in alive if (limit := limit_of(session, process)) is not None]
    return min(limits, key=lambda limit: limit.began_ns + limit.seconds * 1e9, default=None)


def _under_ollama(session: Session, process: Process) -> bool:
    parent = process.parent_index
    return 0 <= parent < len(session.processes) and is_ollama(session.processes[parent].argv)


def _kind(process: Process) -> tuple[str, str]:
    return process.env.get("GGML_CUDA_INIT", ""), process.env.get("CUDA_VISIBLE_DEVICES", "")


def _pass(session: Session, process: Process) -> list[Process]:
    """The processes in series that belong to one pass, up to this one: same parent, same environment."""
    found = [process]
    for other in reversed(session.processes[: process.index]):
        if other.parent_index != process.parent_index:
            continue
        if _kind(other) != _kind(process) or "--model" in other.argv or len(found) == 3:
            break
        if other.argv[1:2] == process.argv[1:2]:
            break  # the same step again: of the pass before
        found.append(other)
    return found


def _serves(session: Session, process: Process) -> bool:
    """Whether discovery is over: a pass with a device named and not for validation."""
    return bool(process.env.get("CUDA_VISIBLE_DEVICES"))
