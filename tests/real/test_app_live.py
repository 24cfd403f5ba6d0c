"""The real workbench, keys and all, on a real loop, collector and runtime, over a shim that is not ours."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import cast

import pytest
from conftest import PATIENCE_SECONDS, copy_foreign_shim
from textual.pilot import Pilot

from tests.pilots import obey
from workbench.app import ShimbenchApp
from workbench.config import load_config
from workbench.loop.loop import Loop, running
from workbench.native import NativePaths
from workbench.panes.build import BuildPane
from workbench.panes.lines import LineView
from workbench.panes.parts import parts_text
from workbench.target.command import find_target

Project = Callable[..., Path]


@pytest.fixture
def project(native_paths: NativePaths, tmp_path: Path) -> Project:
    """A folder with the foreign shim, built with make's variables, to be edited by the test."""
    return lambda **variables: copy_foreign_shim(
        tmp_path / "shim", native_paths, {name: str(value) for name, value in variables.items()}
    )


@pytest.fixture
def command(cudart: Callable[[str], Path], target_programs: Path) -> list[str]:
    """A program that loads libcudart and asks it for a device and memory."""
    return [str(target_programs / "probe"), str(cudart("13.0") / "libcudart.so.13")]


@pytest.fixture(autouse=True)
def keys_are_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When pressing one returns, it has been."""
    obey(monkeypatch)


@contextlib.asynccontextmanager
async def workbench(directory: Path, command: list[str]) -> AsyncIterator[Pilot[None]]:
    """The application as `shimbench DIR -- COMMAND` runs it, in a terminal of 120x40."""
    config = load_config(directory)
    session = directory.parent / "session"
    loop = Loop(config, session, target=find_target(config, command, directory.parent))
    loop.open()
    async with running(loop):
        app = ShimbenchApp(loop=loop, session=loop.session)
        async with app.run_test(size=(120, 40)) as pilot:
            yield pilot


async def reached(pilot: Pilot[None], condition: Callable[[ShimbenchApp], object], what: str) -> None:
    """Wait until `condition` holds of the application."""
    app = cast(ShimbenchApp, pilot.app)
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not condition(app):
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"waited {PATIENCE_SECONDS:g} s in vain for {what}; the screen:\n{screen(app)}")
        await pilot.pause(0.02)


def screen(app: ShimbenchApp) -> str:
    """What stands on the screen, as text."""
    height = app.size.height
    lines = app.screen._compositor.render_strips()
    return "\n".join(strip.text for strip in lines[:height])


def pane_text(app: ShimbenchApp, pane: str) -> str:
    """All lines of a pane, also those that are out of sight."""
    view = app.query_one(f"#{pane}", LineView)
    return "\n".join(parts_text(view.draw(index, 400)) for index in range(view.count()))


async def test_an_edit_shows_in_header_and_log_and_a_syntax_error_in_the_build_pane(
    project: Project, command: list[str]
) -> None:
    directory = project()
    source = directory / "memory.c"
    async with workbench(directory, command) as pilot:
        await reached(
            pilot, lambda app: "cudaMalloc: 0, no error" in screen(app), "the first run's last line"
        )
        await reached(pilot, lambda app: "run 1 " in screen(app), "the header's first run")

        good = source.read_text()
        source.write_text(good.replace("*total = FAULT", "*total = 1 ? 3ull << 30 : FAULT"))
        await reached(
            pilot,
            lambda app: "run 2 " in screen(app) and "cudaMemGetInfo: 0, no error, 3072 MiB" in screen(app),
            "the edit in the log, and its run in the header",
        )
        await reached(pilot, lambda app: " first call " in screen(app), "how long the edit took")

        source.write_text(good.replace("used += bytes;", "used += ;"))
        await reached(pilot, lambda app: "shim failed" in screen(app), "the failed build in the header")
        await reached(
            pilot, lambda app: "expected expression" in pane_text(app, "build"), "the diagnostic's pane"
        )
        app = cast(ShimbenchApp, pilot.app)
        await reached(
            pilot,
            lambda app: app.query_one(BuildPane).display and "used += ;" in pane_text(app, "build"),
            "the source of it",
        )
        await reached(pilot, lambda app: "run 2 " in screen(app), "the run that goes on, in the header")
        place = app.query_one(BuildPane).selected_place()
        assert place is not None and Path(place.path).name == "memory.c"
        assert source.read_text().splitlines()[place.line - 1].strip() == "used += ;"

        source.write_text(good)
        await reached(pilot, lambda app: "run 3 " in screen(app), "a run of what was put right")
        await pilot.press("r")
        await reached(pilot, lambda app: "run 4 " in screen(app), "the run that r asked for")


async def test_a_call_that_hangs_is_named_with_its_age(project: Project, command: list[str]) -> None:
    async with workbench(project(FAULT="INIT_HANG"), command) as pilot:
        await reached(
            pilot, lambda app: "cuInit is under way for" in screen(app), "the call under way in the WHY pane"
        )
        await reached(pilot, lambda app: "in flight" in pane_text(app, "calls"), "the call in the calls pane")


async def test_a_mark_is_there_when_the_session_is_opened_again(project: Project, command: list[str]) -> None:
    directory = project()
    async with workbench(directory, command) as pilot:
        await reached(pilot, lambda app: "cudaMalloc: 0, no error" in screen(app), "the end of the run")
        await pilot.press("g", ";", *"look here", "enter")
        await reached(pilot, lambda app: app.calls.marks == {0: "look here"}, "the mark")
    from sessions import open_session

    app = ShimbenchApp(None, open_session(directory.parent / "session"))
    async with app.run_test(size=(120, 40)) as pilot:
        await reached(pilot, lambda app: app.calls.marks == {0: "look here"}, "the mark, read back")


async def test_the_filter_offers_what_the_session_holds(project: Project, command: list[str]) -> None:
    async with workbench(project(), command) as pilot:
        await reached(pilot, lambda app: "cudaMalloc: 0, no error" in screen(app), "the end of the run")
        await reached(pilot, lambda app: app.settled, "all of it on the screen")
        await pilot.press("f", *"cuMemAl")
        await reached(pilot, lambda app: "cuMemAlloc function" in screen(app), "the candidates")
        await pilot.press("tab", "enter")
        app = cast(ShimbenchApp, pilot.app)
        assert app.calls.filter_text.startswith("cuMemAl")


async def test_after_the_collectors_death_the_target_goes_on_and_the_screen_says_what_is_not_known(
    project: Project, command: list[str]
) -> None:
    async with workbench(project(FAULT="INIT_HANG"), command) as pilot:
        await reached(pilot, lambda app: "in flight" in pane_text(app, "calls"), "the call in the calls pane")
        loop = cast(ShimbenchApp, pilot.app).loop
        assert loop is not None and loop.runs.pid is not None
        target = loop.runs.pid
        os.kill(loop.collector.pid, signal.SIGKILL)
        await reached(pilot, lambda app: "broke off at" in screen(app), "when it broke off")
        assert "0 lost" not in screen(cast(ShimbenchApp, pilot.app))
        await reached(pilot, lambda app: app.loop.status.target.state == "unknown", "the loop to know")
        assert loop.status.host.state != "failed"
        os.kill(target, 0)  # it hangs on, unrecorded
