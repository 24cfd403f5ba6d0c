"""Where the panes of the workbench stand: all at once or one at a time, and what their frames say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll

from workbench.panes.actions import key_text, registry
from workbench.panes.frame import Rule, Tab
from workbench.panes.header import Bar, HeaderLine, header_facts, stage_parts
from workbench.panes.lines import LineView, Waiting
from workbench.panes.parts import Inks
from workbench.panes.prompt import KeyLine, Prompt
from workbench.panes.rows import PANES
from workbench.panes.travel_line import TravelLine

if TYPE_CHECKING:
    from textual.widget import Widget

    from workbench.app import ShimbenchApp

TABS = ("coverage", "device", "inspect", "build", "processes", "timeline")
_TITLES = {pane: Tab(str(number), "INSPECT" if pane == "inspect" else pane.upper(), pane)
           for number, pane in enumerate(PANES, 1)}  # fmt: skip
_KEYS = {
    "calls": ("calls.filter", "calls.follow", "calls.pause", "lines.search", "lines.choose", "calls.fold"),
    "log": ("log.filter", "log.follow", "log.pause", "lines.search", "log.wrap", "lines.choose", "log.call"),
    "timeline": ("lines.choose", "timeline.call", "mode.jump", "lines.search"),
    "device": ("kernels", "device.filter", "device.order", "lines.search", "lines.choose", "lines.copy"),
    "build": ("source.open", "lines.search", "lines.copy"),
}
_ALWAYS = ("relaunch", "evidence.jump", "calls.next-error", "pane.zoom")
_FIXED = ("app.command", "app.help", "app.quit")


class Arrangement:
    """Lays out the panes of `app` and keeps its header, titles and key line true."""

    def __init__(self, app: ShimbenchApp) -> None:
        self._app = app
        self._parts: list[Widget] = []
        self._tab_shown = ""

    def compose(self) -> ComposeResult:
        """The first screen of the design, top to bottom; before a session is open, its empty frame."""
        content = self._app.content if self._app.opened else None
        yield Inks()
        yield Bar(id="header")
        yield Bar(id="stages")
        yield Rule([Tab("", "WHY", "why")], "┌", "┐", id="why-rule")
        with VerticalScroll(id="why-scroll", can_focus=False):
            if content is not None:
                yield content.why
        yield Rule(list(_TITLES.values()), "", "", id="narrow-rule")
        with Horizontal(id="middle"):
            with Vertical(id="left"):
                yield Rule([_TITLES["calls"]], "├", "─", id="calls-rule")
                yield content.calls if content is not None else Waiting()
            with Vertical(id="right"):
                yield Rule([_TITLES[pane] for pane in TABS], "┬", "┤", id="tabs-rule")
                yield from content.tabs if content is not None else [Waiting()]
        with Vertical(id="bottom"):
            yield Rule([_TITLES["log"]], "├", "┤", id="log-rule")
            yield content.log if content is not None else Waiting()
        yield TravelLine()
        yield KeyLine()
        yield Bar(id="offers")
        yield Prompt()

    async def fill(self) -> None:
        """Put the panes into the empty frame."""
        app, content = self._app, self._app.content
        with app.batch_update():
            await app.query(Waiting).remove()
            await app.query_one("#why-scroll").mount(content.why)
            await app.query_one("#left").mount(content.calls)
            await app.query_one("#right").mount(*content.tabs)
            await app.query_one("#bottom").mount(content.log)
            self.complete()

    def complete(self) -> None:
        """All widgets are there: from now on they stand as they should."""
        self._parts = list(self._app.query("LineView, Rule, Bar, WhyPane, KeyLine, Prompt"))
        self.arrange()

    @property
    def whole(self) -> bool:
        """Whether all widgets are there: on the way out they go one by one while timers still tick."""
        return self._app.opened and self._framed

    @property
    def _framed(self) -> bool:
        """Whether all widgets there were at the last count are there, with a session or without."""
        return bool(self._parts) and all(part.is_attached for part in self._parts)

    @property
    def single(self) -> bool:
        """Whether one pane at a time is shown: a small terminal, or a maximised pane."""
        return self._app.zoomed or self._app.size.width < 110 or self._app.size.height < 30

    def view(self, pane: str) -> LineView:
        """The lines of a pane."""
        return self._app.query_one(f"#{pane}", LineView)

    def arrange(self) -> None:
        """Show what the size of the terminal and the chosen pane leave room for."""
        app = self._app
        if not self._framed:
            return
        single = self.single
        app.screen.set_class(single, "single")
        tab = app.pane if app.pane in TABS else app.tab
        app.tab = tab
        shown = {"left": ("calls",), "right": TABS, "bottom": ("log",)}
        for container, panes in shown.items():
            app.query_one(f"#{container}").display = not single or app.pane in panes
        app.query_one("#middle").display = not single or app.pane != "log"
        for rule in ("calls-rule", "tabs-rule", "log-rule"):
            app.query_one(f"#{rule}").display = not single
        app.query_one("#narrow-rule").display = single
        if not self.whole:
            return
        for pane in TABS:
            app.query_one(f"#{pane}").display = pane == tab
        if tab != self._tab_shown:
            self._tab_shown = tab
            self.show_tab()
        self.show_titles()
        app.call_after_refresh(self.show_header)

    # What the frames say

    def show_titles(self) -> None:
        """Filter, follow and pause of the panes, and the keys of the chosen one."""
        if self.whole:
            self._app.guard.keep_up("titles", self._show_titles)

    def _show_titles(self) -> None:
        app = self._app
        for identity in ("narrow-rule", "calls-rule", "tabs-rule", "log-rule"):
            rule = app.query_one(f"#{identity}", Rule)
            refocused, rule.focused_pane = rule.focused_pane != app.pane, app.pane
            chosen = app.tab if identity == "tabs-rule" else app.pane
            if identity in ("narrow-rule", "tabs-rule"):
                rule.show(chosen=chosen)
            if identity in ("calls-rule", "log-rule"):
                rule.show(info=self.view(rule.tabs[0].pane).status())
            if identity == "tabs-rule":
                rule.show(notes=self.view(app.tab).status())
            if refocused:
                rule.refresh()
        self.show_keys()

    def show_keys(self) -> None:
        """The keys that can do something now."""
        app = self._app
        names = (*_KEYS.get(app.pane, ("lines.search", "lines.choose", "lines.copy")), *_ALWAYS)
        status = self.view(app.pane).status() if self.single and self.whole else ""
        app.query_one(KeyLine).show(self._keys(names), self._keys(_FIXED), status)

    def _keys(self, names: tuple[str, ...]) -> list[tuple[str, str, str]]:
        rows = [registry().get(name) for name in names]
        opened = self._app.opened
        if not opened:
            rows = [row for row in rows if row.name in (*_KEYS["calls"], *_FIXED)]  # what always can be done
        words = {row.name: row.title.split(" ")[0] if "." not in row.name else row.title for row in rows}
        can = [row for row in rows if not opened or not row.reason(self._app)]
        return [(key_text(row), words[row.name].lower(), row.name) for row in can]

    def show_tab(self) -> None:
        """What the pane of the chosen tab knows by now."""
        self._app.guard.keep_up(self._app.tab, self._show_tab)

    def _show_tab(self) -> None:
        app, content = self._app, self._app.content
        if app.tab == "coverage":
            content.coverage.show_rows()
        if app.tab == "device":
            content.device.show_rows()
        if app.tab == "build":
            building = app.loop is not None and app.loop.status.shim.state == "building"
            content.build.show_rows(building)
        if app.tab == "processes":
            content.processes.show_rows()
        if app.tab == "timeline":
            content.timeline.show_rows()

    def show_opening(self, name: str) -> None:
        """Of a frame without a session: which one is being opened."""
        self._app.query_one("#header", Bar).show([("shimbench", "head"), (f"  opening {name}", "dim")])
        self.show_keys()

    def show_header(self) -> None:
        """The two lines at the top, and WHY's title."""
        if self.whole:
            self._app.guard.keep_up("header", self._show_header)

    def _show_header(self) -> None:
        app = self._app
        width = app.size.width
        moment = app.travel.facts
        now = app.loop.status if app.loop is not None and moment is None else None
        facts = header_facts(app.travel.session, now)
        app.query_one("#header", Bar).show(HeaderLine(facts).parts(width))
        right = f"{facts.run_ns / 1e9:.1f} s " if facts.run_ns is not None else ""
        right = (app.facts.limit_text() if moment is None else "") or right
        stopped = app.breaks.header(width // 2 if width >= 160 else width)
        room = width - len(right) - 2 - sum(len(text) for text, _ in stopped)
        known = moment or app.facts
        stages = [*stopped, *stage_parts(known.mode, known.stages(), room)]
        app.query_one("#stages", Bar).show(stages, [(right, "dim")] if right else None)
        notes = "w evidence  o source" if app.why.targets else ""
        app.query_one("#why-rule", Rule).show(info=app.why.title, notes=notes)
