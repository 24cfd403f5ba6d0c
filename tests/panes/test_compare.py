"""Two runs side by side in the workbench."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import scenario
from conftest import shown, until
from test_keys import texts
from textual.pilot import Pilot

from sessions import Session, open_session
from workbench.app import ShimbenchApp
from workbench.panes.beside import BesideScreen, show_beside
from workbench.panes.header import Bar
from workbench.panes.parts import parts_text

SIZE = (120, 40)


@pytest.fixture
def sessions(tmp_path: Path) -> tuple[Session, Session]:
    """The run that decodes, and one that differs at its end."""
    scenario.write_working_run(tmp_path / "a").finish()
    builder = scenario.write_working_run(tmp_path / "b")
    for _ in range(3):
        builder.call("cuInit", process=1, args=(0,), result=801)
    builder.finish()
    return open_session(tmp_path / "a"), open_session(tmp_path / "b")


async def compared(pilot: Pilot[None], a: Session, b: Session) -> tuple[ShimbenchApp, BesideScreen]:
    app = await shown(pilot)
    show_beside(app, str(a.path), str(b.path))
    await until(pilot, lambda: isinstance(app.screen, BesideScreen) and app.screen.found, "it is compared")
    screen = app.screen
    assert isinstance(screen, BesideScreen)
    await until(pilot, lambda: screen.calls.count(), "it is shown")
    return app, screen


async def test_the_first_divergence_stands_first_and_leads_to_its_calls(
    sessions: tuple[Session, Session],
) -> None:
    a, b = sessions
    async with ShimbenchApp(None, b).run_test(size=SIZE) as pilot:
        _, screen = await compared(pilot, a, b)
        assert "extra call (3 calls)" in texts(screen.differences)[0]
        await pilot.press("g", "enter")
        assert screen.calls.has_focus
        line = screen.calls.line(screen.calls.cursor)
        assert line is not None and (line.a, line.b) == (None, len(a.calls))
        assert "extra call" in parts_text(screen.query_one("#beside-detail", Bar).left)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_what_differs_can_be_read_at_every_size(
    sessions: tuple[Session, Session], size: tuple[int, int]
) -> None:
    a, b = sessions
    async with ShimbenchApp(None, b).run_test(size=size) as pilot:
        _, screen = await compared(pilot, a, b)
        frame = pilot.app.export_screenshot()
        assert "extra&#160;call" in frame  # of the title as well as of the list
        index = int(screen.calls.beside.differences[0]) if screen.calls.beside is not None else -1
        text = parts_text(screen.calls.draw(index, screen.calls.size.width))
        assert "NOT_SUPPORTED" in text and len(text) <= screen.calls.size.width


async def test_n_goes_from_difference_to_difference_and_enter_to_the_call(
    sessions: tuple[Session, Session],
) -> None:
    a, b = sessions
    async with ShimbenchApp(None, b).run_test(size=SIZE) as pilot:
        app, screen = await compared(pilot, a, b)
        await pilot.press("tab", "g", "n")
        line = screen.calls.line(screen.calls.cursor)
        assert line is not None and line.differs
        await pilot.press("enter")
        await until(pilot, lambda: app.calls.selected_row() == line.b and app.pane == "calls", "it is there")


async def test_equal_runs_and_runs_that_are_not_there_are_said_to_be_so(
    sessions: tuple[Session, Session],
) -> None:
    a, _ = sessions
    async with ShimbenchApp(None, a).run_test(size=SIZE) as pilot:
        app, screen = await compared(pilot, a, a)
        assert texts(screen.differences) == ["no difference"]
        await pilot.press("escape")
        show_beside(app, f"{a.path}:99", str(a.path))
        await until(pilot, lambda: isinstance(app.screen, BesideScreen) and app.screen.problem, "refused")
        assert isinstance(app.screen, BesideScreen) and "there is no run 99" in app.screen.problem


async def test_C_asks_for_the_sides(sessions: tuple[Session, Session]) -> None:
    a, b = sessions
    async with ShimbenchApp(None, b).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        app.do("compare")
        app.asking._answer("compare", str(a.path))
        await until(
            pilot, lambda: isinstance(app.screen, BesideScreen) and app.screen.found, "it is compared"
        )


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_two_runs_side_by_side(
    snap_compare: Any, sessions: tuple[Session, Session], size: tuple[int, int]
) -> None:
    a, b = sessions

    async def run(pilot: Pilot[None]) -> None:
        _, screen = await compared(pilot, a, b)
        screen.query_one("#beside-rule").info = "a  b"  # type: ignore[attr-defined]
        screen.query_one("#beside-rule").refresh()

    assert snap_compare(ShimbenchApp(None, b), terminal_size=size, run_before=run)
