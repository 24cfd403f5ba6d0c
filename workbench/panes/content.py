"""What stands in the frame of the workbench: all panes over one session, and the facts they show.

Loaded when the frame has been painted, since it brings numpy, the session's reader and all views.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from workbench.panes.build import BuildPane
from workbench.panes.calls import CallsPane
from workbench.panes.coverage import CoveragePane
from workbench.panes.device import DevicePane
from workbench.panes.facts import SessionFacts
from workbench.panes.inspector import InspectorPane
from workbench.panes.log import LogPane
from workbench.panes.processes import ProcessesPane
from workbench.panes.timeline import TimelinePane
from workbench.panes.why import WhyPane

if TYPE_CHECKING:
    from sessions import Session
    from workbench.panes.lines import LineView


class Content:
    """The panes of one session; `root` is where paths in diagnostics begin."""

    def __init__(self, session: Session, root: Path) -> None:
        self.session = session
        self.facts = facts = SessionFacts(session)
        self.why = WhyPane()
        self.calls = CallsPane(session, facts.decoder, facts.outcomes)
        self.coverage = CoveragePane(facts.coverage)
        self.device = DevicePane(facts.device, session)
        self.inspector = InspectorPane(session, facts.decoder)
        self.build = BuildPane(session, root)
        self.processes = ProcessesPane(session)
        self.timeline = TimelinePane(session)
        self.log = LogPane(session)
        self.tabs: tuple[LineView, ...] = (
            self.coverage, self.device, self.inspector, self.build, self.processes, self.timeline,
        )  # fmt: skip
