"""Why a run did not get to compute on the GPU: rules over a session, the first wall on the road first."""

from workbench.diagnosis.engine import Explanation, diagnose, explain
from workbench.diagnosis.model import Certainty, Diagnosis, Evidence, Stage

__all__ = ["Certainty", "Diagnosis", "Evidence", "Explanation", "Stage", "diagnose", "explain"]
