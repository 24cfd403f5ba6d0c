"""Every action is a named command: keys, palette, help screen and scripts read the same rows.

This module holds the rows of the loop; panes add theirs to the registry they build from both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

GLOBAL = "global"


def _always(context: Any) -> str | None:
    return None


@dataclass(frozen=True)
class Action:
    """One row. `run` and `reason` get a context with `.loop` (None for a saved session) and `.session`."""

    name: str
    """what a script or `:` says: relaunch"""
    title: str
    """a few words for the palette"""
    key: str
    """as Textual writes keys; "" for none"""
    where: str
    """GLOBAL, or the name of the pane in which the key means this"""
    help: str
    """a sentence for the help screen"""
    run: Callable[[Any], Any]
    """may return an awaitable"""
    reason: Callable[[Any], str | None] = _always
    """why it can't be done now; None when it can"""


class Registry:
    """Rows by name and by key. Two rows with one name, or one key in one place, are a mistake."""

    def __init__(self, actions: Iterable[Action] = ()) -> None:
        self._by_name: dict[str, Action] = {}
        self._by_key: dict[tuple[str, str], Action] = {}
        for action in actions:
            self.add(action)

    def add(self, action: Action) -> None:
        """Raises ValueError when the name or the key is taken."""
        if action.name in self._by_name:
            raise ValueError(f"two actions are named {action.name}")
        if action.key:
            taken = self._by_key.setdefault((action.where, action.key), action)
            if taken is not action:
                raise ValueError(f"{action.key} in {action.where} is both {taken.name} and {action.name}")
        self._by_name[action.name] = action

    def get(self, name: str) -> Action:
        """Raises KeyError."""
        return self._by_name[name]

    def for_key(self, key: str, where: str) -> Action | None:
        """What a key means in a pane: its own row, else the global one."""
        return self._by_key.get((where, key)) or self._by_key.get((GLOBAL, key))

    def all(self, where: str | None = None) -> Iterator[Action]:
        """The rows in the order they were added, of one place if asked."""
        return (action for action in self._by_name.values() if where in (None, action.where))

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __len__(self) -> int:
        return len(self._by_name)


def _needs_loop(context: Any) -> str | None:
    return None if context.loop is not None else "this is a saved session: nothing runs"


def _needs_build(context: Any) -> str | None:
    if context.loop is not None and context.loop.config.shim.build is None:
        return "shimbench.toml names no [shim] build command"
    return _needs_loop(context)


def _needs_running(context: Any) -> str | None:
    if context.loop is not None and context.loop.status.target.state != "running":
        return "the target is not running"
    return _needs_loop(context)


def loop_actions() -> tuple[Action, ...]:
    """The rows that act on the loop."""
    return (
        Action(
            "relaunch",
            "Relaunch the target",
            "r",
            GLOBAL,
            "Stop the target and start it again under the newest good build, as a new run.",
            lambda context: context.loop.relaunch("asked for"),
            _needs_loop,
        ),
        Action(
            "rebuild",
            "Build again and relaunch",
            "R",
            GLOBAL,
            "Run the build command; when it succeeds, relaunch.",
            lambda context: context.loop.rebuild("asked for"),
            _needs_build,
        ),
        Action(
            "top-rung",
            "Pick the top rung of the ladder",
            "t",
            GLOBAL,
            "How far the next run goes: probe, list-devices, discovery, load or tokens (all of it).",
            lambda context: context.loop.pick_top(),
            _needs_loop,
        ),
        Action(
            "stop-target",
            "Stop the target",
            "",
            GLOBAL,
            "End the target and all its processes; the workbench stays.",
            lambda context: context.loop.stop_target("asked for"),
            _needs_running,
        ),
        Action(
            "buffers",
            "Record buffers, or no more",
            "",
            GLOBAL,
            "What calls are given and fill, so that a replay has it; `:buffers 2G` bounds it (512M).",
            lambda context: context.notify(context.loop.record_buffers()),
            _needs_loop,
        ),
    )
