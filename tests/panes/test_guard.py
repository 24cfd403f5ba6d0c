"""What fails in the workbench by a mistake of ours takes nothing else along, and is written down."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
import scenario
from conftest import shown, until
from test_keys import texts

from sessions import SessionError
from workbench import trouble
from workbench.app import ShimbenchApp
from workbench.diagnosis import engine
from workbench.panes import guard, lines
from workbench.panes.coverage import CoveragePane

SIZE = (120, 40)


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Errors are kept as a user has them, in a log of this test's own."""
    path = tmp_path / "state" / "workbench.log"
    monkeypatch.setattr(trouble, "raised", False)
    monkeypatch.setattr(trouble, "log_path", lambda: path)
    monkeypatch.setattr(guard, "REST_SECONDS", 0.0)
    return path


def fail(*arguments: object, **named: object) -> NoReturn:
    raise ValueError("all 3 of them")


def told(app: ShimbenchApp) -> list[str]:
    return [each.message for each in app._notifications]


async def test_a_pane_that_cannot_be_brought_up_to_date_says_so_and_the_others_go_on(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = scenario.write_working_run(tmp_path / "live")
    async with ShimbenchApp(None, builder.open()).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        with monkeypatch.context() as broken:
            broken.setattr(CoveragePane, "show_rows", fail)
            builder.call("cuInit", args=(0,))
            builder.line("written meanwhile")
            builder.publish()
            coverage = app.content.coverage
            await until(pilot, lambda: coverage.trouble, "the pane says it")
            assert "coverage: ValueError: all 3 of them" in coverage.render_line(0).text
            assert str(log) in told(app)[0] and len(told(app)) == 1
            await until(pilot, lambda: app.calls.calls.passing == len(app.session.calls), "calls go on")
            await until(pilot, lambda: "written meanwhile" in texts(app.log_pane)[-1], "and the log")
        await until(pilot, lambda: not coverage.trouble, "it is well again")
        assert "ValueError" not in coverage.render_line(0).text
    builder.finish()
    assert log.read_text().count("Traceback") == 1 and "in fail" in log.read_text()


async def test_views_that_fail_at_a_call_do_not_hold_the_calls_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = scenario.write_working_run(tmp_path / "live")
    async with ShimbenchApp(None, builder.open()).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        monkeypatch.setattr(guard, "REST_SECONDS", 1e9)
        monkeypatch.setattr(app.facts, "take", fail)
        for _ in range(3):
            builder.call("cuInit", args=(0,))
        builder.publish()
        await until(pilot, lambda: app.calls.calls.scanned == len(app.session.calls), "all are there")
        await until(pilot, lambda: told(app), "the rest is told")
        assert "what is derived from the calls" in told(app)[0]
    builder.finish()


async def test_a_line_that_cannot_be_drawn_says_so(broken: ShimbenchApp, log: Path) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        draw = app.calls.draw
        app.calls.draw = lambda index, width: fail() if index == 1 else draw(index, width)  # type: ignore[method-assign]
        app.calls.look_changed()
        await pilot.pause()
        rows = [strip.text for strip in app.calls.render_lines(app.calls.size.region)]
        assert "a line of calls: ValueError: all 3" in rows[1]
        assert "cuGetProcAddress_v2" in rows[0] and "cuDriverGetVersion" not in rows[1]
    assert log.read_text().count("Traceback") == 1


async def test_a_key_that_fails_is_told_and_the_next_one_works(
    broken: ShimbenchApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        monkeypatch.setattr(lines.LineView, "follow", fail)
        await pilot.press("F")
        assert "ValueError" in told(app)[0]
        await pilot.press("7")
        assert app.pane == "log"


async def test_damage_is_told_in_its_own_words_and_not_written_down(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(stop: int) -> NoReturn:
        raise SessionError("log.bytes: chunk 3 is damaged")

    builder = scenario.write_working_run(tmp_path / "live")
    async with ShimbenchApp(None, builder.open()).run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        monkeypatch.setattr(app.log_pane, "advance", damaged)
        builder.line("one more", process=1)
        builder.publish()
        await until(pilot, lambda: app.log_pane.trouble, "the pane says it")
        assert told(app) == ["log.bytes: chunk 3 is damaged"] == [app.log_pane.trouble]
    builder.finish()
    assert not log.exists()


async def test_rules_that_fail_are_told_and_all_else_is_shown(
    broken: ShimbenchApp, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "explain_facts", fail)
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        assert "the diagnosis: ValueError" in told(app)[0]
        assert texts(app.calls)
    assert "explain_facts" in log.read_text()


def test_an_error_is_written_once_and_the_log_begun_anew_when_it_is_long(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trouble, "LOG_BYTES", 10)
    for text in ("one", "one", "two"):
        try:
            raise ValueError(text)
        except ValueError as error:
            assert trouble.keep(error, "a test").endswith(f"its traceback is in {log}")
    assert "ValueError: two" in log.read_text() and "one" not in log.read_text()
    assert log.with_name("workbench.log.1").read_text().count("ValueError: one") == 1
