"""Recorded calls made ready to be performed again, and what came of that compared with the recording."""

from __future__ import annotations

from sessions.replay.compare import Difference, Verdict, compare_replay
from sessions.replay.plan import Plan, make_plan
from sessions.replay.results import Results, State

__all__ = ["Difference", "Plan", "Results", "State", "Verdict", "compare_replay", "make_plan"]
