"""How the panes' rows of the registry are written. `run` and `reason` get the ShimbenchApp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.actions import Action

PANES = ("calls", "coverage", "device", "inspect", "build", "processes", "log", "timeline")


def _no_reason(_: Any) -> str | None:
    return None


def row(
    name: str,
    key: str,
    where: str,
    title: str,
    help: str,
    run: Callable[[Any], Any],
    reason: Callable[[Any], str | None] = _no_reason,
) -> Action:
    return Action(name=name, title=title, key=key, where=where, help=help, run=run, reason=reason)
