"""Pictures of the workbench's panes on a session, as SVG that needs no network."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessions import Session

_PICTURES = (
    ("2", (120, 40), "First screen"),
    ("3", (80, 24), "Device"),
    ("6", (80, 24), "Processes"),
)
"""Key, columns and rows, and what the picture is called: a small terminal shows one pane, for phones."""

_PATIENCE = 30.0
"""seconds until a picture is taken of what is on the screen by then"""

_FONT_FACE = re.compile(r"@font-face\s*\{[^}]*\}")


def take(session: Session) -> list[tuple[str, str]]:
    """(title, SVG) of the panes people look at first."""
    return asyncio.run(_take(session))


async def _take(session: Session) -> list[tuple[str, str]]:
    from workbench.app import ShimbenchApp

    app = ShimbenchApp(loop=None, session=session)
    pictures = []
    async with app.run_test(size=_PICTURES[0][1]) as pilot:
        for key, size, title in _PICTURES:
            await pilot.resize_terminal(*size)
            await pilot.press(key)
            with contextlib.suppress(TimeoutError):  # of a damaged session not all can be shown
                async with asyncio.timeout(_PATIENCE):
                    while not app.settled:
                        await pilot.pause(0.05)
            await pilot.pause()
            pictures.append((title, _FONT_FACE.sub("", app.export_screenshot(title="shimbench"))))
    return pictures
