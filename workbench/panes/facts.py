"""What the panes show beside the records themselves: the derived views, brought up to date together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from workbench.panes.lines import Ink
from workbench.panes.outcomes import Outcomes, base_name
from workbench.panes.stages import Stage, StageTracker
from workbench.panes.why import Target, WhySentence
from workbench.views.coverage import Coverage
from workbench.views.decode import CallDecoder
from workbench.views.device import DeviceState
from workbench.views.evidence import Evidence, Finding
from workbench.views.summary import GpuModeTracker

if TYPE_CHECKING:
    from sessions import Session

_KINDS: dict[str, tuple[str, Ink]] = {
    "line": ("said: ", "error"),
    "name": ("", "fatal"),
    "in-flight": ("in flight: ", "warn"),
    "unreturned": ("", "fatal"),
}


class SessionFacts:
    """The views of one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.decoder = CallDecoder(session.schema)
        self.coverage = Coverage()
        self.device = DeviceState()
        self.tracker = StageTracker(session)
        self.gpu = GpuModeTracker()
        self.findings = Evidence(self.coverage)
        self._effects: dict[str, str] = {}
        self.outcomes = Outcomes(session, self.effect)

    def update(self) -> None:
        """Take in what was recorded since."""
        self.tracker.update()
        self.device.update(self.session)
        if self.coverage.update(self.session):
            effects = {}
            for row in self.coverage.rows():
                if not row.answered:
                    effects[base_name(row.name)] = effects[row.name] = row.effect
            if effects != self._effects:
                self._effects = effects
                self.outcomes.forget()
        self.gpu.update(self.session)
        self.findings.update(self.session)

    @property
    def mode(self) -> str:
        """gpu, cpu, not-executed or unknown."""
        return self.gpu.mode.mode

    def effect(self, name: str) -> str:
        """What it does that a name was not answered; "" when it was."""
        return self._effects.get(name, "")

    def stages(self) -> list[Stage]:
        """How far the newest run came."""
        return self.tracker.stages(self.coverage.rows())

    def sentences(self) -> list[WhySentence]:
        """What WHY says until there is a diagnosis."""
        return [self._sentence(finding) for finding in self.findings.findings()]

    def _sentence(self, finding: Finding) -> WhySentence:
        title, ink = _KINDS.get(finding.kind, ("", "plain"))
        # "(log 5, 98 bytes)" must not break across rows.
        text = re.sub(r"\((call|log) [^)]*\)$", lambda place: place[0].replace(" ", "\u00a0"), finding.text)
        target = None
        if finding.log is not None:
            target = Target("log", finding.log)
        elif finding.call is not None:
            target = Target("call", finding.call)
        elif finding.name:
            target = Target("name", 0, finding.name)
        return WhySentence(((title, "dim"), (text, ink)), target)
