"""The workbench: one screen over a session that is still being written, or that was saved.

The first frame is painted by what this module imports: numpy, the session's reader and the views, which
take longer to load than the frame to draw, come with `workbench.panes.content` behind it.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import BindingType

from workbench import trouble
from workbench.errors import ShimbenchError
from workbench.panes.actions import bindings, registry
from workbench.panes.arrangement import Arrangement
from workbench.panes.asking import Asking
from workbench.panes.frame import Frames, Rule
from workbench.panes.guard import Guard
from workbench.panes.header import Bar
from workbench.panes.lines import LineView
from workbench.panes.looks import KeyTurn, Looks
from workbench.panes.outside import Outside
from workbench.panes.palette import Commands
from workbench.panes.prompt import KeyLine, Prompt
from workbench.panes.rows import PANES
from workbench.panes.terminal import TerminalDriver
from workbench.panes.travel_line import TravelLine

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.driver import Driver
    from textual.screen import Screen

    from sessions import Session
    from workbench.loop import Loop, LoopEvent
    from workbench.panes.breaks import Breaks
    from workbench.panes.calls import CallsPane
    from workbench.panes.content import Content
    from workbench.panes.facts import SessionFacts
    from workbench.panes.jumps import Jumps
    from workbench.panes.log import LogPane
    from workbench.panes.marking import Marking
    from workbench.panes.rules import Rules
    from workbench.panes.travel import Travel
    from workbench.panes.why import WhyPane


class ShimbenchApp(App[bool]):
    """Panes over a session; `loop` is None when it was saved, or is watched from elsewhere.

    Instead of the session what opens it can be given, instead of the loop what begins it: then the frame is
    painted first, with `name` in its header. A ShimbenchError of that ends the application and stands in
    `failure`.
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
    looks: Looks
    travel: Travel
    marking: Marking
    rules: Rules

    def __init__(
        self,
        loop: Loop | Callable[[], Awaitable[Loop]] | None,
        session: Session | Callable[[], Session] | None = None,
        root: Path | None = None,
        name: str = "",
        then: Callable[[ShimbenchApp], object] | None = None,
    ) -> None:
        super().__init__()
        self.loop: Loop | None = None
        self.root = root or Path.cwd()
        self._begin = loop if callable(loop) else None
        if loop is not None and not callable(loop):
            self.loop, self.root = loop, root or loop.config.directory
        self.failure: ShimbenchError | None = None
        self.pane = "calls"
        self.tab = "coverage"
        self.zoomed = False
        self.arrangement = Arrangement(self)
        self.asking = Asking(self)
        self.outside = Outside(self)
        self.guard = Guard(self)
        self.key_turn = KeyTurn()
        self._opening = name
        self._then = then  # done when the session is on the screen
        self._content: Content | None = None  # None until the session is open
        self._open = session if callable(session) else None
        self._asked_early: list[str] = []  # commands given before there was a session
        if session is not None and not callable(session):
            self._take_session(session)

    def _take_session(self, session: Session) -> None:
        """Load what reads a session, and make its panes."""
        from workbench.panes.breaks import Breaks
        from workbench.panes.content import Content
        from workbench.panes.jumps import Jumps
        from workbench.panes.marking import Marking
        from workbench.panes.rules import Rules
        from workbench.panes.travel import Travel

        self.session = session
        self._content = Content(session, self.root)
        self.facts = self._content.facts
        self.breaks = Breaks(self)
        self.jumps = Jumps(self)
        self.travel = Travel(self)
        self.marking = Marking(self)
        self.rules = self.calls.rules = self.log_pane.rules = Rules(self)
        self.looks = Looks(self)

    @property
    def content(self) -> Content:
        """The panes; there are none before the session is open."""
        assert self._content is not None
        return self._content

    @property
    def opened(self) -> bool:
        """Whether the session is open, so that there are panes."""
        return self._content is not None

    # Layout

    def get_driver_class(self) -> type[Driver]:
        """The terminal's driver; another one where the environment names it."""
        found = super().get_driver_class()
        return TerminalDriver if found is TerminalDriver.__base__ else found

    def get_default_screen(self) -> Screen[object]:
        """The screen of the panes."""
        return Frames(lambda: self.key_turn.to_be_painted)

    def compose(self) -> ComposeResult:
        """The first screen of the design."""
        yield from self.arrangement.compose()

    def on_mount(self) -> None:
        """Start looking at the session, or open it behind the first frame."""
        self.arrangement.complete()
        if self.opened:
            self._start()
            return
        self.arrangement.show_opening(self._opening)
        self.call_after_refresh(self._fill)

    async def _fill(self) -> None:
        """Open the session and put its panes into the frame; then do what was asked for meanwhile."""
        try:
            if self._begin is not None:
                self.loop = await self._begin()
                self.root = self.loop.config.directory
                self._take_session(self.loop.session)
            elif self._open is not None:
                self._take_session(self._open())
        except (ShimbenchError, OSError) as error:  # also of a disk that takes nothing, say
            self.failure = error if isinstance(error, ShimbenchError) else ShimbenchError(str(error))
            self.exit()
            return
        await self.arrangement.fill()
        self.set_focus(self.calls)
        self._start()
        self.call_after_refresh(self._do_asked)

    def _do_asked(self) -> None:
        for name in self._asked_early:
            self.do(name)

    def _start(self) -> None:
        self.call_after_refresh(self.looks.tick)
        if self._then is not None:
            self.call_after_refresh(self._then, self)
        if self.loop is not None:
            self.loop.subscribe(self._on_loop_event)
            if self.loop.notice:
                self.notify(self.loop.notice, timeout=10)

    def on_unmount(self) -> None:
        """Let the thread that looks for causes end."""
        if self.opened:
            self.facts.diagnosis.stop()
            self.travel.stop()

    def on_resize(self, event: events.Resize) -> None:
        """Between one pane at a time and all of them."""
        self.call_after_refresh(self.arrangement.arrange)

    # Panes

    @property
    def view(self) -> LineView:
        """What has the focus: a pane, or the lines of an overlay."""
        focused = self.focused
        return focused if isinstance(focused, LineView) else self.arrangement.view(self.pane)

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
        self.arrangement.arrange()
        self.set_focus(self.arrangement.view(pane))  # at once: the next key may be there already
        self.looks.stale = True

    def step_pane(self, step: int) -> None:
        """The next pane, in the order of their numbers; elsewhere the next candidate, the other part."""
        other = getattr(self.screen, "action_other", None)
        if other is not None:
            other()
            return
        prompt = self.query_one(Prompt)
        if prompt.has_focus:
            prompt.complete(step)
            return
        self.show_pane(PANES[(PANES.index(self.pane) + step) % len(PANES)])

    def zoom(self) -> None:
        """Maximise the pane, or not."""
        self.zoomed = not self.zoomed
        self.arrangement.arrange()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A click focuses a pane as its key does."""
        pane = event.widget.id
        if pane in PANES and pane != self.pane:
            self.pane = pane
            self.arrangement.arrange()

    def _handle_exception(self, error: Exception) -> None:
        """What ends the application all the same is written down as well."""
        if not trouble.raised:
            with contextlib.suppress(OSError):
                trouble.write_down(error, "the application")
        super()._handle_exception(error)

    # The session

    async def on_event(self, event: events.Event) -> None:
        """Note when a key comes, before it goes its way."""
        if isinstance(event, events.Key):
            self.key_turn.came()
        await super().on_event(event)

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        super()._display(screen, renderable)
        self.key_turn.painted()

    @property
    def settled(self) -> bool:
        """Whether everything known of the session is on the screen."""
        return self.opened and self.looks.settled

    def decoder_text(self, row: int) -> str:
        """A call on one line."""
        return self.facts.decoder.text(self.session, row)

    def _on_loop_event(self, event: LoopEvent) -> None:
        self.looks.stale = True
        if event.kind == "session" and self.loop is not None:
            self.loop.notice = event.text
            self.loop.unsubscribe(self._on_loop_event)
            self.exit(True)
        elif event.kind == "problem":
            self.notify(event.text, severity="error")
        elif event.kind == "target" and event.text.lstrip().startswith("warning: "):
            self.notify(event.text.strip().removeprefix("warning: "), severity="warning", timeout=15)
        elif event.kind == "build-finished" and not event.fields.get("ok", True):
            self.looks.views_due = 0.0
            self.notify("the build failed: the run before goes on (5 shows why)", severity="error")
            if self.pane != "build":
                self.tab = "build"
                self.arrangement.arrange()
        elif event.kind == "since":
            self.notify(event.text)
        elif event.kind == "rung" and event.fields.get("state") == "failed":
            self.notify(event.text, severity="warning")

    # Commands

    def do(self, name: str) -> None:
        """Run a row of the registry, or say why it can't be done."""
        row = registry().get(name)
        if not self.opened and name != "app.quit":
            self._asked_early.append(name)
            return
        reason = row.reason(self)
        if reason:
            self.notify(f"{row.title}: {reason}", severity="warning")
            return
        result = self.guard.once(row.title, lambda: row.run(self))
        if inspect.isawaitable(result):
            self.run_worker(self.guard.finish(row.title, result), exclusive=False)
        self.arrangement.show_keys()
        self.key_turn.done()

    def action_do(self, name: str) -> None:
        """What bindings call."""
        self.do(name)

    def ask(self, kind: str) -> None:
        """Open the prompt."""
        self.asking.ask(kind)

    def on_prompt_offered(self, message: Prompt.Offered) -> None:
        """Candidates for what is being typed."""
        self.guard.once("the prompt", lambda: self.asking.offered(message))

    def on_prompt_answered(self, message: Prompt.Answered) -> None:
        """The prompt was answered, or left."""
        self.guard.once("the prompt", lambda: self.asking.answered(message))

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
        self.view.next_match(step)

    def no_search(self) -> str | None:
        """Why n and N can't go on."""
        return None if self.view.pattern is not None else "nothing is searched for: / first"

    def show_kernels(self) -> None:
        """The device pane with its kernels by time."""
        self.show_pane("device")
        self.content.device.show_kernels()
        self.arrangement.show_titles()

    def back(self) -> None:
        """Leave the innermost passing state: a search, a filter, a pause, a maximised pane."""
        view = self.view
        if view.pattern is not None:
            view.search("")
        elif view is self.content.device and self.content.device.back():
            pass
        elif view is self.calls and self.calls.filter_text:
            self.calls.set_filter("", None)
        elif view is self.log_pane and self.log_pane.filter_text:
            self.log_pane.set_filter("", None)
        elif view is self.calls and self.calls.paused:
            self.calls.pause()
        elif view is self.log_pane and self.log_pane.paused:
            self.log_pane.pause()
        elif self.zoomed:
            self.zoom()
        elif self.travel.moment is not None:
            self.travel.now()
        self.arrangement.show_titles()

    def on_line_view_not_found(self, message: LineView.NotFound) -> None:
        """A search came to its end."""
        words = f"nothing matches {message.pattern}" if message.first else "no other match"
        self.notify(words, severity="warning" if message.first else "information")

    def on_line_view_chosen(self, message: LineView.Chosen) -> None:
        """A double click is Enter."""
        self.guard.once("Enter", self.jumps.choose)

    def copy_line(self) -> None:
        """Copy the whole line under the cursor."""
        if self.view.count():
            text = self.view.line_text(self.view.cursor)
            self.copy_to_clipboard(text)
            self.notify(f"copied {len(text)} characters")

    # What follows the cursor

    def on_line_view_moved(self, message: LineView.Moved) -> None:
        """The selected call drives the inspector and the log; other panes' lines stay among themselves."""
        if not self.arrangement.whole:
            return
        if message.view is self.calls:
            self.guard.once("what follows the selected call", self._follow_call)
        self.arrangement.show_titles()

    def _follow_call(self) -> None:
        row = self.calls.selected_row()
        if row is not None:
            self.content.inspector.show_row(row)
            if not self.log_pane.following:
                self.log_pane.show_after_call(row + 1)

    def on_line_view_status_changed(self, message: LineView.StatusChanged) -> None:
        """Titles carry filter, follow and pause."""
        self.arrangement.show_titles()

    def on_rule_tab_chosen(self, message: Rule.TabChosen) -> None:
        """A click on a title."""
        if message.pane in PANES:
            self.do(f"pane.{message.pane}")

    def on_key_line_pressed(self, message: KeyLine.Pressed) -> None:
        """A click on a key."""
        self.do(message.action)

    def on_why_pane_clicked(self, message: WhyPane.Clicked) -> None:
        """A click on a piece of evidence."""
        self.guard.once("evidence", lambda: self.jumps.to(message.target))

    def on_travel_line_clicked(self, message: TravelLine.Clicked) -> None:
        """A click on the time line goes there."""
        self.guard.once("time travel", lambda: self.travel.to_time(message.time_ns))

    def on_bar_clicked(self, message: Bar.Clicked) -> None:
        """A click on the GPU mode shows where it comes from."""
        if message.bar.id == "stages":
            self.do("mode.jump")
