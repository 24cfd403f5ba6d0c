"""The cells of a line of the calls pane: which there are in a width, and how a call is shortened to fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workbench.panes.format import elide
from workbench.panes.outcomes import short_result
from workbench.panes.parts import Ink, Part

if TYPE_CHECKING:
    from sessions.decode import DecodedCall

WITH_PROCESS, WITH_CALLER, WITH_TIME = 124, 100, 76
"""Widths of the pane from which these columns stand beside the call."""


def cell_of(parts: Sequence[Part], view: int, x: int) -> str:
    """What stands at a column of a line drawn in a view of that width, as filter.apply.terms_of() names it;
    "" for what makes no filter."""
    names = ["", "call"]
    for name, width in (("", WITH_TIME), ("pid", WITH_PROCESS), ("caller", WITH_CALLER)):
        names += ["", name] if view >= width else []
    names += ["", "function", "argument 0", "", "result", "", "", "", "duration"]
    at = 0
    for (text, _), name in zip(parts, names, strict=False):
        at += len(text)
        if x < at:
            return name
    return ""


def call_parts(call: DecodedCall, result: Ink, room: int) -> list[Part]:
    """A call in `room` characters: out-values and then arguments give way, the result stays readable."""
    words = [
        f"{each.name}={each.text}" if each.name else each.text for each in call.arguments if not each.out
    ]
    given = ", ".join(words)
    outs = ", ".join(f"*{each.name}={each.text}" for each in call.arguments if each.out)
    outs = f" [{outs}]" if outs else ""
    arrow = " -> " if call.result else ""
    shown = call.result
    if len(call.name) + len(given) + 2 + len(arrow) + len(shown) > room:
        shown = short_result(shown)
        # A name that is asked for, or any other string, says more than the pointers around it.
        quoted = [each.text for each in call.arguments if not each.out and each.text.startswith('"')]
        # Where a value was written is worth less than the value, which stands behind the result.
        written = {each.name for each in call.arguments if each.out}
        left = [word for word in words if not word.endswith('"') and word.split("=", 1)[0] not in written]
        given = elide(
            ", ".join([*quoted, *left]), max(room - len(call.name) - 2 - len(arrow) - len(shown), 1)
        )
    outs = elide(outs, room - len(call.name) - len(given) - 2 - len(arrow) - len(shown))
    return [(call.name, "name"), (f"({given})", "plain"), (arrow, "dim"), (shown, result), (outs, "out")]
