"""The diagnosis of a session that is still being written, kept up to date in a thread of its own.

The thread has its own reader of the session and looks at what is new, by whole columns; the rules run
only when something came that they may speak of, or a call has been under way for long. The reader's
thread is left alone: it takes `report` whenever it wants. Who goes through all calls anyway, as the panes
do, gives the gatherer he feeds and offers what it knows: then the thread only runs the rules.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import trouble
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.gather import Gatherer
from workbench.diagnosis.limits import Limit, newest_limit

if TYPE_CHECKING:
    from sessions import Session
    from workbench.diagnosis.engine import Explanation

PERIOD = 0.25  # seconds between looks
SHARE = 8  # a look that took t seconds of the processor is not repeated for this many t
RULES_PERIOD = 1.0  # seconds between runs of the rules while calls are only growing older
OLD_NS = 1_000_000_000  # a call under way for longer is worth a look

Seen = tuple[int, int, int, bool]


@dataclass(frozen=True)
class Report:
    """What was found, of how much (calls, log lines, events, whether it was live), at what cost."""

    explanation: Explanation | None
    limit: Limit | None
    seen: Seen
    looks: int = 0
    runs: int = 0
    look_seconds: float = 0.0
    rule_seconds: float = 0.0
    problem: str = ""


def seen_of(session: Session) -> Seen:
    """How much of a session its reader knows."""
    return len(session.calls), len(session.log), len(session.events), session.live


class LiveDiagnosis:
    """Watches a session directory. `report` is replaced whole and never changed."""

    def __init__(self, path: Path, fed: Gatherer | None = None) -> None:
        self.path = path
        self._fed = fed
        self._offered: tuple[Facts, Seen] | None = None
        self._rules_due = 0.0
        self.report = Report(None, None, (0, 0, 0, True))
        self._wake = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless it has begun."""
        if self._thread is None:
            # A daemon: leaving the workbench does not wait for the end of a look at a large session.
            self._thread = threading.Thread(target=self._run, name="diagnosis", daemon=True)
            self._thread.start()

    def offer(self, session: Session, changed: bool) -> bool:
        """Of who feeds the gatherer: all that is known of the session has been taken in, and a rule may have
        more to say (`changed`) or not. False: the thread is still busy, offer it again."""
        assert self._fed is not None
        explanation, seen = self.report.explanation, seen_of(session)
        if self._offered is not None:
            return False
        due = time.monotonic() >= self._rules_due and _ages(session, explanation)
        if changed or due or explanation is None or seen[3] != self.report.seen[3]:
            self._offered = self._fed.facts(), seen
            self._wake.set()
        elif seen != self.report.seen:
            self.report = replace(self.report, seen=seen)
        return True

    def stop(self) -> None:
        """End soon."""
        self._stopped = True
        self._wake.set()

    def _run(self) -> None:
        from sessions import SessionError, open_session

        try:
            self._watch(open_session(self.path))
        except (SessionError, OSError) as error:  # a damaged part: what was found stays
            self._give_up(str(error) or repr(error))
        except Exception as error:
            self._give_up(trouble.keep(error, "the diagnosis"))

    def _give_up(self, problem: str) -> None:
        self.report = replace(self.report, problem=problem)

    def _watch(self, session: Session) -> None:
        from workbench.diagnosis.engine import explain_facts  # all the rules: not before the first frame

        gatherer = Gatherer()
        explanation: Explanation | None = None
        loaded: list[int] = []
        looks = runs = 0
        look_seconds = rule_seconds = 0.0
        was_live = True
        while not self._stopped:
            began, spent = time.monotonic(), time.thread_time()
            session.refresh()
            offered, facts, seen = self._offered, None, seen_of(session)
            if self._fed is None:
                changed = gatherer.update(session) or explanation is None or was_live != session.live
                was_live = session.live
                if changed or (began >= self._rules_due and _ages(session, explanation)):
                    facts = gatherer.facts()
            elif offered is not None:
                facts, seen = replace(offered[0], session=session), offered[1]
            looked = time.monotonic()
            if facts is not None:
                explanation = explain_facts(facts)
                self._rules_due = looked + RULES_PERIOD
                runs += 1
                loaded = [said.time_ns for said in facts.said if said.kind == "loaded"]
            limit = newest_limit(session, session.newest_run, loaded) if session.live else None
            ended = time.monotonic()
            looks, look_seconds, rule_seconds = (
                looks + 1,
                look_seconds + looked - began,
                rule_seconds + ended - looked,
            )
            if self._fed is None or facts is not None or limit != self.report.limit:
                seen = seen if self._fed is None or facts is not None else self.report.seen
                self.report = Report(explanation, limit, seen, looks, runs, look_seconds, rule_seconds)
            if offered is not None:
                self._offered = None
            if not session.live and self._fed is None:
                return
            self._wake.wait(max(PERIOD, SHARE * (time.thread_time() - spent)))
            self._wake.clear()


def _ages(session: Session, explanation: Explanation | None) -> bool:
    """Whether what is to be said changes with time alone."""
    old = session.live and any(call.age_ns > OLD_NS for call in session.in_flight())
    return old or (explanation is not None and bool(explanation.doing))
