"""Diagnosis: what went wrong in a run, from its session alone; the first wall on the road first."""

from workbench.diagnosis.engine import diagnose, explain
from workbench.diagnosis.model import Certainty, Diagnosis, Evidence, Stage

__all__ = ["Certainty", "Diagnosis", "Evidence", "Stage", "diagnose", "explain"]
