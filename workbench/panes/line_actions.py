"""The rows of lines: what can be done in every pane with lines, and in one pane alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.actions import Action
from workbench.panes.rows import row

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp


def _move(lines: int) -> Callable[[ShimbenchApp], None]:
    return lambda app: app.view.move(lines)


def _page(pages: int) -> Callable[[ShimbenchApp], None]:
    return lambda app: app.view.page(pages)


def _pan(columns: int) -> Callable[[ShimbenchApp], None]:
    return lambda app: app.view.pan(columns)


def line_actions() -> tuple[Action, ...]:
    """Moving, searching, copying; then calls, kernels, breakpoints, log."""
    return (
        row("lines.down", "j,down", "lines", "Down", "One line down.", _move(1)),
        row("lines.up", "k,up", "lines", "Up", "One line up.", _move(-1)),
        row("lines.page-down", "pagedown,ctrl+f,ctrl+d", "lines", "Page down", "One page down.", _page(1)),
        row("lines.page-up", "pageup,ctrl+b,ctrl+u", "lines", "Page up", "One page up.", _page(-1)),
        row(
            "lines.first",
            "g,home",
            "lines",
            "First line",
            "Go to the first line.",
            lambda app: app.view.move_to(0),
        ),
        row(
            "lines.last",
            "G,end",
            "lines",
            "Last line",
            "Go to the last line.",
            lambda app: app.view.move_to(app.view.count() - 1),
        ),
        row("lines.right", "l,right", "lines", "Right", "Scroll right: long lines go on.", _pan(16)),
        row("lines.left", "h,left", "lines", "Left", "Scroll left.", _pan(-16)),
        row(
            "lines.search",
            "/",
            "lines",
            "Search",
            "Search this pane by a regular expression.",
            lambda app: app.ask("search"),
        ),
        row(
            "lines.next-match",
            "n",
            "lines",
            "Next match",
            "Go to the next match of the search.",
            lambda app: app.next_match(1),
            lambda app: app.no_search(),
        ),
        row(
            "lines.previous-match",
            "N",
            "lines",
            "Previous match",
            "Go to the previous match.",
            lambda app: app.next_match(-1),
            lambda app: app.no_search(),
        ),
        row(
            "lines.choose",
            "enter",
            "lines",
            "Open",
            "Open what is under the cursor: a fold, a call, a whole line, a process.",
            lambda app: app.jumps.choose(),
        ),
        row(
            "lines.copy",
            "y",
            "lines",
            "Copy",
            "Copy the whole line to the clipboard (OSC 52).",
            lambda app: app.copy_line(),
        ),
        row(
            "calls.filter",
            "f",
            "calls",
            "Filter",
            "Show only some calls: cuMem* !ok caller:libcudart dur:>1ms and so on.",
            lambda app: app.ask("filter"),
        ),
        row(
            "calls.follow",
            "F",
            "calls",
            "Follow",
            "Go to the newest call and stay with what comes.",
            lambda app: app.calls.follow(),
        ),
        row(
            "calls.pause",
            "space",
            "calls",
            "Pause",
            "Hold the view still; recording goes on.",
            lambda app: app.calls.pause(),
        ),
        row(
            "calls.fold",
            "x",
            "calls",
            "Fold",
            "Fold repeats of one function, or show a line a call.",
            lambda app: app.calls.set_folding(not app.calls.calls.fold),
        ),
        row(
            "timeline.call",
            "c",
            "timeline",
            "Call",
            "Go to the first call of the process under the cursor.",
            lambda app: app.jumps.from_timeline("call"),
        ),
        row(
            "device.filter",
            "f",
            "device",
            "Filter",
            "Show only some kernels: globs or parts of names, e.g. mul_mat !fixup.",
            lambda app: app.ask("kernels"),
            lambda app: app.content.device.no_table(),
        ),
        row(
            "device.order",
            "O",
            "device",
            "Order",
            "Sort the kernels by the next column, time to name; a click on a head sorts by that one.",
            lambda app: app.content.device.order_kernels(),
            lambda app: app.content.device.no_table(),
        ),
        row(
            "kernels",
            "K",
            "global",
            "Kernels",
            "Kernels by time, with launches by shape; Enter opens one: its PTX, and how often each line ran.",
            lambda app: app.show_kernels(),
        ),
        row(
            "break.toggle",
            "B",
            "global",
            "Breakpoint",
            "Stop calls of the selected call's function before they reach the shim, or stop doing so.",
            lambda app: app.breaks.toggle_selected(),
            lambda app: app.breaks.no_breakpoint(),
        ),
        row(
            "break.ask",
            "",
            "global",
            "Breakpoint on …",
            "Stop calls by name and result: `:break cuMem* error`; @3: the third. Again: clear it.",
            lambda app: app.ask("break"),
            lambda app: app.breaks.not_live(),
        ),
        row(
            "break.clear",
            "",
            "global",
            "Clear breakpoints",
            "Clear all breakpoints; what is stopped waits to be continued.",
            lambda app: app.breaks.clear(),
            lambda app: app.breaks.none_set(),
        ),
        row(
            "break.continue",
            "c",
            "global",
            "Continue",
            "Let the selected stopped call go on; with none selected, all of them.",
            lambda app: app.breaks.resume(),
            lambda app: app.breaks.none_stopped(),
        ),
        row(
            "gdb",
            "D",
            "global",
            "gdb",
            "Attach gdb to the process of the selected call; leaving gdb comes back here.",
            lambda app: app.breaks.attach_gdb(),
            lambda app: app.breaks.no_gdb(),
        ),
        row(
            "log.filter",
            "f",
            "log",
            "Filter",
            "Show only some lines, e.g. level:warn !idle or source:runner* (docs/filter.md).",
            lambda app: app.ask("filter"),
        ),
        row(
            "log.follow",
            "F",
            "log",
            "Follow",
            "Go to the newest line and stay with what comes.",
            lambda app: app.log_pane.follow(),
        ),
        row(
            "log.pause",
            "space",
            "log",
            "Pause",
            "Hold the view still; recording goes on.",
            lambda app: app.log_pane.pause(),
        ),
        row(
            "log.wrap",
            "W",
            "log",
            "Wrap",
            "Wrap long lines, or scroll sideways through them.",
            lambda app: app.log_pane.toggle_wrap(),
        ),
        row(
            "log.call",
            "c",
            "log",
            "Call",
            "Go to the last call before this line.",
            lambda app: app.jumps.from_line(),
        ),
    )
