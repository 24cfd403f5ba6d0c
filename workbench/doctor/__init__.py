"""What shimbench needs of a machine: each check tries the thing itself where that can be done."""

from workbench.doctor.finding import Finding, State, examine

__all__ = ["Finding", "State", "examine"]
