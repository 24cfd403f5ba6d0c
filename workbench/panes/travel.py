"""Time travel: all panes show the session as it was at a moment, which is moved by call, error, run and time.

While one travels the session may go on being written; what is shown stands still until one goes on or back
to now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sessions.moment import DISORDER, Cut, Mask, Moment, cut_at, cut_at_call, next_return
from sessions.states import INTERVAL
from workbench.errors import UsageError
from workbench.moments import end_of_run, last_moment, moment_named
from workbench.panes.format import count_text, time_text
from workbench.panes.later import later
from workbench.panes.parts import Part
from workbench.panes.travel_line import TravelLine, TravelPicture
from workbench.panes.travel_worker import Judged, TravelWorker
from workbench.panes.why import Wall, WhySentence, walls_of
from workbench.views.rate import Happening, calls_over_time, happenings
from workbench.views.snapshots import Snapshots, State
from workbench.views.stages import Stage, StageTracker, with_walls

if TYPE_CHECKING:
    from sessions import Session
    from workbench.app import ShimbenchApp

SPEEDS = (0.001, 0.01, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 100.0)
_FRAME = 0.1  # seconds between the moments of a playing session
_NEAR = 4 * INTERVAL  # calls that are gone through at once when a snapshot is missing
_SEARCHED_AT_ONCE = 4_000_000  # calls among which a failed one is found without waiting


class MomentFacts:
    """What is known of one moment: at once what snapshots give, the diagnosis when it comes."""

    def __init__(self, moment: Moment) -> None:
        self.moment = moment
        self.state: State | None = None
        self.judged: Judged | None = None

    @property
    def mode(self) -> str:
        """The GPU mode, unknown until the diagnosis has come."""
        return self.judged.mode if self.judged is not None else "unknown"

    def stages(self) -> list[Stage]:
        """How far the run had come; none until the state is there."""
        if self.state is None:
            return []
        tracker = StageTracker(self.moment, self.state.results)
        stages = tracker.stages(self.state.coverage.rows())
        return with_walls(stages, self.judged.explanation.walls) if self.judged is not None else stages

    def walls(self, progress: str) -> list[Wall]:
        """What WHY says; that the causes are being sought, until they are known."""
        if self.judged is not None:
            return walls_of(self.judged.explanation)
        words = f"the diagnosis as of {time_text(self.moment.now_ns())} s is coming"
        words += f" ({progress})" if progress else ""
        return [Wall("coming", (WhySentence(((words, "dim"),)),), ())]


class Travel:
    """Moves the moment that the panes of `app` show; there is none while they show now."""

    def __init__(self, app: ShimbenchApp) -> None:
        self._app = app
        self.facts: MomentFacts | None = None
        self.playing = False
        self.speed = 1.0
        self._snapshots: Snapshots | None = None
        self._worker: TravelWorker | None = None
        self._end_ns = 0
        self._followed = False, False
        self._counts: tuple[tuple[int, int, int], npt.NDArray[np.float64]] | None = None
        self._seen: tuple[object, ...] = ()
        self._told = ""

    @property
    def moment(self) -> Moment | None:
        """What the panes show; None: now."""
        return self.facts.moment if self.facts is not None else None

    @property
    def session(self) -> Session:
        """What the panes show: a moment, or the session as it is."""
        return self.moment or self._app.session

    @property
    def settled(self) -> bool:
        """Whether all that belongs to the moment is on the screen."""
        if self.facts is None:
            return True
        assert self._worker is not None
        shown = self.facts.state is not None and self.facts.judged is self._worker.judged
        return shown and self._worker.idle and self._seen == self._news()

    # Where to

    def here(self) -> None:
        """To the moment of what is selected: a call, a line of the log; else to the last moment."""
        app = self._app
        number = app.log_pane.selected_number() if app.view is app.log_pane else None
        row = app.calls.selected_row()
        if number is not None:
            self.to_time(app.session.log.line(number).time_ns)
        elif row is not None:
            self.to_call(row)
        else:
            self.to_time(last_moment(app.session))

    def to_call(self, row: int) -> None:
        """To when a call, by its row index, had returned."""
        self._go(cut_at_call(self._app.session, row))
        self._app.calls.show_end(row)
        self._app.content.inspector.show_row(row)

    def to_time(self, time_ns: int) -> None:
        """To a time, in ns since the session's start; what lies outside of it is its begin or end."""
        self._end_ns = self._end_ns or last_moment(self._app.session)
        self._go(cut_at(self._app.session, min(max(time_ns, 0), self._end_ns)))
        self._app.calls.show_end()

    def to_name(self, text: str) -> bool:
        """To a moment by its name; False when there is none of that name, which is said."""
        try:
            cut = moment_named(self._app.session, text).cut
        except UsageError as error:
            self._app.notify(str(error), severity="error")
            return False
        self._go(cut)
        self._app.calls.show_end()
        return True

    def step_call(self, step: int) -> None:
        """To the next (1) or previous call that returned; only those that the filter passes."""
        chosen = self._app.calls.calls.filter
        session = self._app.session
        mask = (lambda start, stop: chosen.mask(session, start, stop)) if chosen is not None else None
        self._step(step, mask, "call" if chosen is None else "call that the filter passes")

    def step_error(self, step: int) -> None:
        """To when the next (1) or previous call failed; those of a large session are looked for meanwhile."""
        worker, total = self._worker, len(self._app.session.calls)
        if total <= _SEARCHED_AT_ONCE:
            self._step(step, self._app.calls.failed, "failed call")
        elif worker is None or worker.searched < total:
            self._app.notify("failed calls are still being looked for", severity="warning")
            self._go(self._cut())
        else:
            failed, at = worker.failed, self._cut().rows
            near = failed[failed >= at - DISORDER] if step > 0 else failed[failed < at][::-1]
            passing = (row for row in near.tolist() if self._counts_as(row, step))
            self._to_found(next(passing, None), step, "failed call")

    def _counts_as(self, row: int, step: int) -> bool:
        """Whether a call returned after (1) or before the moment, and passes the filter."""
        call, at, chosen = self._app.session.calls.row(row), self._cut().time_ns, self._app.calls.calls.filter
        beyond = call.time + call.duration > at if step > 0 else call.time + call.duration < at
        return beyond and (chosen is None or bool(chosen.mask(self._app.session, row, row + 1)[0]))

    def step_run(self, step: int) -> None:
        """To the end of the next (1) or previous run."""
        session = self._app.session
        runs = sorted({process.run for process in session.processes if process.role in ("", "target")})
        ends = [end_of_run(session, run) for run in runs]
        at = self._cut().time_ns
        found = [end for end in ends if (end > at if step > 0 else end < at)]
        if found:
            self.to_time(min(found) if step > 0 else max(found))
        else:
            self._app.notify(f"there is no {'later' if step > 0 else 'earlier'} end of a run")

    def step_time(self, step: int) -> None:
        """By so many hundredths of the session."""
        at = self._cut().time_ns
        self.to_time(at + step * max(self._end_ns // 100, 1))

    def _step(self, step: int, mask: Mask | None, what: str) -> None:
        self._to_found(next_return(self._app.session, self._cut(), step, mask), step, what)

    def _to_found(self, row: int | None, step: int, what: str) -> None:
        if row is not None:
            self.to_call(row)
        else:
            self._app.notify(f"there is no {'later' if step > 0 else 'earlier'} {what}")

    def _cut(self) -> Cut:
        """Where one is; from now on one travels."""
        if self.moment is not None:
            return self.moment.cut
        self._end_ns = last_moment(self._app.session)
        return cut_at(self._app.session, self._end_ns)

    def now(self) -> None:
        """Back to the session as it is."""
        app = self._app
        if self.facts is None:
            return
        self.playing, self.facts = False, None
        self._follow()
        app.calls.following, app.log_pane.following = self._followed
        app.calls.lines_changed()
        app.log_pane.lines_changed()
        app.query_one(TravelLine).display = False
        app.looks.show_views()

    def stop(self) -> None:
        """Let the thread end."""
        if self._worker is not None:
            self._worker.stop()

    # Playing

    def play(self) -> None:
        """Let time go on from the moment at the chosen speed, or stop."""
        self.playing = not self.playing
        if not self.playing:
            self._draw()
            return
        if self.facts is None or self._cut().time_ns >= self._end_ns:
            self.to_time(0 if self.facts is None or not self._app.session.live else self._end_ns)
        later(self._app, _FRAME, self._advance)
        self._draw()

    def change_speed(self, step: int) -> None:
        """Faster (1) or slower."""
        place = min(range(len(SPEEDS)), key=lambda number: abs(SPEEDS[number] - self.speed))
        self.speed = SPEEDS[min(max(place + step, 0), len(SPEEDS) - 1)]
        self._draw()

    def _advance(self) -> None:
        moment = self.moment
        if not self.playing or moment is None or not self._app.arrangement.whole:
            return
        if self._app.session.live:
            self._end_ns = last_moment(self._app.session)
        self.to_time(moment.now_ns() + int(_FRAME * self.speed * 1e9))
        if self._cut().time_ns >= self._end_ns and not self._app.session.live:
            self.playing = False
            self._draw()
        else:
            later(self._app, _FRAME, self._advance)

    # What follows

    def _go(self, cut: Cut) -> None:
        app = self._app
        if self.facts is None:
            self._followed = app.calls.following, app.log_pane.following
            self._end_ns = last_moment(app.session)
            app.query_one(TravelLine).display = True
            app.call_after_refresh(self._draw)  # once more, when the line knows how wide it is
        if self._worker is None:
            self._worker = TravelWorker(app.session.path)
        self.facts = MomentFacts(Moment(app.session, cut))
        self._rebuild()
        self._worker.ask(cut, len(app.session.calls))
        self._follow()
        self._draw()
        self._app.arrangement.show_titles()

    def _rebuild(self) -> None:
        """The state at the moment, if it is near a snapshot; else it comes when there is one."""
        assert self.facts is not None
        if self._snapshots is None:
            self._snapshots = Snapshots(self._app.session)
        snapshots, moment = self._snapshots, self.facts.moment
        snapshots.states.refresh()
        nearest = snapshots.states.before(moment.cut.settled)
        built = self._worker.built if self._worker is not None else 0
        if moment.cut.rows - (nearest[0][0] if nearest else 0) <= _NEAR or built >= moment.cut.rows:
            self.facts.state = snapshots.state(moment)

    def _follow(self) -> None:
        """Have every pane show the moment, or now."""
        app, content, moment = self._app, self._app.content, self.moment
        session = self.session
        state = self.facts.state if self.facts is not None else None
        for pane in (content.device, content.processes, content.build, content.inspector):
            pane.session = session
        content.timeline.show_moment(moment)
        content.device.device = state.device if state is not None else app.facts.device
        content.coverage.coverage = state.coverage if state is not None else app.facts.coverage
        coming = "the state at this moment is coming" if moment is not None and state is None else ""
        content.device.coming = content.coverage.coming = coming
        content.inspector.again()
        app.calls.show_moment(moment)
        app.log_pane.show_moment(moment)
        app.arrangement.show_tab()

    def look(self) -> None:
        """Show what has come since: the state, the diagnosis, when calls failed."""
        if self.facts is None or self._worker is None:
            return
        news = self._news()
        if news == self._seen:
            return
        self._seen = news
        if self._worker.problem and self._worker.problem != self._told:
            self._told = self._worker.problem
            self._app.notify(self._told, title="time travel", severity="error")
        if self.facts.state is None:
            self._rebuild()
            if self.facts.state is not None:
                self._follow()
        judged = self._worker.judged
        if judged is not None and judged.cut is self.facts.moment.cut:
            self.facts.judged = judged
        self._draw()

    def _news(self) -> tuple[object, ...]:
        worker = self._worker
        assert worker is not None
        buckets = self._app.query_one(TravelLine).buckets if self._app.arrangement.whole else 0
        found = worker.judged, len(worker.errors), worker.progress, worker.problem, worker.built
        return (*found, self.moment, buckets)

    def _draw(self) -> None:
        facts, worker = self.facts, self._worker
        if facts is None or worker is None or not self._app.arrangement.whole:
            return
        self._app.why.show(facts.walls(worker.progress))
        self._app.arrangement.show_header()
        line = self._app.query_one(TravelLine)
        buckets = line.buckets
        scale = buckets / max(self._end_ns, 1)
        places = np.clip((worker.errors * scale).astype(np.int64), 0, buckets - 1)
        failed = np.bincount(places, minlength=buckets)
        words = self._words(facts, worker)
        moment_ns, counts = facts.moment.now_ns(), self._counted(buckets)
        line.show(TravelPicture(self._end_ns, moment_ns, counts, failed, self._happened(), words, _keys()))

    def _happened(self) -> list[Happening]:
        session, marks = self._app.session, []
        for row, note in self._app.calls.marks.items():
            if row < len(session.calls):
                marks.append(Happening(session.calls.row(row).time, "mark", note))
        return [*happenings(session), *marks]

    def _counted(self, buckets: int) -> npt.NDArray[np.float64]:
        key = buckets, self._end_ns, len(self._app.session.calls)
        if self._counts is None or self._counts[0] != key:
            self._counts = key, calls_over_time(self._app.session, self._end_ns, buckets)
        return self._counts[1]

    def _words(self, facts: MomentFacts, worker: TravelWorker) -> list[Part]:
        moment, total = facts.moment, len(self._app.session.calls)
        words: list[Part] = [("AT ", "accent"), (f"{time_text(moment.now_ns())} s", "head")]
        words += [
            (f" of {self._end_ns / 1e9:.1f}  ", "dim"),
            (f"call {count_text(len(moment.calls))}", "plain"),
        ]
        words += [(f" of {count_text(total)}", "dim")]
        if moment.newest_run >= 0:
            words.append((f"  run {moment.newest_run}", "plain"))
        flying = len(self._app.calls.in_flight)
        if flying:
            words.append((f"  {flying} in flight", "warn"))
        if self.playing or self.speed != 1.0:
            words.append((f"  {'playing' if self.playing else 'speed'} {self.speed:g}x", "ok"))
        if worker.progress:
            words.append((f"  {worker.progress} …", "dim"))
        return words


def _keys() -> list[Part]:
    pairs = (
        (", .", "call"), ("[ ]", "error"), ("{ }", "run"), ("< >", "1 %"),
        ("p", "play"), ("- +", "speed"), ("0", "now"),
    )  # fmt: skip
    parts: list[Part] = []
    for keys, words in pairs:
        parts += [(keys, "accent"), (f" {words}  ", "dim")]
    return parts
