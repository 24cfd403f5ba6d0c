"""The rows behind every key of the workbench: key, command, where, help.

The same rows feed the bindings, the key line, the palette and the help screen. `run` and `reason`
get the ShimbenchApp. Where is "global", "lines" (every pane with lines) or one pane's name.
"""

from __future__ import annotations

from functools import cache

from textual.binding import Binding, BindingType

from workbench.actions import Action, Registry, loop_actions
from workbench.panes.global_actions import global_actions
from workbench.panes.line_actions import line_actions
from workbench.panes.marking_actions import marking_actions
from workbench.panes.travel_actions import travel_actions


@cache
def registry() -> Registry:
    """All commands: the loop's and the panes'."""
    return Registry(
        (*loop_actions(), *global_actions(), *line_actions(), *travel_actions(), *marking_actions())
    )


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
