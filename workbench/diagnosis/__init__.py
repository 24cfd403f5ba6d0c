"""Why a run did not get to compute on the GPU: rules over a session, the first wall on the road first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.diagnosis.model import Certainty, Diagnosis, Evidence, Stage

if TYPE_CHECKING:
    from workbench.diagnosis.engine import Explanation, diagnose, explain

__all__ = ["Certainty", "Diagnosis", "Evidence", "Explanation", "Stage", "diagnose", "explain"]


def __getattr__(name: str) -> Any:
    """The engine and its rules are loaded when first asked for: the first frame needs the model alone."""
    if name not in ("Explanation", "diagnose", "explain"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from workbench.diagnosis import engine

    return getattr(engine, name)
