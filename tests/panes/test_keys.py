"""The workbench driven by keys, as a user does."""

from __future__ import annotations

import contextlib
import math
import zipfile
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import scenario
from conftest import Open, shown, until
from textual.events import Key

from sessions import open_session
from tests.patience import reached
from tests.pilots import arrive
from workbench.app import ShimbenchApp
from workbench.loop.status import LoopEvent
from workbench.panes.actions import registry
from workbench.panes.build import BuildPane
from workbench.panes.inspector import InspectorPane
from workbench.panes.lines import LineView
from workbench.panes.overlays import Overlay
from workbench.panes.parts import parts_text
from workbench.panes.processes import ProcessesPane
from workbench.panes.rows import PANES

SIZE = (120, 40)


def texts(view: LineView) -> list[str]:
    return [parts_text(view.draw(index, 200)) for index in range(view.count())]


async def test_repeats_fold_with_what_became_of_them(broken: ShimbenchApp) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        assert "440 x cuGetProcAddress_v2  139 ok  1 FATAL  300 harmless" in texts(app.calls)[0]


async def test_enter_expands_a_fold_and_folds_it_again(broken: ShimbenchApp) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        before = app.calls.count()
        await pilot.press("g", "enter")
        assert app.calls.count() == before + 440
        await pilot.press("enter")
        assert app.calls.count() == before


async def test_a_call_in_flight_stands_last_with_its_age(broken: ShimbenchApp) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        assert "cuStreamSynchronize" in texts(app.calls)[-1]
        assert "in flight 2.40 s" in texts(app.calls)[-1]


async def test_a_call_that_returned_is_not_in_flight_however_dear_the_views_are(tmp_path: Path) -> None:
    builder = scenario.write_working_run(tmp_path / "live")
    builder.in_flight("cuInit", age=7_000_000)
    async with ShimbenchApp(None, builder.open()).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await until(pilot, lambda: "in flight" in texts(app.calls)[-1], "it is in flight")
        app.looks.views_due = math.inf
        builder.in_flight(None)
        builder.call("cuInit", args=(0,))
        builder.publish()
        await until(pilot, lambda: "in flight" not in texts(app.calls)[-1], "it has returned")
    builder.finish()


async def test_a_tab_shows_its_rows_when_it_is_opened_however_dear_the_views_are(
    working: ShimbenchApp,
) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        app.looks.views_due = math.inf
        await pilot.press("6")
        assert "run 1" in texts(app.query_one(ProcessesPane))[0]


async def test_e_goes_to_the_fatal_lookup_past_the_harmless_ones(broken: ShimbenchApp) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("e")
        row = app.calls.selected_row()
        assert row is not None and '"cuGetExportTable"' in app.decoder_text(row)


