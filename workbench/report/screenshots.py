"""Pictures of the workbench's panes on a session, as SVG that needs no network."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessions import Session

_SIZE = (120, 40)
_PATIENCE = 30.0
"""seconds until a picture is taken of what is on the screen by then"""
_PANES = (("2", "First screen"), ("3", "Device"), ("6", "Processes"))
"""key -> what the picture is called"""

_FONT_FACE = re.compile(r"@font-face\s*\{[^}]*\}")


def take(session: Session) -> list[tuple[str, str]]:
    """(title, SVG) of the panes people look at first."""
    return asyncio.run(_take(session))


async def _take(session: Session) -> list[tuple[str, str]]:
    from workbench.app import ShimbenchApp

    app = ShimbenchApp(loop=None, session=session)
    pictures = []
    async with app.run_test(size=_SIZE) as pilot:
        for key, title in _PANES:
            await pilot.press(key)
            with contextlib.suppress(TimeoutError):  # of a damaged session not all can be shown
                async with asyncio.timeout(_PATIENCE):
                    while not app.settled:
                        await pilot.pause(0.05)
            await pilot.pause()
            pictures.append((title, _FONT_FACE.sub("", app.export_screenshot(title="shimbench"))))
    return pictures
