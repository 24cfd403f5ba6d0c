"""A session in time as a small picture: calls per stretch, and what happened when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sessions import Session

_EXACT = 64  # chunks that are looked into for when their calls began; of more, calls are spread evenly

HappeningKind = Literal["run", "build", "failed build", "mark"]


@dataclass(frozen=True)
class Happening:
    """Something of which the time line shows when it was; `text` is a word or two."""

    time_ns: int
    kind: HappeningKind
    text: str


def calls_over_time(session: Session, end_ns: int, buckets: int) -> npt.NDArray[np.float64]:
    """How many calls began in each of so many equal stretches of 0..end_ns; shape (buckets,)."""
    counts = np.zeros(buckets)
    if end_ns <= 0 or not buckets:
        return counts
    scale = buckets / end_ns
    edges = np.arange(buckets + 1) / scale
    edges[-1] = np.inf  # what was recorded since belongs to the last
    exact = _EXACT
    for start, stop, first, last in session.calls.spans():
        low, high = (min(max(int(time * scale), 0), buckets - 1) for time in (first, last))
        if low == high:
            counts[low] += stop - start
        elif exact or last - first > end_ns // 2:
            exact = max(exact - 1, 0)
            times = session.calls.columns(start, stop, ("time",))["time"]
            places = np.clip((times * scale).astype(np.int64), 0, buckets - 1)
            counts += np.bincount(places, minlength=buckets)
        else:
            counts += np.diff(np.clip((edges - first) / (last - first), 0, 1)) * (stop - start)
    return counts


def happenings(session: Session) -> list[Happening]:
    """Runs and builds of a session, in order of time; marks are added by who knows them."""
    found = []
    for event in session.events:
        if event.kind == "run":
            found.append(Happening(event.time_ns, "run", f"run {event.fields.get('run')}"))
        elif event.kind == "build":
            ok = bool(event.fields.get("ok"))
            number = event.fields.get("build")
            found.append(Happening(event.time_ns, "build" if ok else "failed build", f"build {number}"))
    return sorted(found, key=lambda happening: happening.time_ns)