async def test_the_selected_call_drives_inspector_and_log(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("e")
        row = app.calls.selected_row()
        assert row is not None
        assert app.query_one(InspectorPane).row == row
        number = app.log_pane.selected_number()
        assert number is not None
        assert app.session.log.line(number).after_call < row + 1


async def test_w_jumps_to_what_why_names(broken: ShimbenchApp) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("w")
        assert app.calls.selected_row() == 139
        await pilot.press("w")
        number = app.log_pane.selected_number()
        assert app.pane == "log" and number is not None
        assert app.session.log.line(number).text.decode() == scenario.FAILED_LINE


async def test_a_filter_hides_and_escape_shows_again(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("f", *"!ok", "enter")
        assert app.calls.calls.passing == 2
        await pilot.press("escape")
        assert app.calls.calls.passing == len(app.session.calls)


async def test_a_filter_that_nothing_passes_says_so(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        for key, pane in (("1", app.calls), ("7", app.log_pane)):
            await pilot.press(key, "f", *"pid:1", "enter")
            await shown(pilot)
            assert pane.count() == 0
            assert "passes the filter; Esc shows all" in pane.render_line(0).text
            assert not pane.render_line(1).text.strip()
            await pilot.press("escape")
            assert pane.count() and "passes the filter" not in pane.render_line(0).text


async def test_a_filter_that_means_nothing_stays_open_and_says_where(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("f", *"dur:", "enter")
        assert app.query_one("#prompt").display
        await pilot.press("escape")
        assert not app.query_one("#prompt").display
        assert app.focused is app.calls


async def test_search_goes_on_with_n(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("7", "g", "/", *"slot", "enter")
        first = app.log_pane.cursor
        await pilot.press("n")
        assert app.log_pane.cursor == first + 1
        await pilot.press("N", "N")
        assert "slot" in app.log_pane.line_text(app.log_pane.cursor)


async def test_a_number_in_the_palette_goes_to_that_call(broken: ShimbenchApp) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        app.jumps.to_call("300")
        await pilot.pause()
        assert app.calls.selected_row() == 299


async def test_enter_on_a_log_line_shows_all_of_it(working: ShimbenchApp) -> None:
    async with working.run_test(size=(80, 24)) as pilot:
        app = await shown(pilot)
        await pilot.press("7", "g", "enter")
        assert isinstance(app.screen, Overlay)
        await pilot.press("escape")
        assert not isinstance(app.screen, Overlay)


async def test_y_copies_the_whole_line(broken: ShimbenchApp) -> None:
    async with broken.run_test(size=(80, 24)) as pilot:
        app = await shown(pilot)
        await pilot.press("7", "/", *"failed", "enter", "y")
        assert app.clipboard == scenario.FAILED_LINE


async def test_a_disabled_action_says_why(broken: ShimbenchApp) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("r")
        await until(pilot, lambda: app._notifications)
        assert "saved session" in next(iter(app._notifications)).message


@pytest.mark.parametrize("size", [(80, 24), SIZE])
async def test_every_number_shows_its_pane(working: ShimbenchApp, size: tuple[int, int]) -> None:
    async with working.run_test(size=size) as pilot:
        app = await shown(pilot)
        for number, pane in enumerate(
            ("calls", "coverage", "device", "inspect", "build", "processes", "log"), 1
        ):
            await pilot.press(str(number))
            await shown(pilot)
            view = app.query_one(f"#{pane}", LineView)
            assert app.focused is view and view.region.area > 0


async def test_keys_that_come_at_once_are_for_the_pane_that_the_first_of_them_chose(
    working: ShimbenchApp,
) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        assert app._driver is not None
        for key in "7Wf":
            event = Key(key, key)
            event.set_sender(app)
            app._driver.send_message(event)
        await arrive()
        assert app.log_pane.wrap
        await pilot.press(*"slot", "enter")
        assert app.focused is app.log_pane and app.log_pane.filter_text == "slot"


async def test_z_gives_a_pane_the_screen_and_takes_it_back(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("7", "z")
        await pilot.pause()
        assert app.log_pane.region.width == SIZE[0] and app.calls.region.area == 0
        await pilot.press("escape")
        await pilot.pause()
        assert app.calls.region.area > 0


async def test_a_failed_build_is_shown_and_a_failed_rung_is_not_taken_for_one(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        app._on_loop_event(LoopEvent("rung", "no device", {"state": "failed"}))
        assert app.tab == "coverage"
        app._on_loop_event(LoopEvent("build-finished", "", {"ok": False}))
        assert app.tab == "build"
        assert app.query_one(BuildPane).display


async def test_tab_goes_round_all_panes(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        seen = []
        for _ in PANES:
            await pilot.press("tab")
            seen.append(app.pane)
        assert set(seen) == set(PANES) and seen[-1] == "calls"


async def test_a_live_session_is_followed_paused_and_taken_up_again(tmp_path: Path) -> None:
    builder = scenario.write_working_run(tmp_path / "live")
    builder.publish()
    app = ShimbenchApp(None, open_session(tmp_path / "live"))
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot)
        assert app.calls.following
        await pilot.press("space")
        builder.call("cuInit", process=0)
        builder.publish()
        await until(pilot, lambda: len(app.session.calls) == 156)
        assert app.calls.calls.scanned == 155
        await pilot.press("space")
        await until(pilot, lambda: app.calls.calls.scanned == 156)
        await until(pilot, lambda: app.calls.cursor == app.calls.count() - 1)
        builder.finish()
        await until(pilot, lambda: not app.session.live)


async def test_hostile_text_never_reaches_the_terminal(finished: Open) -> None:
    app = ShimbenchApp(None, finished("broken"))
    async with app.run_test(size=SIZE) as pilot:
        await shown(pilot)
        await pilot.press("7", "G")
        await pilot.pause()
        for y in range(app.log_pane.size.height):
            assert all(ord(each) >= 32 for segment in app.log_pane.render_line(y) for each in segment.text)


def test_every_row_of_the_registry_has_its_help() -> None:
    for action in registry().all():
        assert action.title and action.help.endswith("."), action.name


async def test_s_makes_a_report_of_the_session(broken: ShimbenchApp, tmp_path: Path) -> None:
    broken.root = tmp_path
    async with broken.run_test(size=(120, 40)) as pilot:
        await pilot.press("S")
        await until(pilot, lambda: (tmp_path / "broken.zip").exists() and not broken.workers, "the report")
    with zipfile.ZipFile(tmp_path / "broken.zip") as report:
        assert "report.html" in report.namelist()


async def test_a_report_that_is_being_made_ends_with_the_workbench(
    broken: ShimbenchApp, tmp_path: Path
) -> None:
    def makers() -> list[int]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return [
                each.pid for each in psutil.Process().children() if str(tmp_path) in " ".join(each.cmdline())
            ]
        return []

    broken.root = tmp_path
    async with broken.run_test(size=(120, 40)) as pilot:
        await pilot.press("S")
        await until(pilot, makers, "the report is begun")
    await reached(lambda: not makers(), "it has ended")
    assert not list(tmp_path.iterdir())
