"""Kernels in the device pane: by time, opened with their PTX, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import zstandard
from conftest import shown
from scenario import write_working_run
from textual.pilot import Pilot

from sessions import open_session
from workbench.app import ShimbenchApp
from workbench.panes.kernels import ORDERS, KernelLines

TEXT = """.visible .entry _Z5scalePf(.param .u64 _Z5scalePf_param_0)
{
\tld.param.u64 \t%rd1, [_Z5scalePf_param_0];
\tmov.u32 \t%r1, %tid.x; // the lane
$L__BB0_1:
\t@%p1 bra \t$L__BB0_1;
\tret;
}
"""


@pytest.fixture
def app(tmp_path: Path) -> ShimbenchApp:
    builder = write_working_run(tmp_path / "session")
    shape = {
        "grid": [64, 1, 1], "block": [256, 1, 1], "shared": 1024, "launches": 80, "instructions": 640_000,
        "seconds": 0.08, "shortest": 0.0008, "longest": 0.0031,
    }  # fmt: skip
    kernels = [
        {"name": "_Z5scalePf", "module": 5, "launches": 80, "instructions": 640_000, "seconds": 0.08,
         "compiled": True, "static_shared": 256, "shapes": [shape], "other_shapes": 0},
        {"name": "copy", "module": 5, "launches": 30, "instructions": 3000, "seconds": 0.02,
         "compiled": False, "shapes": [], "other_shapes": 30},
    ]  # fmt: skip
    builder.event("host", event="kernels", pid=4121, kernels=kernels)
    blob = builder.blob(zstandard.compress(TEXT.encode()))
    builder.event("host", event="ptx", pid=4121, module=5, kernel="_Z5scalePf", line=9, bytes=9, blob=blob)
    lines = [[12, 8, 256], [14, 4000, 64000], [15, 8, 256]]
    builder.event("host", event="lines", pid=4121, module=5, kernel="_Z5scalePf", counted=1, lines=lines)
    builder.finish()
    return ShimbenchApp(None, open_session(tmp_path / "session"))


async def at_the_kernels(pilot: Pilot[None]) -> None:
    await shown(pilot)
    await pilot.press("K")
    await pilot.pause()


async def in_a_kernel(pilot: Pilot[None]) -> None:
    await at_the_kernels(pilot)
    await pilot.press("j", "j", "enter", "z")
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_kernels_by_time(snap_compare: Any, app: ShimbenchApp, size: tuple[int, int]) -> None:
    assert snap_compare(app, terminal_size=size, run_before=at_the_kernels)


def test_a_kernel_with_its_launches_and_its_ptx(snap_compare: Any, app: ShimbenchApp) -> None:
    assert snap_compare(app, terminal_size=(120, 40), run_before=in_a_kernel)


async def test_escape_goes_back_to_where_one_was(app: ShimbenchApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await in_a_kernel(pilot)
        pane = app.content.device
        text = [pane.line_text(n) for n in range(pane.count())]
        assert any("4 000    16.0  " in line and "bra" in line for line in text)
        await pilot.press("escape")
        assert isinstance(pane.selected, tuple) and pane.selected[1:] == ("_Z5scalePf", 5)
        await pilot.press("escape")
        assert pane.kernels is None
        assert any("K shows them by time" in pane.line_text(n) for n in range(pane.count()))


def names(pane: Any) -> list[str]:
    return [line.subject[1] for line in pane.lines if isinstance(line.subject, tuple)]


async def test_kernels_are_sorted_by_each_column_and_by_a_click_on_its_head(app: ShimbenchApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await at_the_kernels(pilot)
        pane = app.content.device
        found = {}
        for _ in ORDERS:
            assert pane.kernels is not None
            found[pane.kernels.order] = names(pane)
            assert f"by {pane.kernels.order}" in pane.status()
            await pilot.press("O")
        scale, copy = "_Z5scalePf", "copy"
        assert found == {
            "time": [scale, copy], "launches": [scale, copy], "mean": [scale, copy],
            "instructions": [scale, copy], "name": [copy, scale],
        }  # fmt: skip
        heads = pane.line_text(1)
        await pilot.click("#device", offset=(heads.index("kernel") + 2, 1))
        await pilot.pause()
        assert names(pane) == [copy, scale]


async def test_kernels_are_filtered_by_words_of_their_names(app: ShimbenchApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await at_the_kernels(pilot)
        pane = app.content.device
        await pilot.press("f", *"scale", "enter")
        assert names(pane) == ["_Z5scalePf"] and "only scale" in pane.status()
        await pilot.press("escape")
        assert len(names(pane)) == 2
        pane.filter_kernels("!sca*e")
        assert len(names(pane)) == 2  # a glob is of the whole name
        pane.filter_kernels("!*scale*")
        assert names(pane) == ["copy"]


async def test_the_cursor_stays_on_its_kernel_when_others_overtake_it(app: ShimbenchApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await at_the_kernels(pilot)
        pane = app.content.device
        await pilot.press("j", "j")
        assert pane.selected == (1, "_Z5scalePf", 5)
        for _ in ORDERS[1:]:
            await pilot.press("O")
        assert names(pane)[0] == "copy" and pane.selected == (1, "_Z5scalePf", 5)


async def test_sorting_is_refused_with_a_reason_while_no_kernels_are_shown(app: ShimbenchApp) -> None:
    async with app.run_test(size=(120, 40)) as pilot:
        await shown(pilot)
        await pilot.press("3", "O")
        assert [note.message for note in app._notifications] == ["Order: the kernels are not shown: K"]


def test_kernels_of_one_text_have_counts_of_their_own(tmp_path: Path) -> None:
    builder = write_working_run(tmp_path / "session")
    blob = builder.blob(zstandard.compress(TEXT.encode()))
    for module, warps in ((5, 1111), (6, 2222)):
        builder.event("host", event="ptx", pid=4121, module=module, kernel="k", line=1, bytes=9, blob=blob)
        lines = [[3, warps, warps]]
        builder.event("host", event="lines", pid=4121, module=module, kernel="k", counted=1, lines=lines)
    builder.finish()
    session = open_session(tmp_path / "session")
    kernels = KernelLines()
    kernels.lines(session)
    (index,) = (index for index, process in kernels.view.processes.items() if process.kernels)
    for module, warps in ((5, "1 111"), (6, "2 222"), (5, "1 111")):
        kernels.opened = (index, "k", module)
        text = ["".join(part[0] for part in line.parts) for line in kernels.lines(session)]
        assert any(warps in line and "ld.param" in line for line in text)
