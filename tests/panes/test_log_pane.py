"""The log pane: reports as one, the filter's terms, and lines in their colours."""

from __future__ import annotations

from pathlib import Path

import scenario
from conftest import shown

from sessions import open_session
from workbench.app import ShimbenchApp
from workbench.panes.log import cell_of_text, coloured
from workbench.panes.overlays import Overlay
from workbench.panes.parts import parts_text
from workbench.panes.prompt import Prompt
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
        filter_by = app.asking.filter_lines
        assert filter_by('"current device"')
        assert [pane.line_text(n) for n in range(pane.count())] == REPORT
        assert [parts_text(pane.draw(n, 200))[33] for n in range(3)] == ["┌", "│", "└"]
        filter_by('!"current device"')
        assert pane.count() == total - len(REPORT)
        filter_by("level:error current")
        assert pane.count() == len(REPORT)
        filter_by("source:sched*")
        assert pane.count() == 1
        filter_by('"cudaMalloc("')
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


async def test_a_filter_of_the_log_is_completed_and_refused_where_it_is_wrong(tmp_path: Path) -> None:
    async with crashed(tmp_path / "session").run_test(size=(120, 40)) as pilot:
        app = await shown(pilot)
        await pilot.press("7", "f", *"source:sch", "tab", "enter")
        assert app.log_pane.filter_text == "source:sched.go:1" and app.log_pane.count() == 1
        await pilot.press("escape")
        await pilot.press("f", *"idle", "space", *"dur:>1ms", "enter")
        prompt = app.query_one(Prompt)
        assert prompt.display and prompt.cursor_position == 5
        await pilot.press("escape")
        assert app.log_pane.count() == len(app.session.log)


async def test_ctrl_click_on_a_cell_of_the_log_filters_by_it(tmp_path: Path) -> None:
    async with crashed(tmp_path / "session").run_test(size=(200, 60)) as pilot:
        app = await shown(pilot)
        pane = app.log_pane
        await pilot.press("7", "G")
        y = next(y for y in range(pane.size.height) if "gone idle" in pane.render_line(y).text)
        text = pane.render_line(y).text
        for word, wanted in (
            ("WARN", "level:warn"),
            ("sched", "source:sched.go:1"),
            ("gone", 'text:"gone idle"'),
        ):
            await pilot.click("#log", offset=(text.index(word) + 1, y), control=True)
            await shown(pilot)
            assert pane.filter_text == wanted
            assert any("gone idle" in pane.line_text(n) for n in range(pane.count()))
            await pilot.press("escape", "G")


def test_a_column_of_a_line_is_named_by_what_stands_there() -> None:
    text = 'time=t level=WARN source=sched.go:1 msg="gone idle" size=4 lib="a b"'
    line = parse(text)
    found = {word: cell_of_text(line, text.index(word)) for word in ("WARN", "sched", "gone", "4", "a b")}
    assert found == {
        "WARN": "level", "sched": "source", "gone": "message", "4": "field size", "a b": "field lib",
    }  # fmt: skip
    assert cell_of_text(line, 1000) == ""
