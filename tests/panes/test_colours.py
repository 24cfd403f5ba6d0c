"""Colours, counters and filters made of what is selected."""

from __future__ import annotations

from pathlib import Path

import scenario
from conftest import shown, until
from rich.style import Style
from test_keys import texts

from workbench.app import ShimbenchApp
from workbench.panes.chooser import Chooser
from workbench.panes.prompt import Prompt

SIZE = (120, 40)


async def test_names_of_calls_that_a_filter_passes_are_coloured_until_it_is_said_again(
    working: ShimbenchApp,
) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        for _ in range(2):
            assert app.rules.add("colour", "bold red cuDriverGetVersion")
            styles = [ink for text, ink in app.calls.draw(0, 100) if text == "cuDriverGetVersion"]
            assert styles == [Style.parse("bold red") if app.rules.colourings else "name"]


async def test_a_colour_or_filter_that_is_none_is_refused_where_it_is_wrong(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        for text in ("nocolour !ok", "red", "red pdi:4", ""):
            assert not app.rules.add("colour", text), text
        await pilot.press("f", *"ok", "space", *"pdi", "colon", "4", "enter")
        assert app.query_one(Prompt).display and app.query_one(Prompt).cursor_position == 3


async def test_a_counter_counts_what_passes_and_goes_on_with_the_session(tmp_path: Path) -> None:
    builder = scenario.write_working_run(tmp_path / "live")
    async with ShimbenchApp(None, builder.open()).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        assert app.rules.add("count", "cuMemAlloc*")
        await until(pilot, lambda: "[cuMemAlloc*] 5" in app.calls.status(), "all are counted")
        builder.call("cuMemAlloc_v2", process=1, args=(1, 2))
        builder.publish()
        await until(pilot, lambda: "[cuMemAlloc*] 6" in app.calls.status(), "the new one is counted")
    builder.finish()


async def test_the_filter_is_made_of_the_selected_call_and_its_opposite_offered(
    working: ShimbenchApp,
) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("g", "equals_sign")
        await pilot.pause()
        assert isinstance(app.screen, Chooser)
        assert "cuDriverGetVersion" in texts(app.screen.choices)[0]
        assert "!cuDriverGetVersion" in texts(app.screen.choices)[1]
        await pilot.press("j", "enter")
        await shown(pilot)
        assert app.calls.filter_text == "!cuDriverGetVersion"
        assert app.calls.calls.passing == len(app.session.calls) - 1


async def test_ctrl_click_on_a_cell_filters_by_it(working: ShimbenchApp) -> None:
    async with working.run_test(size=(200, 60)) as pilot:
        app = await shown(pilot)
        await pilot.press("g")
        text = "".join(part for part, _ in app.calls.draw(1, app.calls.size.width))
        await pilot.click("#calls", offset=(text.index("cuInit") + 3, 1), control=True)
        await shown(pilot)
        assert app.calls.filter_text == "cuInit"


async def test_a_line_of_the_log_offers_its_source_and_level(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("7", "g", "j", "equals_sign")
        await pilot.pause()
        assert isinstance(app.screen, Chooser)
        assert any("source:routes.go" in text for text in texts(app.screen.choices))
        await pilot.press("g", "enter")
        await shown(pilot)
        assert 0 < app.log_pane.count() < len(app.session.log)


async def test_lines_that_a_filter_passes_are_coloured_while_the_log_is_chosen(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        for chosen in (True, False):
            await pilot.press("7")
            app.ask("colour")
            await pilot.press(*"red", "space", *"source:routes.go*", "enter")
            drawn = [app.log_pane.draw(index, 200) for index in range(app.log_pane.count())]
            coloured = [any(ink == Style.parse("red") for _, ink in parts) for parts in drawn]
            named = ["source=routes.go" in app.log_pane.line_text(index) for index in range(len(drawn))]
            assert any(named) and coloured == (named if chosen else [False] * len(named))
        assert not any(ink == Style.parse("red") for _, ink in app.calls.draw(0, 100))


async def test_a_colour_of_the_log_is_refused_in_the_words_of_lines(working: ShimbenchApp) -> None:
    async with working.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        assert not app.rules.add("colour", "red dur:>1ms", "log")
        assert not app.rules.add("count", "level:loud", "log")
        assert app.rules.add("count", "level:warn", "log") and not app.rules.add("count", "level:warn")


async def test_a_report_is_coloured_as_one_and_anew_when_it_has_grown(tmp_path: Path) -> None:
    builder = scenario.write_working_run(tmp_path / "live")
    builder.line("CUDA error: out of memory", process=1)
    builder.publish()
    async with ShimbenchApp(None, builder.open()).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        assert app.rules.add("colour", "red deeper", "log")
        first = app.log_pane.count() - 1
        assert app.rules.style_of_line(first) is None
        builder.line("  current device: 0, in function deeper at /src/a.cu:1", process=1)
        builder.publish()
        await until(pilot, lambda: app.log_pane.count() == first + 2, "the line has come")
        assert app.rules.style_of_line(first) == app.rules.style_of_line(first + 1) == Style.parse("red")
    builder.finish()


async def test_a_counter_of_lines_goes_on_with_the_log_and_is_listed(tmp_path: Path) -> None:
    builder = scenario.write_working_run(tmp_path / "live")
    async with ShimbenchApp(None, builder.open()).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("7")
        app.ask("count")
        await pilot.press(*"nonesuch", "enter")
        await until(pilot, lambda: "[nonesuch] 0" in app.log_pane.status(), "all are counted")
        assert "nonesuch" not in app.calls.status()
        builder.line("nonesuch came", process=1)
        builder.publish()
        await until(pilot, lambda: "[nonesuch] 1" in app.log_pane.status(), "the new one is counted")
        app.do("filter.rules")
        await pilot.pause()
        assert isinstance(app.screen, Chooser) and "nonesuch" in texts(app.screen.choices)[0]
        await pilot.press("enter")
        await shown(pilot)
        assert not app.rules.counters
    builder.finish()
