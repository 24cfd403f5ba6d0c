"""The rows behind every key of the workbench: key, command, where, help.

The same rows feed the bindings, the key line, the palette and the help screen. `run` and `reason`
get the ShimbenchApp. Where is "global", "lines" (every pane with lines) or one pane's name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from textual.binding import Binding, BindingType

from workbench.actions import Action, Registry, loop_actions
from workbench.panes.handover import hand_over
from workbench.panes.marking_actions import marking_actions
from workbench.panes.travel_actions import travel_actions

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp

Context = Any  # a ShimbenchApp; Any because importing it here would be a circle

PANES = ("calls", "coverage", "device", "inspect", "build", "processes", "log", "timeline")


def _no_reason(_: Context) -> str | None:
    return None


def _no_evidence(app: ShimbenchApp) -> str | None:
    return None if app.why.targets else "there is no evidence to jump to yet"


def _no_mode(app: ShimbenchApp) -> str | None:
    return None if app.facts.gpu.mode.evidence else "nothing has shown a GPU mode yet"


def _row(
    name: str,
    key: str,
    where: str,
    title: str,
    help: str,
    run: Callable[[Any], Any],
    reason: Callable[[Any], str | None] = _no_reason,
) -> Action:
    return Action(name=name, title=title, key=key, where=where, help=help, run=run, reason=reason)


def _move(lines: int) -> Callable[[ShimbenchApp], None]:
    return lambda app: app.view.move(lines)


def _page(pages: int) -> Callable[[ShimbenchApp], None]:
    return lambda app: app.view.page(pages)


def _pan(columns: int) -> Callable[[ShimbenchApp], None]:
    return lambda app: app.view.pan(columns)


def _show(pane: str) -> Callable[[ShimbenchApp], None]:
    return lambda app: app.show_pane(pane)


def pane_actions() -> tuple[Action, ...]:
    """The rows of all panes."""
    return (
        *(
            _row(
                f"pane.{pane}", str(number), "global", f"Show {pane}", f"Go to the {pane} pane.", _show(pane)
            )
            for number, pane in enumerate(PANES, 1)
        ),
        _row("pane.next", "tab", "global", "Next pane", "Focus the next pane.", lambda app: app.step_pane(1)),
        _row(
            "pane.previous",
            "shift+tab",
            "global",
            "Previous pane",
            "Focus the pane before.",
            lambda app: app.step_pane(-1),
        ),
        _row(
            "pane.zoom",
            "z",
            "global",
            "Maximise",
            "Give the focused pane the whole screen, or give it back.",
            lambda app: app.zoom(),
        ),
        _row(
            "evidence.jump",
            "w",
            "global",
            "Evidence",
            "Jump to the evidence: the call or log line that WHY names; again for the next one.",
            lambda app: app.jumps.to_evidence(),
            _no_evidence,
        ),
        _row(
            "mode.jump",
            "M",
            "global",
            "GPU mode",
            "Jump to what shows the GPU mode of the header: a launch, layers, Ollama's line; again: next.",
            lambda app: app.jumps.to_mode(),
            _no_mode,
        ),
        _row(
            "source.open",
            "o",
            "global",
            "Source",
            "Open $EDITOR where the diagnostic points, or at the shim's definition of the selected call.",
            lambda app: app.outside.open_source(),
            lambda app: app.outside.no_source(),
        ),
        _row(
            "report",
            "S",
            "global",
            "Report",
            "Make one zip of the session for a bug report: redacted, with a page and a status text.",
            hand_over,
        ),
        _row(
            "stacks",
            "b",
            "global",
            "Stacks",
            "The native stacks of all threads of the process that hangs, or is selected (best with gdb).",
            lambda app: app.outside.show_stacks(),
            lambda app: app.outside.no_stacks(),
        ),
        _row(
            "calls.next-error",
            "e",
            "global",
            "Next error",
            "Go to the next call that returned an error.",
            lambda app: app.next_error(1),
        ),
        _row(
            "calls.previous-error",
            "E",
            "global",
            "Previous error",
            "Go to the previous failed call.",
            lambda app: app.next_error(-1),
        ),
        _row(
            "calls.goto",
            "",
            "global",
            "Go to call …",
            "Go to a call by its number; `:443` does the same.",
            lambda app: app.ask("goto"),
        ),
        _row(
            "app.command",
            ":",
            "global",
            "Commands",
            "Find any command by name, or type a call's number.",
            lambda app: app.action_command_palette(),
        ),
        _row(
            "app.theme",
            "",
            "global",
            "Theme …",
            "Choose another theme.",
            lambda app: app.action_change_theme(),
        ),
        _row(
            "app.help",
            "?",
            "global",
            "Help",
            "Keys of the focused pane and of all panes.",
            lambda app: app.outside.show_help(),
        ),
        _row(
            "app.back",
            "escape",
            "global",
            "Back",
            "Leave a search, a filter, or the maximised pane.",
            lambda app: app.back(),
        ),
        _row(
            "app.quit",
            "q",
            "global",
            "Quit",
            "Leave; the target is stopped, the session stays on disk.",
            lambda app: app.exit(),
        ),
        _row("lines.down", "j,down", "lines", "Down", "One line down.", _move(1)),
        _row("lines.up", "k,up", "lines", "Up", "One line up.", _move(-1)),
        _row("lines.page-down", "pagedown,ctrl+f,ctrl+d", "lines", "Page down", "One page down.", _page(1)),
        _row("lines.page-up", "pageup,ctrl+b,ctrl+u", "lines", "Page up", "One page up.", _page(-1)),
        _row(
            "lines.first",
            "g,home",
            "lines",
            "First line",
            "Go to the first line.",
            lambda app: app.view.move_to(0),
        ),
        _row(
            "lines.last",
            "G,end",
            "lines",
            "Last line",
            "Go to the last line.",
            lambda app: app.view.move_to(app.view.count() - 1),
        ),
        _row("lines.right", "l,right", "lines", "Right", "Scroll right: long lines go on.", _pan(16)),
        _row("lines.left", "h,left", "lines", "Left", "Scroll left.", _pan(-16)),
        _row(
            "lines.search",
            "/",
            "lines",
            "Search",
            "Search this pane by a regular expression.",
            lambda app: app.ask("search"),
        ),
        _row(
            "lines.next-match",
            "n",
            "lines",
            "Next match",
            "Go to the next match of the search.",
            lambda app: app.next_match(1),
            lambda app: app.no_search(),
        ),
        _row(
            "lines.previous-match",
            "N",
            "lines",
            "Previous match",
            "Go to the previous match.",
            lambda app: app.next_match(-1),
            lambda app: app.no_search(),
        ),
        _row(
            "lines.choose",
            "enter",
            "lines",
            "Open",
            "Open what is under the cursor: a fold, a call, a whole line, a process.",
            lambda app: app.jumps.choose(),
        ),
        _row(
            "lines.copy",
            "y",
            "lines",
            "Copy",
            "Copy the whole line to the clipboard (OSC 52).",
            lambda app: app.copy_line(),
        ),
        _row(
            "calls.filter",
            "f",
            "calls",
            "Filter",
            "Show only some calls: cuMem* !ok caller:libcudart dur:>1ms and so on.",
            lambda app: app.ask("filter"),
        ),
        _row(
            "calls.follow",
            "F",
            "calls",
            "Follow",
            "Go to the newest call and stay with what comes.",
            lambda app: app.calls.follow(),
        ),
        _row(
            "calls.pause",
            "space",
            "calls",
            "Pause",
            "Hold the view still; recording goes on.",
            lambda app: app.calls.pause(),
        ),
        _row(
            "calls.fold",
            "x",
            "calls",
            "Fold",
            "Fold repeats of one function, or show a line a call.",
            lambda app: app.calls.set_folding(not app.calls.calls.fold),
        ),
        _row(
            "timeline.call",
            "c",
            "timeline",
            "Call",
            "Go to the first call of the process under the cursor.",
            lambda app: app.jumps.from_timeline("call"),
        ),
        _row(
            "kernels",
            "K",
            "global",
            "Kernels",
            "Kernels by time, with launches by shape; Enter opens one: its PTX, and how often each line ran.",
            lambda app: app.show_kernels(),
        ),
        _row(
            "break.toggle",
            "B",
            "global",
            "Breakpoint",
            "Stop calls of the selected call's function before they reach the shim, or stop doing so.",
            lambda app: app.breaks.toggle_selected(),
            lambda app: app.breaks.no_breakpoint(),
        ),
        _row(
            "break.ask",
            "",
            "global",
            "Breakpoint on …",
            "Stop calls by name and result: `:break cuMem* error`; @3: the third. Again: clear it.",
            lambda app: app.ask("break"),
            lambda app: app.breaks.not_live(),
        ),
        _row(
            "break.clear",
            "",
            "global",
            "Clear breakpoints",
            "Clear all breakpoints; what is stopped waits to be continued.",
            lambda app: app.breaks.clear(),
            lambda app: app.breaks.none_set(),
        ),
        _row(
            "break.continue",
            "c",
            "global",
            "Continue",
            "Let the selected stopped call go on; with none selected, all of them.",
            lambda app: app.breaks.resume(),
            lambda app: app.breaks.none_stopped(),
        ),
        _row(
            "gdb",
            "D",
            "global",
            "gdb",
            "Attach gdb to the process of the selected call; leaving gdb comes back here.",
            lambda app: app.breaks.attach_gdb(),
            lambda app: app.breaks.no_gdb(),
        ),
        _row(
            "log.filter",
            "f",
            "log",
            "Filter",
            "Show only some lines, e.g. level:warn !idle or source:runner* (docs/filter.md).",
            lambda app: app.ask("filter"),
        ),
        _row(
            "log.follow",
            "F",
            "log",
            "Follow",
            "Go to the newest line and stay with what comes.",
            lambda app: app.log_pane.follow(),
        ),
        _row(
            "log.pause",
            "space",
            "log",
            "Pause",
            "Hold the view still; recording goes on.",
            lambda app: app.log_pane.pause(),
        ),
        _row(
            "log.wrap",
            "W",
            "log",
            "Wrap",
            "Wrap long lines, or scroll sideways through them.",
            lambda app: app.log_pane.toggle_wrap(),
        ),
        _row(
            "log.call",
            "c",
            "log",
            "Call",
            "Go to the last call before this line.",
            lambda app: app.jumps.from_line(),
        ),
    )


@cache
def registry() -> Registry:
    """All commands: the loop's and the panes'."""
    return Registry((*loop_actions(), *pane_actions(), *travel_actions(), *marking_actions()))


def bindings(where: str) -> list[BindingType]:
    """Textual bindings of the rows of one place."""
    return [
        Binding(
            action.key, f"app.do('{action.name}')", action.title, show=False, priority=action.key == "tab"
        )
        for action in registry().all(where)
        if action.key
    ]


KEY_NAMES = {
    "full_stop": ".",
    "comma": ",",
    "semicolon": ";",
    "equals_sign": "=",
    "apostrophe": "'",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "plus": "+",
    "minus": "-",
    "space": "Space",
    "enter": "Enter",
    "escape": "Esc",
    "tab": "Tab",
    "shift+tab": "Shift-Tab",
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "home": "Home",
    "end": "End",
}


def key_text(action: Action) -> str:
    """The keys of a row as people say them."""
    keys = [KEY_NAMES.get(key, key.replace("ctrl+", "^")) for key in action.key.split(",")]
    return " ".join(keys)
