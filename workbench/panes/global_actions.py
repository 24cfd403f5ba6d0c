"""The rows of what can be done everywhere: panes, evidence, sources, errors, help."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.actions import Action
from workbench.panes.handover import hand_over
from workbench.panes.rows import PANES, row

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp


def _no_evidence(app: ShimbenchApp) -> str | None:
    return None if app.why.targets else "there is no evidence to jump to yet"


def _no_mode(app: ShimbenchApp) -> str | None:
    return None if app.facts.gpu.mode.evidence else "nothing has shown a GPU mode yet"


def _show(pane: str) -> Callable[[ShimbenchApp], None]:
    return lambda app: app.show_pane(pane)


def global_actions() -> tuple[Action, ...]:
    """The rows of all panes together."""
    return (
        *(
            row(f"pane.{pane}", str(number), "global", f"Show {pane}", f"Go to the {pane} pane.", _show(pane))
            for number, pane in enumerate(PANES, 1)
        ),
        row("pane.next", "tab", "global", "Next pane", "Focus the next pane.", lambda app: app.step_pane(1)),
        row(
            "pane.previous",
            "shift+tab",
            "global",
            "Previous pane",
            "Focus the pane before.",
            lambda app: app.step_pane(-1),
        ),
        row(
            "pane.zoom",
            "z",
            "global",
            "Maximise",
            "Give the focused pane the whole screen, or give it back.",
            lambda app: app.zoom(),
        ),
        row(
            "evidence.jump",
            "w",
            "global",
            "Evidence",
            "Jump to the evidence: the call or log line that WHY names; again for the next one.",
            lambda app: app.jumps.to_evidence(),
            _no_evidence,
        ),
        row(
            "mode.jump",
            "M",
            "global",
            "GPU mode",
            "Jump to what shows the GPU mode of the header: a launch, layers, Ollama's line; again: next.",
            lambda app: app.jumps.to_mode(),
            _no_mode,
        ),
        row(
            "source.open",
            "o",
            "global",
            "Source",
            "Open $EDITOR where the diagnostic points, or at the shim's definition of the selected call.",
            lambda app: app.outside.open_source(),
            lambda app: app.outside.no_source(),
        ),
        row(
            "report",
            "S",
            "global",
            "Report",
            "Make one zip of the session for a bug report: redacted, with a page and a status text.",
            hand_over,
        ),
        row(
            "stacks",
            "b",
            "global",
            "Stacks",
            "The native stacks of all threads of the process that hangs, or is selected (best with gdb).",
            lambda app: app.outside.show_stacks(),
            lambda app: app.outside.no_stacks(),
        ),
        row(
            "calls.next-error",
            "e",
            "global",
            "Next error",
            "Go to the next call that returned an error.",
            lambda app: app.next_error(1),
        ),
        row(
            "calls.previous-error",
            "E",
            "global",
            "Previous error",
            "Go to the previous failed call.",
            lambda app: app.next_error(-1),
        ),
        row(
            "calls.goto",
            "",
            "global",
            "Go to call …",
            "Go to a call by its number; `:443` does the same.",
            lambda app: app.ask("goto"),
        ),
        row(
            "app.command",
            ":",
            "global",
            "Commands",
            "Find any command by name, or type a call's number.",
            lambda app: app.action_command_palette(),
        ),
        row(
            "app.theme",
            "",
            "global",
            "Theme …",
            "Choose another theme.",
            lambda app: app.action_change_theme(),
        ),
        row(
            "app.help",
            "?",
            "global",
            "Help",
            "Keys of the focused pane and of all panes.",
            lambda app: app.outside.show_help(),
        ),
        row(
            "app.back",
            "escape",
            "global",
            "Back",
            "Leave a search, a filter, or the maximised pane.",
            lambda app: app.back(),
        ),
        row(
            "app.quit",
            "q",
            "global",
            "Quit",
            "Leave; the target is stopped, the session stays on disk.",
            lambda app: app.exit(),
        ),
    )
