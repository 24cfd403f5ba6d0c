"""The first screen and each pane as pictures. `pytest --snapshot-update` after looking at a change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from conftest import shown
from textual.pilot import Pilot

from workbench.app import ShimbenchApp

SIZES = [(80, 24), (120, 40), (200, 60)]


def pressing(keys: Sequence[str]) -> Callable[[Pilot[None]], Any]:
    async def run(pilot: Pilot[None]) -> None:
        await shown(pilot)
        await pilot.press(*keys)
        await shown(pilot)
        await pilot.pause()

    return run


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_first_screen_of_a_run_that_fell_back(
    snap_compare: Any, broken: ShimbenchApp, size: tuple[int, int]
) -> None:
    assert snap_compare(broken, terminal_size=size, run_before=pressing([]))


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_device_beside_a_failed_call(
    snap_compare: Any, working: ShimbenchApp, size: tuple[int, int]
) -> None:
    assert snap_compare(working, terminal_size=size, run_before=pressing(["e", "3"]))


@pytest.mark.parametrize("key", ["4", "5", "6", "7"])
def test_each_other_pane(snap_compare: Any, working: ShimbenchApp, key: str) -> None:
    assert snap_compare(working, terminal_size=(120, 40), run_before=pressing(["e", key]))


def test_a_pane_alone_in_a_small_terminal(snap_compare: Any, broken: ShimbenchApp) -> None:
    assert snap_compare(broken, terminal_size=(80, 24), run_before=pressing(["7", "W"]))


def test_the_help_of_the_calls_pane(snap_compare: Any, broken: ShimbenchApp) -> None:
    assert snap_compare(broken, terminal_size=(120, 40), run_before=pressing(["?"]))


def test_a_light_theme(snap_compare: Any, working: ShimbenchApp) -> None:
    working.theme = "textual-light"
    assert snap_compare(working, terminal_size=(120, 40), run_before=pressing(["j", "j"]))
