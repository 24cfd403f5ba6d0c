"""How far a run came on the road to tokens: load > symbols > tables > init > device > model > tokens.

Read from the calls of the newest run, incrementally. A stage has failed when its calls only ever
failed, or a name it can't do without was not answered; a later stage that worked clears the earlier.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.diagnosis.model import Diagnosis
from workbench.diagnosis.model import Stage as Road
from workbench.views.results import ResultCounts

if TYPE_CHECKING:
    from sessions import Session
    from workbench.views.coverage import CoverageRow

State = Literal["ok", "failed", "-"]

NAMES = ("load", "symbols", "tables", "init", "device", "model", "tokens")
_ASKS = ("cuGetProcAddress", "cuGetProcAddress_v2")
_MODEL = (
    "cuLibraryLoadData",
    "cuModuleLoadData",
    "cuModuleLoadDataEx",
    "cuModuleLoadFatBinary",
    "cuModuleLoad",
)
_LAUNCHES = ("cuLaunchKernel", "cuLaunchKernelEx", "cuLaunchCooperativeKernel", "cuGraphLaunch")


#: Where a wall of the diagnosis stands on this road.
_STATIONS = {
    Road.LOAD: "load",
    Road.RESOLVE: "symbols",
    Road.VERSION: "symbols",
    Road.TABLES: "tables",
    Road.SELF_TEST: "tables",
    Road.INIT: "init",
    Road.DEVICES: "device",
    Road.CONTEXT: "model",
    Road.WORK: "tokens",
}


@dataclass(frozen=True)
class Stage:
    """One station and whether it was reached."""

    name: str
    state: State


class StageTracker:
    """Counts results by function over the calls of the newest run."""

    def __init__(self, session: Session, counts: ResultCounts | None = None) -> None:
        self.session = session
        self.counts = counts or ResultCounts(session)
        self._ids = {function.name: number for number, function in session.schema.functions.items()}
        self._events = 0
        self._tokens: tuple[int, bool] = -1, False  #: the last run that was driven, and whether that failed

    @property
    def run(self) -> int:
        """The run whose calls are counted."""
        return self.counts.run

    def update(self, until: int | None = None) -> None:
        """Take in calls recorded since, up to row `until`."""
        self.counts.update(until)

    def stages(self, coverage: Iterable[CoverageRow]) -> list[Stage]:
        """All stations, in order."""
        fatal = {row.name for row in coverage if not row.answered and row.effect == "fatal-at-init"}
        loaded = bool(self.counts.ok.sum() + self.counts.failed.sum()) or self._mapped()
        states: list[State] = ["ok" if loaded else "-"]
        asked = self._some(self.counts.ok, _ASKS) or self._some(self.counts.failed, _ASKS)
        states.append("failed" if fatal - {"cuGetExportTable"} else "ok" if asked else "-")
        states.append("failed" if "cuGetExportTable" in fatal else self._state("cuGetExportTable"))
        states.append(self._state("cuInit"))
        states.append(self._state("cuDeviceGet", "cuDeviceGetCount"))
        states.append(self._state(*_MODEL))
        driven, failed = self._driven()
        states.append("failed" if failed and driven == self.run else self._state(*_LAUNCHES))
        # Only a device in use shows that an earlier failure did not matter: cuInit works in a lost run too.
        last = max(
            (number for number, state in enumerate(states) if state == "ok" and number >= 4), default=-1
        )
        shown: list[State] = ["ok" if number < last else state for number, state in enumerate(states)]
        return [Stage(name, state) for name, state in zip(NAMES, shown, strict=True)]

    def _driven(self) -> tuple[int, bool]:
        """What came of the exercise: launches alone bring no tokens, and those that came may be wrong."""
        for event in self.session.events[self._events :]:
            if event.kind == "rung" and event.fields.get("name") == "tokens":
                self._tokens = int(event.fields.get("run", -1)), event.fields.get("state") == "failed"
        self._events = len(self.session.events)
        return self._tokens

    def _some(self, counts: NDArray[np.int64], names: Iterable[str]) -> bool:
        return any(counts[self._ids[name]] for name in names if name in self._ids)

    def _state(self, *names: str) -> State:
        if self._some(self.counts.ok, names):
            return "ok"
        return "failed" if self._some(self.counts.failed, names) else "-"

    def _mapped(self) -> bool:
        return any(
            mapping.soname == "libcuda.so.1" or "/libcuda.so" in mapping.path
            for process in self.session.processes
            if process.run == self.run
            for mapping in process.maps
        )


def with_walls(stages: list[Stage], walls: Iterable[Diagnosis]) -> list[Stage]:
    """The stations as a diagnosis has them: the first wall that stops a run has failed, and what lies
    behind it was not reached. What lies before it was passed, whatever single calls of it failed."""
    stopping = [
        wall for wall in walls if wall.stops and wall.stage in _STATIONS and wall.certainty != "possible"
    ]
    if not stopping:
        return stages
    at = NAMES.index(_STATIONS[stopping[0].stage])
    if stopping[0].stage == Road.WORK and stages[5].state != "ok":
        at = 5  # at work, but not at launching yet: it is the model that does not load

    def state(place: int) -> State:
        return "ok" if place < at else "failed" if place == at else "-"

    return [Stage(stage.name, state(place)) for place, stage in enumerate(stages)]
