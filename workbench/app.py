"""The workbench: one screen over a session that is still being written, or that was saved.

The first frame is painted by what this module imports: numpy, the session's reader and the views, which
take longer to load than the frame to draw, come with `workbench.panes.content` behind it.
"""

from __future__ import annotations

import gc
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widget import Widget

from workbench.errors import ShimbenchError
from workbench.panes.actions import PANES, bindings, key_text, registry
from workbench.panes.frame import Frames, Rule, Tab
from workbench.panes.header import Bar, HeaderLine, header_facts, stage_parts
from workbench.panes.lines import Inks, LineView, Waiting
from workbench.panes.outside import Outside
from workbench.panes.palette import Commands
from workbench.panes.prompt import KeyLine, Prompt

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.screen import Screen

    from sessions import Session
    from workbench.diagnosis import Explanation
    from workbench.filter.complete import Completion
    from workbench.loop import Loop, LoopEvent
    from workbench.panes.breaks import Breaks
    from workbench.panes.calls import CallsPane
    from workbench.panes.content import Content
    from workbench.panes.facts import SessionFacts
    from workbench.panes.jumps import Jumps
    from workbench.panes.log import LogPane
    from workbench.panes.why import WhyPane

FRAME, SLOWEST_FRAME = 1 / 15, 1 / 5  # seconds between looks at the session
CORE_SHARE = 0.2  # of a core, which looking and painting should not exceed: else looks come more slowly
SLICE = 0.008  # seconds of taking in calls before keys get their turn
MOST_AT_ONCE, LEAST_AT_ONCE = 1 << 16, 1 << 8  # calls taken in between looks at the clock
KEY_FIRST = 0.06  # seconds for which a key that is not painted yet puts off taking in calls
COLLECT_AFTER = 3.0  # seconds after which garbage is collected even if the rules have nothing to say yet
COLLECT_EVERY = 10_000, 20, 50  # a painted frame makes thousands of short-lived objects: not at each
WRITTEN_IN = 0.004  # seconds that a key's frame takes to be written, if nothing is in the way
VIEW_PERIOD = 0.25  # seconds between updates of the derived views, more when they are dear
VIEW_SHARE = 8  # a view update that took t seconds of the processor is not repeated for this many t

_TABS = ("coverage", "device", "inspect", "build", "processes", "timeline")
_TITLES = {pane: Tab(str(number), "INSPECT" if pane == "inspect" else pane.upper(), pane)
           for number, pane in enumerate(PANES, 1)}  # fmt: skip
_HINTS = {
    "search": "regular expression",
    "goto": "number of a call",
    "note": "what is worth knowing about this call",
    "break": "cuMemAlloc*   cu* error   cuLaunchKernel result:CUDA_ERROR_INVALID_VALUE @3",
}
_KEYS = {
    "calls": ("calls.filter", "calls.follow", "calls.pause", "lines.search", "lines.choose", "calls.fold"),
    "log": ("log.filter", "log.follow", "log.pause", "lines.search", "log.wrap", "lines.choose", "log.call"),
    "timeline": ("lines.choose", "timeline.call", "mode.jump", "lines.search"),
    "build": ("source.open", "lines.search", "lines.copy"),
}
_ALWAYS = ("relaunch", "evidence.jump", "calls.next-error", "pane.zoom")
_FIXED = ("app.command", "app.help", "app.quit")


