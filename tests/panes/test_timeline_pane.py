"""The timeline as pictures, and the ways out of it: to results, to calls, and from the header's GPU mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import shown, until
from ollama_scenario import write_ollama_run
from textual.pilot import Pilot

from sessions import open_session
from workbench.app import ShimbenchApp
from workbench.panes import timeline
from workbench.panes.parts import parts_text
from workbench.panes.text_lines import TextLine
from workbench.panes.timeline import TimelinePane


@pytest.fixture(scope="module")
def session_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ollama") / "session"
    write_ollama_run(path).finish()
    return path


@pytest.fixture
def app(session_path: Path) -> ShimbenchApp:
    return ShimbenchApp(None, open_session(session_path))


async def at_the_timeline(pilot: Pilot[None]) -> None:
    await shown(pilot)
    await pilot.press("8")
    await shown(pilot)
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_timeline_of_an_ollama(snap_compare: Any, app: ShimbenchApp, size: tuple[int, int]) -> None:
    assert snap_compare(app, terminal_size=size, run_before=at_the_timeline)


async def test_enter_goes_to_the_line_that_tells_the_result_and_c_to_the_first_call(
    app: ShimbenchApp,
) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await at_the_timeline(pilot)
        pane = app.query_one(TimelinePane)
        place = next(n for n in range(pane.count()) if "list-devices" in pane.line_text(n))
        pane.move_to(place)
        await pilot.press("enter")
        assert app.pane == "log"
        assert "CUDA0: My GPU" in app.log_pane.line_text(app.log_pane.cursor)
        app.show_pane("timeline")
        await pilot.press("c")
        assert app.pane == "calls" and app.calls.selected_row() == 20


async def test_the_gpu_mode_of_the_header_leads_to_what_shows_it(app: ShimbenchApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot)
        assert app.facts.mode == "gpu"
        await pilot.press("M")
        assert app.pane == "calls"
        assert app.calls.selected_row() == len(app.session.calls) - 1
        await pilot.click("#stages")
        assert app.pane == "log"
        assert "offloaded 33/33 layers" in app.log_pane.line_text(app.log_pane.cursor)
        await pilot.press("M")
        assert "inference compute" in app.log_pane.line_text(app.log_pane.cursor)


async def test_calls_of_a_long_session_are_counted_while_keys_go_on_and_a_moment_has_its_own(
    app: ShimbenchApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "STEP", 2)
    monkeypatch.setattr(timeline, "_SLICE", 0.0)
    seen: list[str] = []
    set_lines = TimelinePane.set_lines

    def noted(pane: TimelinePane, lines: list[TextLine]) -> None:
        seen.append(parts_text(lines[0].parts))
        set_lines(pane, lines)

    monkeypatch.setattr(TimelinePane, "set_lines", noted)
    async with app.run_test(size=(120, 40)) as pilot:
        await at_the_timeline(pilot)
        pane, total = app.query_one(TimelinePane), len(app.session.calls)
        await until(pilot, lambda: pane._tracker.scanned == total, "all are counted")
        await until(pilot, lambda: "counting" not in pane.line_text(0), "and it is not said any more")
        assert seen[0].startswith("counting calls: ")
        whole = sum(bar.calls for bar in pane._tracker.timeline().bars)
        app.travel.to_call(3)
        await shown(pilot)
        moment = app.travel.moment
        assert moment is not None and pane.moment is moment
        assert 0 < sum(bar.calls for bar in pane._tracker.at(moment).bars) < whole


async def test_without_a_run_it_says_so(tmp_path: Path) -> None:
    from scenario import MODEL

    from sessions.testing import SessionBuilder

    SessionBuilder(tmp_path / "session", MODEL).finish()
    app = ShimbenchApp(None, open_session(tmp_path / "session"))
    async with app.run_test(size=(80, 24)) as pilot:
        await at_the_timeline(pilot)
        assert app.query_one(TimelinePane).line_text(0) == "no run yet"
