"""Finds what the rules look at in a session: a few calls of millions, by whole columns.

A Gatherer takes in what a session has new, so a live session is never looked through twice, and keeps a
bounded number of calls and lines however long the session grows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from sessions import FIRST_PSEUDO_FUNCTION
from sessions.decode import INTERNAL, UNRETURNED, CallDecoder
from sessions.items import Pseudo
from workbench.diagnosis.calls import ATTRIBUTES, LAUNCHES, PROC_ADDRESS, WATCHED, Call, Lookups
from workbench.diagnosis.facts import Facts
from workbench.diagnosis.saying import Said, parse, speaks
from workbench.diagnosis.startup import StartupTimes
from workbench.diagnosis.waits import WaitTimes, kinds_of
from workbench.target.roles import is_kernel_probe
from workbench.views.coverage import Coverage
from workbench.views.log import numbered_lines, of_run
from workbench.views.summary import GpuModeTracker

if TYPE_CHECKING:
    from sessions import Process, Session
    from sessions.part import Part

BATCH = 1 << 17
_SIZE = 1 << 16
KEPT_FIRST, KEPT_LAST = 64, 16
"""So many calls of each function, process and outcome are kept."""
SAID_FIRST, SAID_LAST = 64, 16
"""So many lines of each process and kind."""
SLOW_NS = 100_000_000
"""Calls that took longer are kept whatever they are."""

_COLUMNS = (
    "time",
    "duration",
    "process",
    "thread",
    "function",
    "result",
    "flags",
    "payload",
    "caller",
    "arg1",
)

Rows = npt.NDArray[np.int64]
T = TypeVar("T")


class _Ends(Generic[T]):
    """The first and the last of what comes, so many of each."""

    def __init__(self, first: int, last: int) -> None:
        self.first: list[T] = []
        self.last: deque[T] = deque(maxlen=last)
        self._room = first

    def add(self, item: T) -> bool:
        """True when it was among the first."""
        if len(self.first) < self._room:
            self.first.append(item)
            return True
        self.last.append(item)
        return False

    def all(self) -> Iterable[T]:
        yield from self.first
        yield from self.last


def gather(session: Session, run: int | None = None) -> Facts:
    """Look through a session once."""
    gatherer = Gatherer(run)
    gatherer.update(session)
    return gatherer.facts()


class Gatherer:
    """Takes in what a session has new. `facts()` is what the rules see of the run, the newest unless told.

    Coverage and mode may be given by who keeps them up to date anyway.
    """

    def __init__(
        self, run: int | None = None, coverage: Coverage | None = None, mode: GpuModeTracker | None = None
    ) -> None:
        self.wanted_run = run
        self.run = -1
        self._session: Session | None = None
        self._calls = self._lines = self._events = 0
        self._kinds = np.zeros(_SIZE, np.int8)
        self._keeps_views = coverage is None or mode is None
        self._coverage = Coverage(run) if coverage is None else coverage
        self._mode = GpuModeTracker(run) if mode is None else mode
        self._reset()

    def _reset(self) -> None:
        self._kept: dict[tuple[int, int, bool], _Ends[Call]] = {}
        self._unreturned: list[Call] = []
        self._said: dict[tuple[int, str, int], _Ends[Said]] = {}
        self._last_rows: dict[int, int] = {}
        self._last_by_thread: dict[tuple[int, int], int] = {}
        self._lookups: dict[int, Lookups] = {}
        self._launched: dict[int, int] = {}
        self._startup = StartupTimes()
        self._waits = WaitTimes(self._kinds)

    def update(self, session: Session, stop: int | None = None, lines: int | None = None) -> bool:
        """Take in rows (up to `stop`), lines (so many) and events recorded since; True if a rule may have
        more to say now."""
        if session is not self._session:
            self._begin(session)
        run = session.newest_run if self.wanted_run is None else self.wanted_run
        changed = run != self.run
        if changed:
            self.run = run
            self._reset()
        changed |= self._take_events(session)
        changed |= self._take_calls(session, len(session.calls) if stop is None else stop)
        changed |= self._take_lines(session, len(session.log) if lines is None else lines)
        if self._keeps_views:
            self._coverage.update(session, stop)
            self._mode.update(session, stop, lines)
        return changed

    def facts(self) -> Facts:
        """What is known now."""
        session = self._session
        assert session is not None, "update() first"
        processes = self._processes(session)
        mine = {process.index for process in processes}
        kept = {call.row: call for ends in self._kept.values() for call in ends.all()}
        kept |= {call.row: call for call in self._unreturned}
        return Facts(
            session,
            self.run,
            processes,
            CallDecoder(session.schema),
            [kept[row] for row in sorted(kept)],
            dict(self._last_rows),
            dict(self._last_by_thread),
            {number: replace(lookups) for number, lookups in self._lookups.items()},
            sorted((s for ends in self._said.values() for s in ends.all()), key=lambda said: said.log),
            dict(self._launched),
            self._coverage.rows(),
            self._mode.mode,
            [call for call in session.in_flight() if call.process in mine],
            self._waits.all(),
            self._startup.all(),
        )

    def _processes(self, session: Session) -> list[Process]:
        mine = [p for p in session.processes if p.run == self.run and p.role in ("target", "exercise")]
        return [process for process in mine if not is_kernel_probe(process.argv)]

    def _begin(self, session: Session) -> None:
        self._session = session
        self._calls = self._lines = self._events = 0
        self.run = -1
        schema = session.schema

        def table(names: Iterable[str], *more: int) -> npt.NDArray[np.bool_]:
            marked = np.zeros(_SIZE, bool)
            marked[[number for name in names if (number := schema.function_id(name)) is not None]] = True
            marked[list(more)] = True
            return marked

        self._watched = table(WATCHED, int(Pseudo.LOAD), int(Pseudo.TABLE_SLOT), int(Pseudo.DLOPEN))
        self._lookup = table(PROC_ADDRESS)
        self._search = table((), int(Pseudo.DLSYM), int(Pseudo.DLVSYM), int(Pseudo.DLOPEN))
        self._launch = table([*LAUNCHES, *(f"{name}_ptsz" for name in LAUNCHES)])
        self._attribute = table(["cuDeviceGetAttribute"])
        self._kinds = kinds_of(schema.function_id, _SIZE)

    def _take_events(self, session: Session) -> bool:
        fresh = session.events[self._events :]
        self._events = len(session.events)
        return any(event.kind not in ("modules", "lost", "mark", "first-call") for event in fresh)

    def _take_calls(self, session: Session, total: int) -> bool:
        mine = {process.index for process in self._processes(session)}
        changed = False
        while self._calls < total:
            stop = min(self._calls + BATCH, total)
            changed |= self._take_batch(session, session.calls.part(self._calls, stop).of(mine))
            self._calls = stop
        return changed

    def _take_batch(self, session: Session, here: Part) -> bool:
        if not len(here):
            return False
        outer = here.without(INTERNAL)
        self._count_lookups(outer)
        outermost = outer  # whose calls lie in no other
        if len(outer.places(self._search)):
            outermost = outer.only(~self._search.take(outer.column("function")))
        self._note_last(outermost)
        ended = outermost.without(UNRETURNED)
        self._startup.take(ended, self._launch)
        self._waits.take(ended)
        launches = outer.places(self._launch)
        launches = launches[outer.column("result")[launches] == 0]
        for number in outer.processes if len(launches) else ():
            last = launches[outer.column("process")[launches] == number][-1:]
            if len(last):
                self._launched[number] = outer.row(int(last[0]))
        changed = False
        returned = here.without(UNRETURNED)
        for call in self._made(session, returned, self._several(returned)):
            key = call.process, call.function, call.result != 0
            ends = self._kept.get(key)
            if ends is None:
                ends = self._kept[key] = _Ends(KEPT_FIRST, KEPT_LAST)
            changed |= ends.add(call)
        # How a call was lost is worth more than many alike, so these are all kept.
        lost = self._made(session, here, here.having(UNRETURNED))
        self._unreturned += lost
        return changed or bool(lost)

    def _several(self, part: Part) -> Rows:
        """Places of what a rule may ask for; of many alike the first and the last."""
        function, result = part.column("function"), part.column("result")
        watched = part.places(self._watched)
        failed = part.failed[function[part.failed] < FIRST_PSEUDO_FUNCTION]
        failed = failed[~self._lookup[function[failed]]]
        slow = np.flatnonzero(part.column("duration") > SLOW_NS) if part.longest > SLOW_NS else watched[:0]
        attributes = part.places(self._attribute)
        if len(attributes):
            attributes = attributes[np.isin(part.column("arg1")[attributes], list(ATTRIBUTES.values()))]
        several = np.unique(np.concatenate((watched, failed, slow, attributes)))
        keys = (part.column("process")[several].astype(np.int64) << 16) | function[several]
        return several[_ends((keys << 1) | (result[several] != 0))]

    def _made(self, session: Session, part: Part, places: Rows) -> list[Call]:
        picked = part.pick(_COLUMNS, places)
        return [
            Call(
                row=row,
                name=session.schema.function_name(picked["function"][place]),
                function=picked["function"][place],
                process=picked["process"][place],
                thread=picked["thread"][place],
                time=picked["time"][place],
                duration=picked["duration"][place],
                result=picked["result"][place],
                flags=picked["flags"][place],
                payload=picked["payload"][place],
                caller=picked["caller"][place],
            )
            for place, row in enumerate(part.rows(places).tolist())
        ]

    def _note_last(self, part: Part) -> None:
        for process, thread, place in part.last_by_thread():
            self._last_rows[process] = self._last_by_thread[process, thread] = part.row(place)

    def _count_lookups(self, part: Part) -> None:
        places = part.places(self._lookup)
        if not len(places):
            return
        process = part.column("process")[places]
        bad = part.column("result")[places] != 0
        for number in np.unique(process).tolist():
            of_it = process == number
            known = self._lookups.setdefault(number, Lookups())
            known.asked += int(of_it.sum())
            failed = places[of_it & bad]
            known.failed += len(failed)
            if known.first_failed < 0 and len(failed):
                known.first_failed = part.row(int(failed[0]))

    def _take_lines(self, session: Session, total: int) -> bool:
        changed = False
        for number, line in numbered_lines(session, self._lines, total):
            if line.role not in ("target", "exercise") or not speaks(line.text):
                continue
            if not of_run(session, line, self.run):
                continue
            for said in parse(line, number):
                key = said.process, said.kind, said.code
                ends = self._said.get(key)
                if ends is None:
                    ends = self._said[key] = _Ends(SAID_FIRST, SAID_LAST)
                changed |= ends.add(said)
        self._lines = total
        return changed


def _ends(keys: Rows) -> npt.NDArray[np.bool_]:
    """Which of these are among the first or the last of their key."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.searchsorted(ordered, ordered, "left")
    behind = np.searchsorted(ordered, ordered, "right")
    place = np.arange(len(keys))
    kept = (place - first < KEPT_FIRST) | (behind - place <= KEPT_LAST)
    picked = np.zeros(len(keys), bool)
    picked[order] = kept
    return picked