class ShimbenchApp(App[bool]):
    """Panes over a session; `loop` is None when it was saved, or is watched from elsewhere.

    Instead of the session, what opens it can be given: then the frame is painted first, with `name` in its
    header. A ShimbenchError of the opening ends the application and stands in `failure`.
    """

    TITLE = "shimbench"
    CSS_PATH = Path(__file__).parent / "panes" / "app.tcss"
    COMMANDS: ClassVar[set[type[Commands] | Callable[[], type[Commands]]]] = {Commands}  # type: ignore[assignment]
    BINDINGS: ClassVar[list[BindingType]] = bindings("global")
    AUTO_FOCUS = "#calls"

    session: Session
    facts: SessionFacts
    breaks: Breaks
    jumps: Jumps

    def __init__(
        self,
        loop: Loop | None,
        session: Session | Callable[[], Session],
        root: Path | None = None,
        name: str = "",
    ) -> None:
        super().__init__()
        self.loop = loop
        self.root = root or (loop.config.directory if loop is not None else Path.cwd())
        self.failure: ShimbenchError | None = None
        self.pane = "calls"
        self.tab = "coverage"
        self._tab_shown = ""
        self.zoomed = False
        self.outside = Outside(self)
        self._name = name
        self._content: Content | None = None  # None until the session is open
        self._open = session if callable(session) else None
        self._asked_early: list[str] = []  # commands given before there was a session
        self._views_due = 0.0
        self._header_due = 0.0
        self._events_read = 0
        self._damage_told: set[str] = set()
        self._views_stale = True
        self._was_live = False
        self._at_once = MOST_AT_ONCE
        self._cpu_seconds = 0.0  # of this process, at the last look
        self._shown_at = 0.0
        self._opened_at = 0.0
        self._key_at = 0.0  # when a key came that is not painted yet
        self._key_done = False
        self._quiet_until = 0.0  # the thread that writes to the terminal has its turn
        self._parts: list[Widget] = []
        self._explained: Explanation | None = None
        if not callable(session):
            self._take_session(session)

    def _take_session(self, session: Session) -> None:
        """Load what reads a session, and make its panes."""
        from workbench.panes.breaks import Breaks
        from workbench.panes.content import Content
        from workbench.panes.jumps import Jumps

        self.session = session
        self._opened_at = time.monotonic()
        self._was_live = session.live
        self._content = Content(session, self.root)
        self.facts = self._content.facts
        self.breaks = Breaks(self)
        self.jumps = Jumps(self)

    @property
    def content(self) -> Content:
        """The panes; there are none before the session is open."""
        assert self._content is not None
        return self._content

    # Layout

    def get_default_screen(self) -> Screen[object]:
        """The screen of the panes."""
        return Frames(lambda: self._key_done and self._key_at > 0)

    def compose(self) -> ComposeResult:
        """The first screen of the design, top to bottom."""
        content = self._content
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
                yield Rule([_TITLES[pane] for pane in _TABS], "┬", "┤", id="tabs-rule")
                yield from content.tabs if content is not None else [Waiting()]
        with Vertical(id="bottom"):
            yield Rule([_TITLES["log"]], "├", "┤", id="log-rule")
            yield content.log if content is not None else Waiting()
        yield KeyLine()
        yield Bar(id="offers")
        yield Prompt()

    def on_mount(self) -> None:
        """Start looking at the session, or open it behind the first frame."""
        self._parts = list(self.query("LineView, Rule, Bar, WhyPane, KeyLine, Prompt"))
        self._arrange()
        if self._content is not None:
            self._start()
            return
        self.query_one("#header", Bar).show([("shimbench", "head"), (f"  opening {self._name}", "dim")])
        self._show_keys()
        self.call_after_refresh(self._fill)

    async def _fill(self) -> None:
        """Open the session and put its panes into the frame; then do what was asked for meanwhile."""
        assert self._open is not None
        try:
            self._take_session(self._open())
        except ShimbenchError as error:
            self.failure = error
            self.exit()
            return
        content = self.content
        with self.batch_update():
            await self.query(Waiting).remove()
            await self.query_one("#why-scroll").mount(content.why)
            await self.query_one("#left").mount(content.calls)
            await self.query_one("#right").mount(*content.tabs)
            await self.query_one("#bottom").mount(content.log)
            self._parts = list(self.query("LineView, Rule, Bar, WhyPane, KeyLine, Prompt"))
            self._arrange()
        self.set_focus(content.calls)
        self._start()
        self.call_after_refresh(self._do_asked)

    def _do_asked(self) -> None:
        for name in self._asked_early:
            self.do(name)

    def _start(self) -> None:
        self.call_after_refresh(self._tick)
        if self.loop is not None:
            self.loop.subscribe(self._on_loop_event)
            if self.loop.notice:
                self.notify(self.loop.notice, timeout=10)

    def on_unmount(self) -> None:
        """Let the thread that looks for causes end."""
        if self._content is not None:
            self.facts.diagnosis.stop()

    def on_resize(self, event: events.Resize) -> None:
        """Between one pane at a time and all of them."""
        self.call_after_refresh(self._arrange)

    @property
    def _whole(self) -> bool:
        """Whether all widgets are there: on the way out they go one by one while timers still tick."""
        return self._content is not None and self._framed

    @property
    def _framed(self) -> bool:
        """Whether all widgets there were at the last count are there, with a session or without."""
        return bool(self._parts) and all(part.is_attached for part in self._parts)

    @property
    def single(self) -> bool:
        """Whether one pane at a time is shown: a small terminal, or a maximised pane."""
        return self.zoomed or self.size.width < 110 or self.size.height < 30

    def _arrange(self) -> None:
        if not self._framed:
            return
        single = self.single
        self.screen.set_class(single, "single")
        tab = self.pane if self.pane in _TABS else self.tab
        self.tab = tab
        shown = {"left": ("calls",), "right": _TABS, "bottom": ("log",)}
        for container, panes in shown.items():
            self.query_one(f"#{container}").display = not single or self.pane in panes
        self.query_one("#middle").display = not single or self.pane != "log"
        for rule in ("calls-rule", "tabs-rule", "log-rule"):
            self.query_one(f"#{rule}").display = not single
        self.query_one("#narrow-rule").display = single
        if not self._whole:
            return
        for pane in _TABS:
            self.query_one(f"#{pane}").display = pane == tab
        if tab != self._tab_shown:
            self._tab_shown = tab
            self._show_tab()
        self._show_titles()
        self.call_after_refresh(self._show_header)

    def _show_titles(self) -> None:
        if not self._whole:
            return
        for identity in ("narrow-rule", "calls-rule", "tabs-rule", "log-rule"):
            rule = self.query_one(f"#{identity}", Rule)
            refocused, rule.focused_pane = rule.focused_pane != self.pane, self.pane
            chosen = self.tab if identity == "tabs-rule" else self.pane
            if identity in ("narrow-rule", "tabs-rule"):
                rule.show(chosen=chosen)
            if identity in ("calls-rule", "log-rule"):
                rule.show(info=self._view(rule.tabs[0].pane).status())
            if identity == "tabs-rule":
                rule.show(notes=self._view(self.tab).status())
            if refocused:
                rule.refresh()
        self._show_keys()

    def _show_keys(self) -> None:
        names = (*_KEYS.get(self.pane, ("lines.search", "lines.choose", "lines.copy")), *_ALWAYS)
        status = self._view(self.pane).status() if self.single and self._whole else ""
        self.query_one(KeyLine).show(self._keys(names), self._keys(_FIXED), status)

    def _keys(self, names: tuple[str, ...]) -> list[tuple[str, str, str]]:
        rows = [registry().get(name) for name in names]
        if self._content is None:
            rows = [row for row in rows if row.name in (*_KEYS["calls"], *_FIXED)]  # what always can be done
        words = {row.name: row.title.split(" ")[0] if "." not in row.name else row.title for row in rows}
        can = [row for row in rows if self._content is None or not row.reason(self)]
        return [(key_text(row), words[row.name].lower(), row.name) for row in can]

    # Panes

    def _view(self, pane: str) -> LineView:
        return self.query_one(f"#{pane}", LineView)

    @property
    def view(self) -> LineView:
        """What has the focus: a pane, or the lines of an overlay."""
        focused = self.focused
        return focused if isinstance(focused, LineView) else self._view(self.pane)

    @property
    def calls(self) -> CallsPane:
        """The calls pane."""
        return self.content.calls

    @property
    def log_pane(self) -> LogPane:
        """The log pane."""
        return self.content.log

    @property
    def why(self) -> WhyPane:
        """The WHY pane."""
        return self.content.why

    def show_pane(self, pane: str) -> None:
        """Bring a pane to the front and give it the keys."""
        self.pane = pane
        self._arrange()
        self._view(pane).focus()
        self._views_stale = True

    def step_pane(self, step: int) -> None:
        """The next pane, in the order of their numbers; in the prompt, the next candidate."""
        prompt = self.query_one(Prompt)
        if prompt.has_focus:
            prompt.complete(step)
            return
        self.show_pane(PANES[(PANES.index(self.pane) + step) % len(PANES)])

    def zoom(self) -> None:
        """Maximise the pane, or not."""
        self.zoomed = not self.zoomed
        self._arrange()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A click focuses a pane as its key does."""
        pane = event.widget.id
        if pane in PANES and pane != self.pane:
            self.pane = pane
            self._arrange()

    # The session

    async def on_event(self, event: events.Event) -> None:
        """Note when a key comes, before it goes its way."""
        if isinstance(event, events.Key):
            self._key_at, self._key_done = time.monotonic(), False
        await super().on_event(event)

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        super()._display(screen, renderable)
        if self._key_done and self._key_at:
            self._key_at, self._quiet_until = 0.0, time.monotonic() + WRITTEN_IN

    def _tick(self) -> None:
        """One look, and the appointment for the next."""
        from sessions import SessionError

        self._begin_collecting()
        if time.monotonic() < max(self._key_at + KEY_FIRST, self._quiet_until):
            self.set_timer(0.005, self._tick)
            return
        pause = SLOWEST_FRAME
        try:
            if self._whole:
                pause = self._look()
        except SessionError as error:  # a damaged part must not take the rest off the screen
            if str(error) not in self._damage_told:
                self._damage_told.add(str(error))
                self.notify(str(error), title="the session is damaged", severity="error", timeout=30)
        self.set_timer(pause, self._tick)

    def _begin_collecting(self) -> None:
        """Let garbage be collected, which the commands put off: until the rules are loaded as well nothing
        is any, and looking through the schema and all modules took a tenth of a second each time."""
        if gc.isenabled():
            return
        explained = self._whole and self.facts.diagnosis.report.explanation is not None
        if explained or time.monotonic() > self._opened_at + COLLECT_AFTER:
            gc.freeze()
            gc.set_threshold(*COLLECT_EVERY)
            gc.enable()

    def _look(self) -> float:
        """Show what was recorded since, the derived views now and then; -> seconds until the next look."""
        calls, log = self.calls, self.log_pane
        now = time.monotonic()
        changed = self._was_live and self.session.refresh()
        finished = self._was_live and not self.session.live
        self._was_live = self.session.live
        explained = self._explained is self.facts.diagnosis.report.explanation
        self._views_stale = self._views_stale or changed or finished or not explained
        behind = self._take_calls(now + SLICE)
        due = calls.stops.update() or now >= self._views_due  # a stopped call is shown at once
        if not behind or now >= self._shown_at + SLOWEST_FRAME:
            self._shown_at = now
            # Calls under way are asked for with the rest: one that has returned since must not stay.
            calls.show(in_flight_too=self.session.live or finished)
            log.advance()
            if now >= self._header_due and self.session.live:
                self._header_due = now + VIEW_PERIOD
                self._show_header()
            if due and (self._views_stale or self.session.live):
                self._views_stale = behind
                spent = time.thread_time()
                self._update_views()
                spent = time.thread_time() - spent
                self._views_due = now + max(VIEW_PERIOD, VIEW_SHARE * spent)
        if behind:
            return 0.001
        used, self._cpu_seconds = time.process_time() - self._cpu_seconds, time.process_time()
        frame = min(max(used / CORE_SHARE, FRAME), SLOWEST_FRAME)
        return max(frame - (time.monotonic() - now), 0.005)

    def _take_calls(self, deadline: float) -> bool:
        """Have the calls pane and the derived views take in rows, side by side, so that each is read once;
        True if there are more of them than the time allows."""
        lines, facts, total = self.calls, self.facts, len(self.session.calls)
        while (start := min(lines.scanned, facts.scanned)) < total:
            began = time.monotonic()
            if began >= deadline:
                return True
            # Up to where a chunk ends, which is decoded as a whole.
            stop = min(start + self._at_once - start % self._at_once, total)
            lines.advance(stop)
            if facts.scanned < stop:
                facts.take(stop)
            took = time.monotonic() - began
            if took > 2 * SLICE and self._at_once > LEAST_AT_ONCE:  # a filter by text looks at each call
                self._at_once //= 2
            elif took < SLICE / 4 and self._at_once < MOST_AT_ONCE:
                self._at_once *= 2
        facts.take(total)  # lines and events are new without calls as well
        return False

    @property
    def settled(self) -> bool:
        """Whether everything known of the session is on the screen."""
        if self._content is None:
            return False
        total = len(self.session.calls)
        scanned = self.calls.calls.scanned == total == self.facts.scanned
        explained = self.facts.diagnosed and self._explained is self.facts.diagnosis.report.explanation
        return not self._views_stale and scanned and explained

    def decoder_text(self, row: int) -> str:
        """A call on one line."""
        return self.facts.decoder.text(self.session, row)

    def _take_marks(self) -> None:
        events = self.session.events
        for event in events[self._events_read :]:
            if event.kind == "mark":
                self.calls.marks[int(event.fields["call"]) - 1] = str(event.fields.get("note") or "")
                self.calls.refresh()
        self._events_read = len(events)

    def _update_views(self) -> None:
        from workbench.panes.why import walls_of

        self.facts.judge()
        self._take_marks()
        self._show_tab()
        self._explained = self.facts.diagnosis.report.explanation
        self.why.show(walls_of(self._explained))
        self._show_header()
        self._show_titles()

    def _show_tab(self) -> None:
        """What the pane of the chosen tab knows by now."""
        if self.tab == "coverage":
            self.content.coverage.show_rows()
        if self.tab == "device":
            self.content.device.show_rows()
        if self.tab == "build":
            building = self.loop is not None and self.loop.status.shim.state == "building"
            self.content.build.show_rows(building)
        if self.tab == "processes":
            self.content.processes.show_rows()
        if self.tab == "timeline":
            self.content.timeline.show_rows()

    def _show_header(self) -> None:
        if not self._whole:
            return
        width = self.size.width
        facts = header_facts(self.session, self.loop.status if self.loop is not None else None)
        self.query_one("#header", Bar).show(HeaderLine(facts).parts(width))
        right = f"{facts.run_ns / 1e9:.1f} s " if facts.run_ns is not None else ""
        right = self.facts.limit_text() or right
        stopped = self.breaks.header(width // 2 if width >= 160 else width)
        room = width - len(right) - 2 - sum(len(text) for text, _ in stopped)
        stages = [*stopped, *stage_parts(self.facts.mode, self.facts.stages(), room)]
        self.query_one("#stages", Bar).show(stages, [(right, "dim")] if right else None)
        notes = "w evidence  o source" if self.why.targets else ""
        self.query_one("#why-rule", Rule).show(info=self.why.title, notes=notes)

    def _on_loop_event(self, event: LoopEvent) -> None:
        self._views_stale = True
        if event.kind == "session" and self.loop is not None:
            self.loop.notice = event.text
            self.loop.unsubscribe(self._on_loop_event)
            self.exit(True)
        elif event.kind == "problem":
            self.notify(event.text, severity="error")
        elif event.kind == "target" and event.text.lstrip().startswith("warning: "):
            self.notify(event.text.strip().removeprefix("warning: "), severity="warning", timeout=15)
        elif event.kind == "build-finished" and not event.fields.get("ok", True):
            self._views_due = 0.0
            self.notify("the build failed: the run before goes on (5 shows why)", severity="error")
            if self.pane != "build":
                self.tab = "build"
                self._arrange()
        elif event.kind == "since":
            self.notify(event.text)
        elif event.kind == "rung" and event.fields.get("state") == "failed":
            self.notify(event.text, severity="warning")

    # Commands

    def do(self, name: str) -> None:
        """Run a row of the registry, or say why it can't be done."""
        row = registry().get(name)
        if self._content is None and name != "app.quit":
            self._asked_early.append(name)
            return
        reason = row.reason(self)
        if reason:
            self.notify(f"{row.title}: {reason}", severity="warning")
            return
        result = row.run(self)
        if inspect.isawaitable(result):
            self.run_worker(result, exclusive=False)
        self._show_keys()
        self._key_done = True

    def action_do(self, name: str) -> None:
        """What bindings call."""
        self.do(name)

    def ask(self, kind: str) -> None:
        """Open the prompt."""
        prompt = self.query_one(Prompt)
        text, hint = "", _HINTS.get(kind, "")
        if kind == "filter":
            text = self.calls.filter_text if self.pane == "calls" else self.log_pane.filter_text
            hint = "cuMem* !ok pid:123 caller:libcudart dur:>1ms result:CUDA_ERROR_* text:foo"
            if self.pane == "log":
                hint = "level:warn source:runner* then a regular expression, ! first for the other lines"
        prompt.display = True
        self.query_one(KeyLine).display = False
        prompt.ask(kind, text, hint, self._candidates if kind == "filter" and self.pane == "calls" else None)

    def _candidates(self, text: str, cursor: int) -> list[Completion]:
        from workbench.filter.complete import complete

        return complete(text, cursor, self.session)

    def on_prompt_offered(self, message: Prompt.Offered) -> None:
        """What could stand at the cursor of the prompt, over it."""
        offers = self.query_one("#offers", Bar)
        offers.display = bool(message.parts)
        offers.show(message.parts)

    def on_prompt_answered(self, message: Prompt.Answered) -> None:
        """Do what was asked for, and give the keys back to the pane."""
        if message.text is not None and not self._answer(message.kind, message.text.strip()):
            return
        self.query_one(Prompt).display = False
        self.query_one("#offers").display = False
        self.query_one(KeyLine).display = True
        self.view.focus()

    def _answer(self, kind: str, text: str) -> bool:
        """False: the prompt stays open."""
        if kind == "search" and not self.view.search(text):
            self.notify(f"nothing matches {text}", severity="warning")
        elif kind == "goto":
            self.jumps.to_call(text)
        elif kind == "break":
            return not text or self.breaks.toggle(text)
        elif kind == "note":
            self.mark(text)
        elif kind == "filter" and self.pane == "log":
            self.log_pane.set_filter(text)
        elif kind == "filter":
            return self._filter_calls(text)
        self._show_titles()
        return True

    def _filter_calls(self, text: str) -> bool:
        from workbench.filter import FilterError, parse

        try:
            self.calls.set_filter(text, parse(text) if text else None)
        except FilterError as error:
            self.notify(f"filter, column {error.column}: {error.message}", severity="error")
            return False
        self._show_titles()
        return True

    def next_error(self, step: int) -> None:
        """Go to the next or previous failed call, at the end round to the other end."""
        if self.calls.next_error(step):
            return
        if not self.calls.first_error(step):
            self.notify("no call failed" + (", of those the filter passes" if self.calls.filter_text else ""))
            return
        self.notify("round to the first failed call" if step > 0 else "round to the last failed call")

    def next_match(self, step: int) -> None:
        """Go on with the search."""
        if not self.view.next_match(step):
            self.notify("no other match")

    def no_search(self) -> str | None:
        """Why n and N can't go on."""
        return None if self.view.pattern is not None else "nothing is searched for: / first"

    def back(self) -> None:
        """Leave the innermost passing state: a search, a filter, a pause, a maximised pane."""
        view = self.view
        if view.pattern is not None:
            view.search("")
        elif view is self.calls and self.calls.filter_text:
            self.calls.set_filter("", None)
        elif view is self.log_pane and self.log_pane.filter_text:
            self.log_pane.set_filter("")
        elif view is self.calls and self.calls.paused:
            self.calls.pause()
        elif view is self.log_pane and self.log_pane.paused:
            self.log_pane.pause()
        elif self.zoomed:
            self.zoom()
        self._show_titles()

    def choose(self) -> None:
        """Enter: a fold opens, a call is inspected, a log line is shown whole, a row opens."""
        view, content = self.view, self.content
        if view is content.calls:
            line = content.calls.selected_line()
            if line is not None and line.folded:
                content.calls.toggle_fold()
            elif line is not None:
                self.content.inspector.show_row(line.row)
                self.show_pane("inspect")
        elif view is content.log:
            self.outside.show_whole_line(content.log)
        elif view is content.timeline:
            self.jumps.from_timeline()
        elif view is content.build:
            self.do("source.open")
        else:
            for folding in (content.coverage, content.processes, content.device):
                if view is folding:
                    folding.toggle()

    def on_line_view_chosen(self, message: LineView.Chosen) -> None:
        """A double click is Enter."""
        self.choose()

    def copy_line(self) -> None:
        """Copy the whole line under the cursor."""
        if self.view.count():
            text = self.view.line_text(self.view.cursor)
            self.copy_to_clipboard(text)
            self.notify(f"copied {len(text)} characters")

    def mark(self, note: str) -> None:
        """Write a mark for the selected call into the session."""
        row = self.calls.selected_row()
        if row is not None and self.loop is not None:
            self.loop.collector.event("mark", call=row + 1, note=note)
            self._views_stale = True

    # What follows the cursor

    def on_line_view_moved(self, message: LineView.Moved) -> None:
        """The selected call drives the inspector and the log; other panes' lines stay among themselves."""
        if not self._whole:
            return
        if message.view is self.calls:
            row = self.calls.selected_row()
            if row is not None:
                self.content.inspector.show_row(row)
                if not self.log_pane.following:
                    self.log_pane.show_after_call(row + 1)
        self._show_titles()

    def on_line_view_status_changed(self, message: LineView.StatusChanged) -> None:
        """Titles carry filter, follow and pause."""
        self._show_titles()

    def on_rule_tab_chosen(self, message: Rule.TabChosen) -> None:
        """A click on a title."""
        if message.pane in PANES:
            self.do(f"pane.{message.pane}")

    def on_key_line_pressed(self, message: KeyLine.Pressed) -> None:
        """A click on a key."""
        self.do(message.action)

    def on_why_pane_clicked(self, message: WhyPane.Clicked) -> None:
        """A click on a piece of evidence."""
        self.jumps.to(message.target)

    def on_bar_clicked(self, message: Bar.Clicked) -> None:
        """A click on the GPU mode shows where it comes from."""
        if message.bar.id == "stages":
            self.do("mode.jump")
