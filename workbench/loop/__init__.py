"""The loop: watch the sources, build them, keep what was built, and launch the target on it."""

from workbench.loop.build import BuildReport
from workbench.loop.loop import Loop, running
from workbench.loop.status import LoopEvent, LoopStatus

__all__ = ["BuildReport", "Loop", "LoopEvent", "LoopStatus", "running"]
