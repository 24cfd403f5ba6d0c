"""The log pane: reports as one, the filter's terms, and lines in their colours."""

from __future__ import annotations

from pathlib import Path

import scenario
from conftest import shown

from sessions import open_session
from workbench.app import ShimbenchApp
from workbench.panes.lines import parts_text
from workbench.panes.log import coloured
from workbench.panes.overlays import Overlay
from workbench.target.log_grammar import parse

REPORT = [
    "CUDA error: out of memory",
    "  current device: 0, in function f at /src/a.cu:1",
    "  cudaMalloc(&p)",
]


def crashed(path: Path) -> ShimbenchApp:
    """The workbench on a run whose last lines are a CUDA error, mixed with the server's own."""
    builder = scenario.write_working_run(path)
    builder.line(REPORT[0], process=1)
    builder.line('time=t level=WARN source=sched.go:1 msg="gone idle"', process=0)
    for line in REPORT[1:]:
        builder.line(line, process=1)
    builder.finish()
    return ShimbenchApp(None, open_session(path))


async def test_a_crash_is_filtered_and_opened_as_one(tmp_path: Path) -> None:
    async with crashed(tmp_path / "session").run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        pane = app.log_pane
        total = pane.count()
        pane.set_filter("current device")
        assert [pane.line_text(n) for n in range(pane.count())] == REPORT
        assert [parts_text(pane.draw(n, 200))[33] for n in range(3)] == ["┌", "│", "└"]
        pane.set_filter("!current device")
        assert pane.count() == total - len(REPORT)
        pane.set_filter("level:error current")
        assert pane.count() == len(REPORT)
        pane.set_filter("source:sched*")
        assert pane.count() == 1
        pane.set_filter("cudaMalloc\\(")
        app.show_pane("log")
        await pilot.press("G", "enter")
        overlay = app.screen
        assert isinstance(overlay, Overlay)
        assert overlay.copied == "\n".join(REPORT)


def test_a_line_is_drawn_with_every_character_it_has() -> None:
    for text in (
        'time=t level=ERROR source=a.go:1 msg="x y" error="z"',
        "load_tensors:  CUDA0 model buffer size =     2.75 MiB",
        "neither of these",
    ):
        assert parts_text(coloured(parse(text))) == text
    inks = {text: ink for text, ink in coloured(parse('time=t level=ERROR source=a.go:1 msg="x y" k=v'))}
    assert (inks['"x y"'], inks["ERROR"], inks["v"], inks["a.go:1"]) == ("error", "error", "value", "name")
