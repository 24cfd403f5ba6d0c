"""What the panes show beside the records themselves: the derived views, brought up to date together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sessions.decode import CallDecoder
from sessions.states import INTERVAL, States
from workbench.diagnosis.gather import Gatherer
from workbench.diagnosis.live import LiveDiagnosis, seen_of
from workbench.panes.outcomes import Outcomes, base_name
from workbench.views.coverage import Coverage
from workbench.views.device import DeviceState
from workbench.views.snapshots import State
from workbench.views.stages import Stage, StageTracker, with_walls
from workbench.views.summary import GpuModeTracker

if TYPE_CHECKING:
    from sessions import Session

_SNAPSHOT_PERIOD = 0.5  # seconds between snapshots at least: one takes 3 ms; whoever travels fills the gaps


class SessionFacts:
    """The views of one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.decoder = CallDecoder(session.schema)
        self.coverage = Coverage()
        self.device = DeviceState()
        self.tracker = StageTracker(session)
        self.gpu = GpuModeTracker()
        self._gatherer = Gatherer(coverage=self.coverage, mode=self.gpu)
        self.diagnosis = LiveDiagnosis(session.path, self._gatherer)
        self._news = False  # that a rule may speak of
        self.scanned = 0  #: rows taken in so far
        self.lines = 0  #: lines of the log taken in so far
        self._names_changed = False
        self._effects: dict[str, str] = {}
        self.outcomes = Outcomes(session, self.effect)
        self._states: States | None = None
        self._snapshot_due = 0.0

    def take_lines(self, stop: int) -> None:
        """Take in lines of the log, so many."""
        self._mode_and_causes(self.scanned, stop)
        self.lines = stop

    def _mode_and_causes(self, stop: int, lines: int) -> None:
        self.gpu.update(self.session, stop, lines)
        self._news |= self._gatherer.update(self.session, stop, lines)

    def take(self, stop: int) -> None:
        """Take in what was recorded since, of calls those up to row `stop`; but for lines of the log."""
        self.tracker.update(stop)
        self.device.update(self.session, stop)
        self._names_changed |= self.coverage.update(self.session, stop)
        self._mode_and_causes(stop, self.lines)
        self.scanned = stop
        if stop and stop % INTERVAL == 0 and self.session.live:
            self._leave_snapshot(stop)

    def _leave_snapshot(self, stop: int) -> None:
        """For time travel, while a run is watched: later somebody else would have to go through all calls."""
        run = self.device.run
        if time.monotonic() < self._snapshot_due or self.coverage.run != run or self.tracker.run != run:
            return
        self._snapshot_due = time.monotonic() + _SNAPSHOT_PERIOD
        if self._states is None:
            self._states = States(self.session)
        if (stop, run) not in self._states:
            state = State(self.device, self.coverage, self.tracker.counts)
            self._states.put(stop, run, state.saved())

    def judge(self) -> None:
        """What the names that were not answered do, from what has been taken in; and have causes sought."""
        self.diagnosis.start()
        whole = self.scanned == len(self.session.calls) and self.lines == len(self.session.log)
        if whole and self.diagnosis.offer(self.session, self._news):
            self._news = False
        if not self._names_changed:
            return
        self._names_changed = False
        effects = {}
        for row in self.coverage.rows():
            if not row.answered:
                effects[base_name(row.name)] = effects[row.name] = row.effect
        if effects != self._effects:
            self._effects = effects
            self.outcomes.forget()

    @property
    def mode(self) -> str:
        """gpu, cpu, not-executed, load-failed or unknown."""
        return self.gpu.mode.mode

    def effect(self, name: str) -> str:
        """What it does that a name was not answered; "" when it was."""
        return self._effects.get(name, "")

    def stages(self) -> list[Stage]:
        """How far the newest run came, as the diagnosis has it."""
        explanation = self.diagnosis.report.explanation
        walls = explanation.walls if explanation is not None and explanation.run == self.tracker.run else []
        return with_walls(self.tracker.stages(self.coverage.rows()), walls)

    @property
    def diagnosed(self) -> bool:
        """Whether the diagnosis has seen all that is known of the session."""
        report = self.diagnosis.report
        return bool(report.problem) or report.seen == seen_of(self.session)

    def limit_text(self) -> str:
        """`7.1 s of 30 s discovery` while a process stands under a limit of Ollama's; else ""."""
        limit = self.diagnosis.report.limit
        if limit is None or not self.session.live:
            return ""
        return f"{limit.used(self.session.now_ns()):.1f} s of {limit.seconds:g} s {limit.name} "
