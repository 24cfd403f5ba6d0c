"""The rows of time travel in the registry: key, command, where, help."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from workbench.actions import GLOBAL, Action

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp


def _nothing_recorded(app: ShimbenchApp) -> str | None:
    return None if len(app.session.calls) or len(app.session.log) else "nothing has been recorded yet"


def _not_travelling(app: ShimbenchApp) -> str | None:
    return None if app.travel.moment is not None else "this is now: T goes to the moment of the selected call"


_Run = Callable[["ShimbenchApp"], object]
_ROWS: tuple[tuple[str, str, str, str, _Run], ...] = (
    ("here", "T", "Travel to here",
     "Show everything as it was when the selected call returned, or the selected line was written.",
     lambda app: app.travel.here()),
    ("next-call", "full_stop", "Travel to the next call",
     "To when the next call returned, of those that the filter passes.",
     lambda app: app.travel.step_call(1)),
    ("previous-call", "comma", "Travel to the previous call", "To when the call before returned.",
     lambda app: app.travel.step_call(-1)),
    ("next-error", "right_square_bracket", "Travel to the next error", "To when the next call failed.",
     lambda app: app.travel.step_error(1)),
    ("previous-error", "left_square_bracket", "Travel to the previous error",
     "To when a call failed before.", lambda app: app.travel.step_error(-1)),
    ("next-run", "right_curly_bracket", "Travel to the next run's end", "To the end of the next run.",
     lambda app: app.travel.step_run(1)),
    ("previous-run", "left_curly_bracket", "Travel to the previous run's end",
     "To the end of the run before.", lambda app: app.travel.step_run(-1)),
    ("forward", "greater_than_sign", "Travel forward", "By a hundredth of the session's time.",
     lambda app: app.travel.step_time(1)),
    ("backward", "less_than_sign", "Travel back", "By a hundredth of the session's time.",
     lambda app: app.travel.step_time(-1)),
    ("play", "p", "Play", "Let time go on from here at the chosen speed, or stop.",
     lambda app: app.travel.play()),
    ("faster", "plus", "Play faster", "From a thousandth to a hundred times as fast as it was.",
     lambda app: app.travel.change_speed(1)),
    ("slower", "minus", "Play slower", "From a thousandth to a hundred times as fast as it was.",
     lambda app: app.travel.change_speed(-1)),
    ("ask", "", "Travel to …", "To a moment by its name: 7.1s, 250ms, @443, log:212, run:2.",
     lambda app: app.ask("travel")),
    ("now", "0", "Back to now", "Show the session as it is.", lambda app: app.travel.now()),
)  # fmt: skip
_WHILE_TRAVELLING = ("faster", "slower", "now")


def _reason(name: str) -> Callable[[ShimbenchApp], str | None]:
    return _not_travelling if name in _WHILE_TRAVELLING else _nothing_recorded


def travel_actions() -> tuple[Action, ...]:
    """T goes to a moment, the others move it; all panes follow."""
    return tuple(
        Action(f"travel.{name}", title, key, GLOBAL, help_text, run, _reason(name))
        for name, key, title, help_text, run in _ROWS
    )
