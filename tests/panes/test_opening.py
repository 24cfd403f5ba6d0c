"""The first frame comes before the session: it brings neither the session nor what reads one."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import scenario
from conftest import Open, shown, until
from textual import timer

from sessions import Session
from workbench.app import ShimbenchApp
from workbench.errors import ShimbenchError
from workbench.loop import Loop


def test_the_frame_needs_nothing_that_reads_a_session() -> None:
    heavy = ("numpy", "sessions", "zstandard", "pygments", "watchdog", "workbench.filter", "workbench.views")
    modules = "workbench.app, workbench.commands.setting, workbench.demo.target, workbench.target.command"
    code = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_the_frame_is_there_while_the_session_is_opened(finished: Open, size: tuple[int, int]) -> None:
    frames = []

    def open_it() -> Session:
        frames.append(app.export_screenshot().replace("&#160;", " "))
        return finished("broken")

    app = ShimbenchApp(None, open_it, name="broken")
    async with app.run_test(size=size) as pilot:
        await shown(pilot)
        assert "opening broken" in frames[0] and "1 CALLS" in frames[0] and "quit" in frames[0]
        after = app.export_screenshot().replace("&#160;", " ")
        assert "opening broken" not in after and "cuGetExportTable" in after
        assert app.focused is app.calls


async def test_a_key_that_comes_before_the_session_is_obeyed_when_it_is_there(finished: Open) -> None:
    def open_it() -> Session:
        app.do("pane.log")
        return finished("broken")

    app = ShimbenchApp(None, open_it)
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot)
        await until(pilot, lambda: app.pane == "log" and app.focused is app.log_pane)


async def test_a_session_that_cannot_be_opened_ends_the_workbench_with_the_reason() -> None:
    def open_it() -> Session:
        raise ShimbenchError("calls.idx: damaged")

    app = ShimbenchApp(None, open_it)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.failure is not None)
    assert "damaged" in str(app.failure)


async def test_the_frame_is_there_before_a_live_loop_begins() -> None:
    frames = []

    async def begin() -> Loop:
        frames.append(app.export_screenshot().replace("&#160;", " "))
        raise ShimbenchError("no session can be written")

    app = ShimbenchApp(begin, name="ollama serve")
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.failure is not None)
    assert "opening ollama serve" in frames[0] and "7 LOG" in frames[0] and "quit" in frames[0]
    assert "no session can be written" in str(app.failure)


async def test_a_session_goes_on_being_shown_however_late_a_timer_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Textual's own timers for one time are lost when they are late at once, as on a machine that is busy."""
    moments = itertools.count(0.0, 0.01)
    monkeypatch.setattr(timer, "_time", SimpleNamespace(get_time=lambda: next(moments)))
    builder = scenario.write_working_run(tmp_path / "live")
    async with ShimbenchApp(None, builder.open()).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        for _ in range(200):
            app.key_turn.came()  # the look waits for a key that is to be painted: 5 ms
            app.key_turn.done()
            await pilot.pause(0.005)
        builder.call("cuInit", args=(0,))
        builder.publish()
        await until(pilot, lambda: app.calls.calls.scanned == len(app.session.calls) > 1, "the call")
    builder.finish()
