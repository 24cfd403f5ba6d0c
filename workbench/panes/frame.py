"""The lines between panes: a title in a rule, with clickable tabs where panes share a place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.message import Message
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from workbench.panes.format import elide
from workbench.panes.parts import Inked
from workbench.panes.sgr import printable

_LEAST_INFO = 24  # columns that it must have when notes stand beside it


class Frames(Screen[object]):
    """The panes' screen. What a key changed is painted at once, not at the next beat of 60 a second."""

    def __init__(self, key_waits: Callable[[], bool]) -> None:
        super().__init__(id="_default")
        self._key_waits = key_waits

    async def _on_idle(self, event: events.Idle) -> None:
        await super()._on_idle(event)
        if self._key_waits():
            self._on_timer_update()


@dataclass(frozen=True)
class Tab:
    """A title in a rule; the key is the number that shows its pane."""

    key: str
    name: str
    pane: str

    @property
    def title(self) -> str:
        """As it stands in the rule."""
        return f"{self.key} {self.name}"


class Rule(Inked, Widget):
    """One row: `├─ 1 CALLS  filter !ok ──── right ─┤`, several tabs apart by a bar."""

    DEFAULT_CSS = "Rule { height: 1; width: 1fr; }"

    @dataclass
    class TabChosen(Message):
        """A click on a tab."""

        pane: str

    def __init__(self, tabs: list[Tab], left: str = "├", right: str = "┤", *, id: str) -> None:
        super().__init__(id=id)
        self.tabs = tabs
        self.left, self.right = left, right
        self.chosen = tabs[0].pane
        self.focused_pane: str | None = None
        self.info = ""
        self.notes = ""

    def show(self, *, info: str | None = None, notes: str | None = None, chosen: str | None = None) -> None:
        """Change what stands after the titles, at the right, or which tab is on top."""
        before = (self.info, self.notes, self.chosen)
        self.info = self.info if info is None else info
        self.notes = self.notes if notes is None else notes
        self.chosen = chosen or self.chosen
        if before != (self.info, self.notes, self.chosen):
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """The rule."""
        width = self.size.width
        line, dim = self.ink("rule"), self.ink("dim")
        segments = [Segment(self.left + "─ ", line)]
        used = len(self.left) + 2
        between, titles = self._titles(width)
        for number, (tab, title) in enumerate(zip(self.tabs, titles, strict=True)):
            if number:
                segments.append(Segment(between, line))
                used += len(between)
            ink = "dim"
            if tab.pane == self.chosen:
                ink = "focused" if tab.pane == self.focused_pane else "head"
            segments.append(Segment(title, self.ink(ink) + Style(meta={"tab": tab.pane})))
            used += len(title)
        notes = f" {self.notes} " if self.notes else ""
        room = width - used - len(self.right) - 2
        # Both, if the info is some use then.
        beside = len(notes) + 2 if room - len(notes) > _LEAST_INFO else 0
        info = elide(printable(self.info), room - 2 - beside)
        if info and room > 6:
            segments.append(Segment("  " + info, dim))
            room -= len(info) + 2
        if len(notes) > room - 2:
            notes = ""
        fill = max(room + 1 - len(notes), 0)
        segments.append(Segment(" " + "─" * max(fill - 1, 0), line))
        if notes:
            segments.append(Segment(notes, dim))
        segments.append(Segment("─" + self.right, line))
        return Strip(segments).adjust_cell_length(width).apply_style(self.rich_style)

    def _titles(self, width: int) -> tuple[str, list[str]]:
        """What stands between the titles, and the titles: closer and shorter where they would not fit."""
        titles = [tab.title.strip() for tab in self.tabs]
        room = width - len(self.left) - len(self.right) - 2
        for between, longest in ((" │ ", 99), ("│", 99), ("│", 9), ("│", 6)):
            fitting = [
                title if tab.pane == self.chosen else title[:longest].strip()
                for tab, title in zip(self.tabs, titles, strict=True)
            ]
            if sum(map(len, fitting)) + len(between) * (len(titles) - 1) <= room:
                break
        return between, fitting

    def on_click(self, event: events.Click) -> None:
        """Show the pane of the tab under the mouse."""
        pane = event.style.meta.get("tab")
        if pane:
            self.post_message(self.TabChosen(pane))
