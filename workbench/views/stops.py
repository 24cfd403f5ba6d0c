"""Calls that breakpoints stopped: read from the session's events, incrementally."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessions import Session

Identity = tuple[int, int, int]
"""Process index, thread, sequence: as calls in flight and records have it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A stopped call. `result` is what the shim returned, None when it has not been called yet."""

    process: int
    thread: int
    sequence: int
    function: int
    time_ns: int
    result: int | None

    @property
    def identity(self) -> Identity:
        """What the call in flight is known by."""
        return self.process, self.thread, self.sequence


class Stops:
    """The calls stopped now, oldest first; none in a session that nobody writes any more."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._read = 0
        self._stops: dict[Identity, Stop] = {}

    def update(self) -> bool:
        """Take in what was recorded since; True when calls stopped or went on."""
        events = self._session.events
        before = dict(self._stops)
        for event in events[self._read :]:
            if event.kind not in ("stop", "continue"):
                continue
            fields = event.fields
            identity = (int(fields["process"]), int(fields["thread"]), int(fields["sequence"]))
            if event.kind == "continue":
                self._stops.pop(identity, None)
                continue
            result = int(fields["result"]) if fields.get("returned") else None
            self._stops[identity] = Stop(*identity, int(fields["function"]), event.time_ns, result)
        self._read = len(events)
        processes = self._session.processes
        for identity in list(self._stops):
            if not self._session.live or processes[identity[0]].ended_ns is not None:
                del self._stops[identity]
        return self._stops != before

    def now(self) -> list[Stop]:
        """The stopped calls."""
        return list(self._stops.values())

    def of(self, identity: Identity) -> Stop | None:
        """The stop of a call in flight, if it is one."""
        return self._stops.get(identity)
