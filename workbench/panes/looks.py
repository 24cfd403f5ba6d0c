"""Looking at a session that grows: how often, how much of it at once, and what keys put off."""

from __future__ import annotations

import gc
import time
from functools import partial
from typing import TYPE_CHECKING

from workbench.panes.later import later

if TYPE_CHECKING:
    from workbench.app import ShimbenchApp
    from workbench.diagnosis import Explanation

LOOK = 1 / 15  # seconds between looks at the session
FRAME, SLOWEST_FRAME = 1 / 15, 1 / 5  # seconds between frames that nobody pressed a key for
CORE_SHARE = 0.2  # of a core, which looking and painting should not exceed: else frames come more slowly
SLICE = 0.008  # seconds of the processor for taking in calls before keys get their turn
MOST_AT_ONCE, LEAST_AT_ONCE = 1 << 16, 1 << 8  # calls taken in between looks at the clock
LINES_AT_ONCE = 256
KEY_FIRST = 0.06  # seconds for which a key that is not painted yet puts off taking in calls
COLLECT_AFTER = 3.0  # seconds after which garbage is collected even if the rules have nothing to say yet
COLLECT_EVERY = 10_000, 20, 50  # a painted frame makes thousands of short-lived objects: not at each
WRITTEN_IN = 0.004  # seconds that a key's frame takes to be written, if nothing is in the way
VIEW_PERIOD = 0.25  # seconds between updates of the derived views, more when they are dear
DERIVED = "what is derived from the calls"
VIEW_SHARE = 8  # a view update that took t seconds of the processor is not repeated for this many t


class KeyTurn:
    """A key's way to the screen goes before all else; this knows how far it has come."""

    def __init__(self) -> None:
        self._at = 0.0  # when a key came that is not painted yet
        self._done = False
        self._quiet_until = 0.0  # the thread that writes to the terminal has its turn

    def came(self) -> None:
        """A key was pressed."""
        self._at, self._done = time.monotonic(), False

    def done(self) -> None:
        """What the key asked for is done, and waits to be painted."""
        self._done = True

    @property
    def to_be_painted(self) -> bool:
        """Whether a key was obeyed whose frame is not painted yet."""
        return self._done and self._at > 0

    def painted(self) -> None:
        """A frame was drawn."""
        if self.to_be_painted:
            self._at, self._quiet_until = 0.0, time.monotonic() + WRITTEN_IN

    @property
    def all_quiet(self) -> bool:
        """Whether nothing else may run just now."""
        return time.monotonic() < max(self._at + KEY_FIRST, self._quiet_until)


