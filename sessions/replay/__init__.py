"""Recorded calls made ready to be performed again, and what came of that compared with the recording."""

from __future__ import annotations

from sessions.replay.compare import Difference, Verdict, compare_replay
from sessions.replay.plan import NothingToPerform, Plan, make_plan, processes_with_calls
from sessions.replay.results import Results, State

__all__ = [
    "Difference",
    "NothingToPerform",
    "Plan",
    "Results",
    "State",
    "Verdict",
    "compare_replay",
    "make_plan",
    "processes_with_calls",
]
