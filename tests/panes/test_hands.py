"""What goes through the mouse, and out of the workbench into an editor."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import scenario
from conftest import shown, until

from workbench.app import ShimbenchApp
from workbench.panes.overlays import Overlay
from workbench.panes.prompt import KeyLine
from workbench.panes.source import editor_command

SIZE = (120, 40)


def write_editor(folder: Path) -> Path:
    """A program that writes down what it was asked to open."""
    editor = folder / "my editor"
    editor.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{folder}/asked"\n')
    editor.chmod(0o755)
    return editor


async def test_o_opens_the_editor_at_the_diagnostic_s_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "shim.c"
    source.write_text("int one;\nint two\n")
    monkeypatch.setenv("EDITOR", f"'{write_editor(tmp_path)}' --flag")
    monkeypatch.delenv("VISUAL", raising=False)
    with scenario.write_working_run(tmp_path / "session") as builder:
        diagnostic = {"path": "shim.c", "line": 2, "column": 8, "severity": "error", "message": "expected ;"}
        builder.event("build", build=15, ok=False, seconds=0.2, command="make", diagnostics=[diagnostic])
        app = ShimbenchApp(None, builder.open(), root=tmp_path)
        # The screen is given over to it: there is none here.
        monkeypatch.setattr(app, "suspend", contextlib.nullcontext)
        async with app.run_test(size=SIZE) as pilot:
            await shown(pilot)
            await pilot.press("5", "o")
            await until(pilot, (tmp_path / "asked").exists)
    assert (tmp_path / "asked").read_text().splitlines() == ["--flag", "+2", str(source)]


async def test_the_loop_goes_on_while_the_editor_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, editor = tmp_path / "shim.c", tmp_path / "patient"
    source.write_text("int one\n")
    # It stays open until something happens that only a loop that goes on makes happen.
    waiting = f'for i in $(seq 6000); do [ -e "{tmp_path}/built" ] && exit 0; sleep 0.05; done; exit 1'
    editor.write_text(f'#!/bin/sh\ntouch "{tmp_path}/open"; {waiting}\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(editor))
    monkeypatch.delenv("VISUAL", raising=False)
    with scenario.write_working_run(tmp_path / "session") as builder:
        diagnostic = {"path": "shim.c", "line": 1, "column": 8, "severity": "error", "message": "expected ;"}
        builder.event("build", build=15, ok=False, seconds=0.2, command="make", diagnostics=[diagnostic])
        app = ShimbenchApp(None, builder.open(), root=tmp_path)
        monkeypatch.setattr(app, "suspend", contextlib.nullcontext)
        said: list[str] = []
        monkeypatch.setattr(app, "notify", lambda text, **_: said.append(text))
        async with app.run_test(size=SIZE) as pilot:
            await shown(pilot)
            await pilot.press("5", "o")
            await until(pilot, (tmp_path / "open").exists)
            (tmp_path / "built").touch()
            await until(pilot, lambda: not app.workers)
    assert said == []


@pytest.mark.parametrize(
    ("editor", "words"),
    [
        ("vi", ["vi", "+7", "/x/a.c"]),
        ("emacs -nw", ["emacs", "-nw", "+7", "/x/a.c"]),
        ("nano", ["nano", "+7", "/x/a.c"]),
        ("code -n", ["code", "-n", "--wait", "--goto", "/x/a.c:7:3"]),
        ("/usr/bin/hx", ["/usr/bin/hx", "/x/a.c:7:3"]),
    ],
)
def test_each_editor_is_told_the_line_in_its_own_way(
    monkeypatch: pytest.MonkeyPatch, editor: str, words: list[str]
) -> None:
    monkeypatch.setenv("VISUAL", editor)
    assert editor_command(Path("/x/a.c"), 7, 3) == words


async def test_a_click_on_a_title_shows_its_pane(broken: ShimbenchApp) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        rule = app.query_one("#tabs-rule")
        text = rule.render_line(0).text
        await pilot.click("#tabs-rule", offset=(text.index("6 PROCESSES") + 3, 0))
        await until(pilot, lambda: app.pane == "processes")
        await pilot.click(
            "#log-rule", offset=(app.query_one("#log-rule").render_line(0).text.index("LOG"), 0)
        )
        await until(pilot, lambda: app.pane == "log")


async def test_a_click_selects_a_line_and_a_double_click_opens_it(
    broken: ShimbenchApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broken, "CLICK_CHAIN_TIME_THRESHOLD", 600)  # however slow the machine is
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        await pilot.press("g")
        await pilot.click("#log", offset=(10, 1))
        await until(pilot, lambda: app.pane == "log" and app.log_pane.cursor == app.log_pane.line_at(1))
        before = app.calls.count()
        await pilot.click("#calls", offset=(10, 0), times=2)
        await until(pilot, lambda: app.pane == "calls" and app.calls.count() > before)


async def test_a_click_on_a_key_does_what_the_key_does(broken: ShimbenchApp) -> None:
    async with broken.run_test(size=SIZE) as pilot:
        app = await shown(pilot)
        text = app.query_one(KeyLine).render_line(0).text
        await pilot.click(KeyLine, offset=(text.index("help"), 0))
        await until(pilot, lambda: isinstance(app.screen, Overlay))
