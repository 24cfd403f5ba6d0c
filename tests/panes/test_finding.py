"""Searching a pane: in slices, in both directions, round at the ends."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import scenario
from conftest import shown, until

from sessions import open_session
from workbench.app import ShimbenchApp
from workbench.panes import finding, lines, looks
from workbench.panes.finding import Finding

TEXTS = [f"line {number}" for number in range(1000)]


def found(expression: str, start: int, step: int, total: int = 1000, slices: bool = False) -> int | None:
    """Where a search ends; with `slices` the time is up again and again."""
    searching = Finding(re.compile(expression), start, step, total)
    while True:
        deadline = 0.0 if slices else time.thread_time() + 3600
        at = searching.go_on(1000, lambda low, high: TEXTS[low:high], deadline)
        if at is not None or searching.looked >= total:
            return at


@pytest.mark.parametrize("slices", [False, True])
def test_the_next_match_is_found_in_both_directions_and_round_the_ends(slices: bool) -> None:
    for expression, start, step, where in (
        ("line", 0, 1, 0),
        ("77$", 78, 1, 177),
        ("77$", 178, -1, 177),
        ("77$", 176, -1, 77),
        ("^line 5$", 6, 1, 5),
        ("^line 995$", 3, -1, 995),
        ("nowhere", 500, 1, None),
        ("nowhere", 500, -1, None),
        ("^line 500$", 500, -1, 500),
        ("^line 499$", 500, 1, 499),
    ):
        assert found(expression, start, step, slices=slices) == where, expression


async def test_a_search_through_all_calls_goes_on_while_keys_are_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = scenario.write_working_run(tmp_path / "session")
    for number in range(3000):  # of two kinds, so that none is folded
        builder.call(("cuInit", "cuDriverGetVersion")[number % 2], process=1)
    builder.call("cuGraphConditionalHandleCreate", process=1)
    builder.finish()
    monkeypatch.setattr(lines, "_SEARCH_SLICE", 0.0)
    monkeypatch.setattr(finding, "AT_ONCE", 16)
    async with ShimbenchApp(None, open_session(tmp_path / "session")).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        app.calls.move_to(30)
        monkeypatch.setattr(lines, "_SEARCH_PAUSE", 3600)  # the first slice only
        await pilot.press("slash", "circumflex_accent", *"cugraphcond", "enter", "j")
        assert "/^cugraphcond 0 %" in app.calls.status() and app.calls.cursor == 31
        monkeypatch.setattr(lines, "_SEARCH_PAUSE", 0.001)
        await pilot.press("n")
        await until(pilot, lambda: app.calls.cursor == app.calls.count() - 1, "the last call is found")
        assert app.calls.status().endswith("/^cugraphcond")
        await pilot.press("escape", "slash", *"nosuch", "enter")
        await pilot.press("escape")
        assert app.calls.searched() == "" and not app.calls.status()
        await pilot.press("slash", *"nosuch", "enter")
        await until(pilot, lambda: [n.message for n in app._notifications] == ["nothing matches nosuch"])


async def test_a_long_log_is_read_in_slices_and_says_how_far_it_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = scenario.write_working_run(tmp_path / "session")
    for number in range(5000):
        builder.line(f"line {number}", process=1)
    builder.finish()
    monkeypatch.setattr(looks, "LINES_AT_ONCE", 16)
    async with ShimbenchApp(None, open_session(tmp_path / "session")).run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        pane = app.log_pane
        pane.move_to(pane.count() - 1)
        last = pane.selected_number()
        app.asking.filter_lines('re:"^line .*9$"')
        assert "to go" in pane.status() and not app.settled
        await until(pilot, lambda: app.settled, "all lines are filtered")
        assert "to go" not in pane.status() and pane.count() == 500
        assert pane.selected_number() == last  # it passes, and stays selected
        pane.pause()
        app.asking.filter_lines('re:"^line .*8$"')
        await until(pilot, lambda: pane.count() == 500, "a paused view is filtered as well")


def test_a_search_ends_when_its_lines_are_gone() -> None:
    searching = Finding(re.compile("line"), 5, 1, 1000, looked=64)
    assert searching.go_on(0, lambda low, high: TEXTS[low:high], time.thread_time()) is None
    assert searching.looked == searching.total


def test_no_pane_appoints_by_the_timer_that_may_never_call() -> None:
    panes = Path(lines.__file__).parent
    callers = {path.name for path in panes.glob("*.py") if ".set_timer(" in path.read_text()}
    assert callers == set(), "use workbench.panes.later"
