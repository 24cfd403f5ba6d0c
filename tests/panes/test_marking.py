"""Marks, notes and the search over everything, by keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import scenario
from conftest import shown, until
from test_keys import texts
from textual.pilot import Pilot

from sessions import Session, open_session
from sessions.marks import Marks
from workbench.app import ShimbenchApp
from workbench.panes.chooser import Chooser
from workbench.panes.frame import Rule
from workbench.panes.text_lines import TextLine
from workbench.panes.viewer import SourceViewer

SIZE = (120, 40)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """A session of this test's own: it is written to."""
    scenario.write_working_run(tmp_path / "s").finish()
    return open_session(tmp_path / "s")


def opened(session: Session) -> ShimbenchApp:
    """The workbench on it, in a project that is its folder."""
    (session.path.parent / "tables.c").write_text("int a;\nvoid *export_table_allocate(void);\n")
    (session.path.parent / "shimbench.toml").write_text('[shim]\nwatch = ["*.c"]\n')
    return ShimbenchApp(None, session, session.path.parent)


def choices(app: ShimbenchApp) -> list[str]:
    assert isinstance(app.screen, Chooser)
    return texts(app.screen.choices)


async def test_m_marks_a_call_of_a_saved_session_and_again_takes_it_back(session: Session) -> None:
    async with opened(session).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("g", "m")
        assert texts(app.calls)[0].startswith("*")
        assert Marks(open_session(session.path)).of("call") == {0: ""}
        await pilot.press("m")
        assert not texts(app.calls)[0].startswith("*")


async def test_a_note_on_a_line_is_listed_and_gone_to(session: Session) -> None:
    async with opened(session).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("7", "g", "j", "semicolon", *"why?", "enter")
        await pilot.press("G", "1", "G", "m", "apostrophe")
        await pilot.pause()
        listed = choices(app)
        assert len(listed) == 2
        assert any("log 2 " in text and "why?" in text for text in listed)
        await pilot.press(*("g", "enter") if "log 2 " in listed[0] else ("G", "enter"))
        await pilot.pause()
        assert app.pane == "log" and app.log_pane.selected_number() == 1


async def test_u_goes_from_mark_to_mark(session: Session) -> None:
    async with opened(session).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("g", "j", "m", "j", "j", "m", "g", "u")
        assert app.calls.cursor == 1
        await pilot.press("u")
        assert app.calls.cursor == 3
        await pilot.press("u")
        assert app.calls.cursor == 1
        await pilot.press("U")
        assert app.calls.cursor == 3


async def test_a_mark_stands_on_the_time_line(session: Session) -> None:
    async with opened(session).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("g", "m", "T")
        await shown(pilot)
        assert [each.kind for each in app.travel._happened()].count("mark") == 1


async def test_what_is_searched_for_is_found_in_calls_log_and_notes(session: Session) -> None:
    async with opened(session).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("g", "semicolon", "o", "u", "t", "space", "o", "f", "enter")
        await pilot.press("s", *"out.of", "enter")
        await until(pilot, lambda: isinstance(app.screen, Chooser), "the list is there")
        await until(pilot, lambda: len(choices(app)) == 3, "all is found")
        places = [text.split()[0].split(":")[0] for text in choices(app)]
        assert places == ["@1", "log", "@22"]
        await pilot.press("G", "enter")
        await pilot.pause()
        assert app.calls.selected_row() == 21


async def test_a_source_opens_at_its_line_and_is_searched_there(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(session).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        asked: list[tuple[Path, int]] = []
        monkeypatch.setattr(app.outside, "edit", lambda path, line: asked.append((path, line)))
        await pilot.press("s", *"export_table_alloc", "enter")
        await until(
            pilot, lambda: isinstance(app.screen, Chooser) and "all" in app.screen.note, "it is found"
        )
        assert len(choices(app)) == 1
        await pilot.press("enter")
        viewer = app.screen
        assert isinstance(viewer, SourceViewer) and viewer.content.selected == 2
        assert "> " in texts(viewer.content)[1] and "export_table_allocate" in texts(viewer.content)[1]
        await pilot.press("slash", *"int", "enter")
        assert app.screen is viewer and viewer.content.has_focus and viewer.content.selected == 1
        await pilot.press("o")
        assert asked == [(session.path.parent / "tables.c", 1)]
        await pilot.press("escape")
        assert app.focused is app.calls


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_what_a_search_found(snap_compare: Any, session: Session, size: tuple[int, int]) -> None:
    async def run(pilot: Pilot[None]) -> None:
        app = await shown(pilot)
        await pilot.press("s", *"alloc", "enter")
        await until(pilot, lambda: isinstance(app.screen, Chooser) and "all" in app.screen.note, "found")

    assert snap_compare(opened(session), terminal_size=size, run_before=run)


async def test_a_list_filled_before_it_is_drawn_shows_what_it_was_filled_with(session: Session) -> None:
    """As when a search is over before a busy machine has drawn the list."""
    async with opened(session).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        chooser = Chooser("SEARCH a", [], "searching …")
        app.push_screen(chooser)
        chooser.fill([TextLine([("found", "plain")])], "all 1 found")
        await until(pilot, lambda: app.screen is chooser and chooser.choices.is_mounted, "it is there")
        assert choices(app) == ["found"]
        assert "all 1 found" in chooser.query_one(Rule).render_line(0).text
        await pilot.press("escape")
        chooser.fill([], "too late")
        await pilot.pause()
