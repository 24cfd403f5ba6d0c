"""Time travel in the workbench: every pane shows the session as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenario
from conftest import Open, shown, until
from test_keys import texts
from textual.pilot import Pilot

from sessions import format, open_session
from sessions.moment import moment_of_call
from sessions.states import INTERVAL
from workbench.app import ShimbenchApp
from workbench.panes.header import Bar
from workbench.panes.parts import parts_text
from workbench.panes.travel_line import TravelLine
from workbench.views.device import DeviceState
from workbench.views.snapshots import Snapshots

SIZE = (120, 40)


async def at_call(pilot: Pilot[None], number: int) -> ShimbenchApp:
    """Travel to when a call had returned."""
    app = await shown(pilot)
    app.travel.to_call(number - 1)
    return await shown(pilot)


def words(app: ShimbenchApp) -> str:
    picture = app.query_one(TravelLine).picture
    assert picture is not None
    return parts_text(picture.words)


def first_call(app: ShimbenchApp, name: str, nth: int = 0) -> int:
    """The number of the nth call of a function."""
    number = app.session.schema.function_id(name)
    column = app.session.calls.columns(0, len(app.session.calls), ("function",))["function"]
    return int((column == number).nonzero()[0][nth]) + 1


async def test_all_panes_show_what_was_there_when_the_call_had_returned(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        call = first_call(app, "cuMemAlloc_v2", 1)
        await at_call(pilot, call)
        await pilot.press("3")
        await shown(pilot)
        assert app.calls.selected_row() == call - 1
        assert any("allocations 2 " in text for text in texts(app.content.device))
        assert all("cuGraphConditionalHandleCreate" not in text for text in texts(app.content.coverage))
        assert all(app.session.log.line(n).time_ns <= app.travel.session.now_ns()
                   for n in range(app.log_pane.count()))  # fmt: skip
        assert app.log_pane.count() < len(app.session.log)
        assert f"call {call} of" in words(app)


def content_of(app: ShimbenchApp) -> Any:
    """What the panes show."""
    panes = app.content.device, app.content.coverage
    return [app.calls.count(), app.log_pane.count(), *map(texts, panes)]


async def test_now_is_as_it_was_before_travelling(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("3")
        await shown(pilot)
        before = content_of(app)
        walls = app.why.walls
        await at_call(pilot, 20)
        assert app.calls.count() < before[0]
        await pilot.press("0")
        await shown(pilot)
        assert not app.query_one(TravelLine).display
        assert content_of(app) == before and app.why.walls == walls


async def test_the_diagnosis_is_that_of_the_moment_and_never_another(broken: ShimbenchApp) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        assert app.why.targets
        app.travel.to_time(1)
        assert app.why.title == "coming" or not app.why.targets
        await shown(pilot)
        assert not app.why.targets
        await pilot.press("0")
        await shown(pilot)
        assert app.why.targets


async def test_keys_go_by_call_and_by_error_and_stop_at_the_ends(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        row = first_call(app, "cuMemAlloc_v2") - 1
        app.calls.show_row(row)
        await pilot.press("T", "full_stop", "full_stop")
        await shown(pilot)
        assert (len(app.travel.session.calls), app.calls.selected_row()) == (row + 3, row + 2)
        await pilot.press("comma")
        assert len(app.travel.session.calls) == row + 2
        await pilot.press("right_square_bracket")
        await shown(pilot)
        failed = app.calls.selected_row()
        assert failed is not None and app.session.calls.row(failed).result == 2  # out of memory
        await pilot.press("right_square_bracket", "left_square_bracket")
        assert app.calls.selected_row() == failed
        await pilot.press("left_square_bracket")
        assert app.calls.selected_row() == failed  # nothing failed before


async def test_steps_are_those_that_the_filter_passes(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("f", *"cuMemAlloc_v2", "enter")
        await shown(pilot)
        await pilot.press("g", "T", "full_stop")
        assert app.calls.selected_row() == first_call(app, "cuMemAlloc_v2", 1) - 1


async def test_a_fold_counts_only_the_calls_before_the_moment(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await at_call(pilot, first_call(app, "cuLaunchKernel", 3))
        assert "4 x cuLaunchKernel  4 ok" in texts(app.calls)[app.calls.cursor]
        await pilot.press("enter")
        assert sum("f=0x6200" in text for text in texts(app.calls)) == 4


async def test_a_call_under_way_at_the_moment_is_in_flight(tmp_path: Path) -> None:
    builder = scenario.write_working_run(tmp_path / "s")
    last = builder._time
    builder.call("cuInit", time=last + 1_000, duration=90_000, thread=1)
    builder.call("cuInit", time=last + 2_000, duration=1_000, thread=1, parent=1)
    builder.finish()
    session = open_session(tmp_path / "s")
    async with ShimbenchApp(None, session).run_test(size=SIZE) as pilot:
        app = await at_call(pilot, len(session.calls))
        assert "in flight" in "\n".join(texts(app.calls)[-3:])
        assert "-> ok" not in texts(app.calls)[app.calls._recorded - 2]
        assert [call.thread for call in app.calls.in_flight].count(1) == 1
        assert f"{len(app.calls.in_flight)} in flight" in words(app)


async def test_the_header_says_how_far_the_run_had_come(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        whole = parts_text(app.query_one("#header", Bar).left)
        await at_call(pilot, 5)
        assert " 5 calls" in parts_text(app.query_one("#header", Bar).left)
        assert " 5 calls" not in whole
        stages = app.travel.facts.stages() if app.travel.facts else []
        assert [stage.state for stage in stages if stage.name == "tokens"] == ["-"]


async def test_a_moment_by_its_name_and_one_that_there_is_not(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        app.do("travel.ask")
        await pilot.press(*"@12", "enter")
        await shown(pilot)
        assert app.calls.selected_row() is not None and len(app.travel.session.calls) == 12
        assert not app.travel.to_name("@999999")
        assert len(app.travel.session.calls) == 12


async def test_a_click_on_the_time_line_goes_to_that_time(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await at_call(pilot, 3)
        await pilot.click("#travel", offset=(60, 0))
        await shown(pilot)
        picture = app.query_one(TravelLine).picture
        assert picture is not None and picture.cursor == 59


async def test_playing_goes_on_to_the_end_and_stops_there(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await at_call(pilot, 3)
        app.travel.speed = 100.0
        await pilot.press("p")
        await until(pilot, lambda: not app.travel.playing, "it has reached the end")
        assert len(app.travel.session.calls) == len(app.session.calls)


async def test_a_live_session_goes_on_behind_a_moment_that_stands_still(tmp_path: Path) -> None:
    builder = scenario.write_working_run(tmp_path / "live")
    async with ShimbenchApp(None, builder.open()).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        total = len(app.session.calls)
        await pilot.press("T")
        await shown(pilot)
        lines = app.calls.count()
        for _ in range(5):
            builder.call("cuInit", args=(0,))
        builder.publish()
        await until(pilot, lambda: len(app.session.calls) == total + 5, "the new calls are known")
        await shown(pilot)
        assert app.calls.count() == lines
        assert f"of {total + 5}" not in words(app)
        await pilot.press("0")
        await shown(pilot)
        assert app.calls.following
        assert app.calls.calls.passing == total + 5
    builder.finish()


async def test_watching_a_run_leaves_snapshots_for_later_travels(tmp_path: Path) -> None:
    builder = scenario.write_working_run(tmp_path / "live")
    first = len(builder.open().calls)
    rows = np.zeros(INTERVAL + 1000, dtype=format.CALL_ROW)
    rows["time"] = builder._time + np.arange(len(rows)) * 10
    rows["function"], rows["process"] = builder.function("cuLaunchKernel"), 1
    rows["arg0"] = 0x6200 + np.arange(len(rows)) % 3
    async with ShimbenchApp(None, builder.open()).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        builder.calls(rows)
        builder.publish()
        await until(pilot, lambda: app.facts.scanned == first + len(rows), "all has been taken in")
    builder.finish()
    session = open_session(builder.path)
    snapshots = Snapshots(session)
    assert snapshots.states.before(len(session.calls)) == [(INTERVAL, 14)]
    moment = moment_of_call(session, INTERVAL + 500)
    device = DeviceState()
    device.update(moment)
    assert snapshots.state(moment).device.processes == device.processes


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_moment_of_a_run(snap_compare: Any, finished: Open, size: tuple[int, int]) -> None:
    async def run(pilot: Pilot[None]) -> None:
        app = await shown(pilot)
        await at_call(pilot, first_call(app, "cuLaunchKernel", 3))
        await pilot.press("3", "1")
        await shown(pilot)

    assert snap_compare(ShimbenchApp(None, finished("working")), terminal_size=size, run_before=run)
