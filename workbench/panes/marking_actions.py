"""The rows of marks and of the search over everything in the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.actions import GLOBAL, Action

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp


def _nothing_selected(app: ShimbenchApp) -> str | None:
    return None if app.marking.selected is not None else "nothing is selected: 1 or 7, then j and k"


def marking_actions() -> tuple[Action, ...]:
    """m marks, the others use marks."""
    return (
        Action("mark.toggle", "Mark", "m", GLOBAL, "Mark the selected call or line; again: take it back.",
               lambda app: app.marking.toggle(), _nothing_selected),
        Action("mark.note", "Note", "semicolon", GLOBAL, "Mark what is selected with a note.",
               lambda app: app.ask("note"), _nothing_selected),
        Action("mark.list", "Marks …", "apostrophe", GLOBAL, "List the marks and notes; Enter goes to one.",
               lambda app: app.marking.choose()),
        Action("mark.next", "Next mark", "u", GLOBAL, "Go to the next marked call or line of the pane.",
               lambda app: app.marking.next(1)),
        Action("mark.previous", "Previous mark", "U", GLOBAL, "Go to the marked call or line before.",
               lambda app: app.marking.next(-1)),
        Action("search.everything", "Search everything …", "s", GLOBAL,
               "Search calls with their arguments and results, the log, notes and sources.",
               lambda app: app.ask("everything")),
        Action("filter.offer", "Filter by this …", "equals_sign", GLOBAL,
               "List filters that what is selected passes; Enter adds one (mouse: Ctrl-click on a cell).",
               lambda app: app.rules.offer()),
        Action("filter.colour", "Colour …", "", GLOBAL,
               "Draw calls (in the log: lines) that a filter passes in a colour: `bold red !ok`; again: not.",
               lambda app: app.ask("colour")),
        Action("filter.count", "Count …", "", GLOBAL,
               "Count calls (in the log: lines) that a filter passes, live, in the pane's title; again: not.",
               lambda app: app.ask("count")),
        Action("filter.rules", "Colours and counters", "", GLOBAL, "List them; Enter takes one away.",
               lambda app: app.rules.choose()),
        Action("compare", "Compare …", "C", GLOBAL,
               "Two runs side by side, first divergence first: `:compare A B`, each SESSION[:RUN].",
               lambda app: app.ask("compare")),
    )  # fmt: skip
