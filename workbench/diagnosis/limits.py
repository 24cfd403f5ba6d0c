"""The limit of Ollama's that a process of a session stands under, and since when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.target import roles
from workbench.target.roles import PassKind, Role

if TYPE_CHECKING:
    from sessions import Process, Session

PER_PROCESS = 0.8
"""Seconds in which a process may load and start the shim, so that the three of a refresh keep to 3 s."""
_NAMES = {"bootstrap": "discovery", "validation": "validation", "refresh": "refresh", "load": "model load"}


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


def limit_of(session: Session, process: Process) -> Limit | None:
    """None for what Ollama did not start, and where it waits for ever."""
    parent = _parent(session, process)
    if parent is None or roles.role_of(parent.argv) is not Role.SERVE:
        return None
    role = roles.role_of(process.argv, parent.argv)
    if role is Role.GPU_DISCOVER:
        return _limit("gpu-discover", roles.NATIVE_PROBE, process.started_ns, process)
    if not role.discovers and role is not Role.RUNNER:
        return None
    kind: PassKind = "load" if role is Role.RUNNER else roles.pass_kind(process.env, parent.env)
    allowed = roles.limit_of(kind, parent.env)
    began = process.started_ns if kind == "load" else _began(session, process, role)
    return _limit(_NAMES[kind], allowed, began, process)


def newest_limit(session: Session, run: int, loaded_ns: Sequence[int] = ()) -> Limit | None:
    """The limit that runs now, else None; of several the one that is nearest to its end.

    `loaded_ns`: when a server said that a model is loaded, which ends the limit of its load.
    """
    alive = [p for p in session.processes if p.run == run and p.role == "target" and p.ended_ns is None]
    limits = [limit for process in alive if (limit := limit_of(session, process)) is not None]
    limits = [
        each for each in limits if each.name != _NAMES["load"] or max(loaded_ns, default=-1) < each.began_ns
    ]
    return min(limits, key=lambda limit: limit.began_ns + limit.seconds * 1e9, default=None)


def _limit(name: str, allowed: roles.Limit, began_ns: int, process: Process) -> Limit | None:
    if allowed.seconds is None:
        return None
    return Limit(name, allowed.seconds, began_ns, process.ended_ns)


def _parent(session: Session, process: Process) -> Process | None:
    at = process.parent_index
    return session.processes[at] if 0 <= at < len(session.processes) else None


def _began(session: Session, process: Process, role: Role) -> int:
    """When the pass began: its processes run in series, of one environment, each step once."""
    parent = _parent(session, process)
    parent_argv = parent.argv if parent is not None else []
    steps, began = {role}, process.started_ns
    for other in reversed(session.processes[: process.index]):
        if other.parent_index != process.parent_index or other.run != process.run:
            continue
        step = roles.role_of(other.argv, parent_argv)
        same = roles.library_folder(other.env, {}) == roles.library_folder(process.env, {})
        same = same and all(
            other.env.get(name) == process.env.get(name)
            for name in ("GGML_CUDA_INIT", "CUDA_VISIBLE_DEVICES")
        )
        if not step.discovers or step in steps or not same:
            break
        steps.add(step)
        began = other.started_ns
    return began