class Looks:
    """The looks of `app` at its session, one after another."""

    def __init__(self, app: ShimbenchApp) -> None:
        self._app = app
        self.stale = True
        """the derived views are older than what is known"""
        self.views_due = 0.0
        """when they may be derived again, by the monotonic clock"""
        self._header_due = 0.0
        self._was_live = app.session.live
        self._at_once = MOST_AT_ONCE
        self._cpu_seconds = 0.0  # of this process, at the last look
        self._shown_at = 0.0
        self._frame = FRAME
        self._opened_at = time.monotonic()
        self._explained: Explanation | None = None
        self._problem = ""  # of the diagnosis, told last

    def tick(self) -> None:
        """One look, and the appointment for the next."""
        app = self._app
        self._begin_collecting()
        if app.key_turn.all_quiet:
            later(app, 0.005, self.tick)
            return
        pause = None
        if app.arrangement.whole:
            pause = app.guard.keep_up("the look at the session", self._look)
        later(app, pause or SLOWEST_FRAME, self.tick)

    def _begin_collecting(self) -> None:
        """Let garbage be collected, which the commands put off: until the rules are loaded as well nothing
        is any, and looking through the schema and all modules took a tenth of a second each time."""
        if gc.isenabled():
            return
        app = self._app
        explained = app.arrangement.whole and app.facts.diagnosis.report.explanation is not None
        if explained or time.monotonic() > self._opened_at + COLLECT_AFTER:
            gc.freeze()
            gc.set_threshold(*COLLECT_EVERY)
            gc.enable()

    def _look(self) -> float:
        """Show what was recorded since, the derived views now and then; -> seconds until the next look."""
        app, session, keep_up = self._app, self._app.session, self._app.guard.keep_up
        now = time.monotonic()
        changed = bool(self._was_live and session.refresh())
        finished = self._was_live and not session.live
        self._was_live = session.live
        self.stale = self.stale or changed or finished or not self._all_explained
        # Who rests is not asked to show anything in this look: that might work, and take back what is said.
        able = [part for part in ("calls", "log") if not app.guard.rests(part)]
        behind = self._take_lines()
        behind |= self._take_calls()
        if app.calls.stops.update():  # what stops or goes on is said with the next frame
            self.stale, self.views_due, self._header_due = True, 0.0, 0.0
        due = now >= self.views_due
        if now >= self._shown_at + (SLOWEST_FRAME if behind else self._frame):
            self._begin_frame(now)
            # Calls under way are asked for with the rest: one that has returned since must not stay.
            if "calls" in able:
                keep_up("calls", lambda: app.calls.show(in_flight_too=session.live or finished))
            if "log" in able:
                keep_up("log", app.log_pane.show)
            if now >= self._header_due and session.live:
                self._header_due = now + VIEW_PERIOD
                app.arrangement.show_header()
            keep_up("time travel", app.travel.look)
            keep_up("colours and counters", lambda: app.rules.look(time.monotonic() + SLICE))
            if due and (self.stale or session.live):
                self.stale = behind
                spent = time.thread_time()
                self._update_views()
                spent = time.thread_time() - spent
                self.views_due = now + max(VIEW_PERIOD, VIEW_SHARE * spent)
        return 0.001 if behind else max(LOOK - (time.monotonic() - now), 0.005)

    def _begin_frame(self, now: float) -> None:
        """The dearer the time since the frame before was, the longer until the next. Calls are taken in at
        each look all the same: those just recorded are the cheapest to read."""
        used, self._cpu_seconds = time.process_time() - self._cpu_seconds, time.process_time()
        self._frame = min(max(used / CORE_SHARE, FRAME), SLOWEST_FRAME) - LOOK / 2
        self._shown_at = now

    def _take_calls(self) -> bool:
        """Have the calls pane and the derived views take in rows, side by side, so that each is read once;
        True if there are more of them than a slice allows. Time is the processor's: on a busy machine a
        slice takes longer, but it must not become smaller."""
        lines, facts, total = self._app.calls, self._app.facts, len(self._app.session.calls)
        keep_up = self._app.guard.keep_up
        deadline = time.thread_time() + SLICE
        while (start := self._least(total, {"calls": lines.scanned, DERIVED: facts.scanned})) < total:
            began = time.thread_time()
            if began >= deadline:
                return True
            # Up to where a chunk ends, which is decoded as a whole.
            stop = min(start + self._at_once - start % self._at_once, total)
            keep_up("calls", partial(lines.advance, stop))
            if facts.scanned < stop:
                keep_up(DERIVED, partial(facts.take, stop))
            took = time.thread_time() - began
            if took > 2 * SLICE and self._at_once > LEAST_AT_ONCE:  # a filter by text looks at each call
                self._at_once //= 2
            elif took < SLICE / 4 and self._at_once < MOST_AT_ONCE:
                self._at_once *= 2
        keep_up(DERIVED, lambda: facts.take(total))  # events are new without calls as well
        return False

    def _take_lines(self) -> bool:
        """The same of lines of the log: a million of them take seconds to look through."""
        pane, facts, total = self._app.log_pane, self._app.facts, len(self._app.session.log)
        keep_up = self._app.guard.keep_up
        deadline = time.thread_time() + SLICE
        while (start := self._least(total, {"log": pane.scanned, DERIVED: facts.lines})) < total:
            if time.thread_time() >= deadline:
                return True
            stop = min(start + LINES_AT_ONCE - start % LINES_AT_ONCE, total)
            keep_up("log", partial(pane.advance, stop))
            if facts.lines < stop:
                keep_up(DERIVED, partial(facts.take_lines, stop))
        return False

    def _least(self, total: int, taken: dict[str, int]) -> int:
        """Of what each part has taken in, the least; who failed is not waited for."""
        rests = self._app.guard.rests
        return min(total if rests(part) else count for part, count in taken.items())

    @property
    def settled(self) -> bool:
        """Whether everything known of the session is on the screen."""
        app = self._app
        scanned = app.calls.calls.scanned == len(app.session.calls) == app.facts.scanned
        lines = len(app.session.log)
        read = self._least(lines, {"log": app.log_pane.scanned, DERIVED: app.facts.lines}) == lines
        explained = app.facts.diagnosed and self._all_explained
        shown = app.guard.rests("log") or app.log_pane.shown
        return not self.stale and scanned and read and shown and explained and app.travel.settled

    @property
    def _all_explained(self) -> bool:
        """Whether all that the diagnosis says is on the screen."""
        report = self._app.facts.diagnosis.report
        return self._explained is report.explanation and self._problem == report.problem

    def _update_views(self) -> None:
        app = self._app
        app.guard.keep_up(DERIVED, app.facts.judge)
        app.guard.keep_up("marks", app.marking.look)
        report = app.facts.diagnosis.report
        self._explained, self._problem = report.explanation, report.problem
        if report.problem:
            app.guard.say("the diagnosis", report.problem)
        if app.travel.moment is None:  # else they stand still
            self.show_views()

    def show_views(self) -> None:
        """What is derived from all that is known."""
        from workbench.panes.why import walls_of

        app = self._app
        app.arrangement.show_tab()
        app.guard.keep_up("why", lambda: app.why.show(walls_of(self._explained)))
        app.arrangement.show_header()
        app.arrangement.show_titles()
