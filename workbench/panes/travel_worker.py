"""What takes longer than a frame while one travels in time, in a thread with a reader of its own: snapshots
that are missing, the diagnosis of a moment, when calls failed."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from workbench import trouble

if TYPE_CHECKING:
    from sessions import Session
    from sessions.moment import Cut
    from workbench.diagnosis import Explanation

_STEP = 1 << 20  # calls between looks whether something else is wanted
_NONE: npt.NDArray[np.int64] = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Judged:
    """The diagnosis at a moment, with the GPU mode."""

    cut: Cut
    explanation: Explanation
    mode: str


class TravelWorker:
    """Works off what was asked for last; `judged`, `errors`, `progress` and `problem` are replaced whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.judged: Judged | None = None
        self.errors = _NONE  #: when calls failed, ns since the session's start
        self.failed = _NONE  #: the rows of these calls
        self.searched = 0  #: rows looked through for them
        self.progress = ""
        self.problem = ""
        self.built = 0  #: rows up to which snapshots are there
        self._wanted: Cut | None = None
        self._rows_wanted = 0
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def ask(self, cut: Cut, rows: int) -> None:
        """Want the diagnosis at a cut, and snapshots and errors of the first `rows` calls."""
        self._wanted, self._rows_wanted = cut, rows
        self._wake.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="time travel", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End soon."""
        self._stopped = True
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether all that was asked for is there, or can't be."""
        judged, wanted = self.judged, self._wanted
        done = wanted is None or (judged is not None and judged.cut is wanted)
        return bool(self.problem) or (done and self.searched >= self._rows_wanted)

    def _run(self) -> None:
        from sessions import SessionError, open_session

        try:
            session = open_session(self.path)
            while not self._stopped:
                self._wake.clear()
                session.refresh()
                self._build(session)
                if not self._judge(session) and not self._find_errors(session):
                    self.progress = ""
                    self._wake.wait()
        except (SessionError, OSError) as error:
            self.problem, self.progress = str(error) or repr(error), ""
        except Exception as error:
            self.problem, self.progress = trouble.keep(error, "time travel"), ""

    def _build(self, session: Session) -> None:
        from workbench.views.snapshots import Snapshots

        snapshots = Snapshots(session)
        rows = min(self._rows_wanted, len(session.calls))
        missing = snapshots.missing(rows)
        if missing:
            self.progress = "state"
            snapshots.build(rows, self._reached, lambda: self._stopped)
        self.built = rows

    def _reached(self, row: int) -> None:
        self.built = row
        self.progress = f"state {100 * row // max(self._rows_wanted, 1)} %"

    def _judge(self, session: Session) -> bool:
        """Go on with what was asked for; False when it has been done."""
        from sessions.moment import Moment
        from workbench.diagnosis.engine import explain_facts
        from workbench.diagnosis.gather import Gatherer

        cut, judged = self._wanted, self.judged
        if cut is None or (judged is not None and judged.cut is cut) or cut.rows > len(session.calls):
            return False
        moment, gatherer = Moment(session, cut), Gatherer()
        for stop in [*range(_STEP, cut.rows, _STEP), cut.rows]:
            if self._stopped or self._wanted is not cut:
                return True
            gatherer.update(moment, stop)
            self.progress = f"diagnosis {100 * stop // max(cut.rows, 1)} %"
        facts = gatherer.facts()
        self.judged = Judged(cut, explain_facts(facts), facts.mode.mode)
        return True

    def _find_errors(self, session: Session) -> bool:
        """Look through some more calls for those that failed; False when there are no more."""
        from workbench.panes.outcomes import Outcomes

        start = self.searched
        stop = min(start + _STEP, self._rows_wanted, len(session.calls))
        if start >= stop:
            return False
        failed = np.flatnonzero(Outcomes(session, lambda name: "").failures(start, stop))
        if len(failed):
            times = session.calls.columns(start, stop, ("time",))["time"][failed]
            self.failed = np.concatenate((self.failed, failed + start))
            self.errors = np.concatenate((self.errors, times))
        self.searched = stop
        return True
