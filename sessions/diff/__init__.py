"""Two runs compared call by call: `compare(a, b)`."""

from __future__ import annotations

from sessions.diff.compare import Comparison, Divergence, Durations, compare
from sessions.diff.values import IGNORED, NORMALISED

__all__ = ["IGNORED", "NORMALISED", "Comparison", "Divergence", "Durations", "compare"]
