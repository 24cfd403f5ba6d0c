"""A pilot whose keys and clicks are obeyed when they return, however busy the machine is.

Textual's own takes a process that spends no time for one that is idle. On a busy machine it is one that is
not given any: the key is still on its way from widget to widget then, and what a test asserts is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from textual.pilot import Pilot

_TURNS = 200
"""of the event loop, far more than a key and the messages that it causes need: from one widget to the next a
message takes two or three"""


async def arrive() -> None:
    """Let what is on its way between widgets arrive. Counted in turns of the loop, so that it does not matter
    how long each of them takes."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def obey(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make all pilots of a test wait until what they did has arrived."""
    press, pause = Pilot.press, Pilot.pause

    async def pressed(pilot: Pilot[Any], *keys: str) -> None:
        for key in keys:  # each goes to what has the focus after the one before
            await press(pilot, key)
            await arrive()

    async def paused(pilot: Pilot[Any], delay: float | None = None) -> None:
        await arrive()
        await pause(pilot, delay)
        await arrive()

    done: dict[str, Callable[..., Awaitable[None]]] = {"press": pressed, "pause": paused}
    for name, method in done.items():
        monkeypatch.setattr(Pilot, name, method)
