"""Breakpoints by keys, in the real workbench: B stops the next run's call, c lets it go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_app_live import Project, command, keys_are_obeyed, pane_text, project, reached, screen, workbench

__all__ = ["command", "keys_are_obeyed", "project"]  # fixtures


def _row_of(app: object, name: str) -> int | None:
    session = app.session  # type: ignore[attr-defined]
    number = session.schema.function_id(name)
    for row in range(len(session.calls)):
        if session.calls.row(row).function == number:
            return row
    return None


@pytest.mark.real
async def test_b_stops_the_selected_call_s_function_and_c_lets_it_go_on(
    project: Project, command: list[str]
) -> None:
    directory: Path = project()
    async with workbench(directory, command) as pilot:
        await reached(pilot, lambda app: app.loop.status.target.state == "ended", "the first run's end")
        await reached(pilot, lambda app: app.settled and _row_of(app, "cuInit") is not None, "its calls")
        app = pilot.app
        assert app.calls.show_row(_row_of(app, "cuInit"))  # type: ignore[attr-defined]
        await pilot.press("B")
        assert list(app.breaks.set) == ["cuInit"]  # type: ignore[attr-defined]
        await pilot.press("r")
        await reached(pilot, lambda app: app.calls.stops.now(), "a stopped call")
        await reached(pilot, lambda app: "STOPPED at cuInit in probe" in screen(app), "the header to say so")
        await reached(pilot, lambda app: "■" in pane_text(app, "calls"), "its mark in the calls pane")
        await pilot.press("B")  # cleared, and yet held
        assert not app.breaks.set and app.calls.stops.now()  # type: ignore[attr-defined]
        await pilot.press("c")
        await reached(pilot, lambda app: not app.calls.stops.now(), "it to go on")
        await reached(pilot, lambda app: app.loop.status.target.state == "ended", "the run's end")
        await reached(pilot, lambda app: "STOPPED" not in screen(app), "the header to say so no more")
