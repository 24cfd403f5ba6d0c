"""What a session itself shows of where a run stopped: the failing line, the fatal name that was not
answered, the call that never returned, the calls under way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from workbench.views.coverage import Coverage, CoverageRow
from workbench.views.decode import UNRETURNED, CallDecoder
from workbench.views.log import numbered_lines, of_run

if TYPE_CHECKING:
    from sessions import Session
    from sessions.calls import Row

BATCH = 1 << 20
SHOWN_AFTER_NS = 1_000_000_000  # calls under way for less are just busy

_FAILING = re.compile(
    rb"\berror\b|\bERROR\b|\bfail(?:ed|ure)\b|\bFATAL\b|\bfatal\b|\babort|\bpanic\b|[Ss]egmentation fault"
    rb"|undefined symbol|cannot open shared object|timed out|\bunable to\b|\bcould not\b",
)
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
# Lines that talk of failing without anything having failed.
_HARMLESS = re.compile(rb"no error|\b0 errors|error=<nil>|level=(?:DEBUG|INFO) ")


@dataclass(frozen=True)
class Finding:
    """A sentence and where it comes from: row index of a call, line of the log, name in coverage."""

    kind: Literal["name", "line", "unreturned", "in-flight"]
    text: str
    call: int | None = None
    log: int | None = None
    name: str | None = None


class Evidence:
    """Findings of the newest run. Give it the coverage others keep up to date, or it keeps its own."""

    def __init__(self, coverage: Coverage | None = None) -> None:
        self._keeps_coverage = coverage is None
        self.coverage = Coverage() if coverage is None else coverage
        self.run = -1
        self._session: Session | None = None
        self._lines = 0
        self._calls = 0
        self._line: Finding | None = None
        self._unreturned: list[int] = []

    def update(self, session: Session) -> bool:
        """Take in what has been recorded since; True if findings() may say something else."""
        if session is not self._session:
            self._session, self._lines, self._calls, self.run = session, 0, 0, -1
        changed = self.coverage.update(session) if self._keeps_coverage else False
        run = session.newest_run
        if run != self.run:
            self.run, self._line, self._unreturned, changed = run, None, [], True
        changed |= self._take_lines(session)
        changed |= self._take_calls(session)
        return changed or session.live  # calls under way grow older without a row being added

    def findings(self) -> list[Finding]:
        """What was found, the weightiest first."""
        session = self._session
        if session is None:
            return []
        # A name that is fatal only later says something once something has failed.
        fatal = {"fatal-at-init"} if self._line is None else {"fatal-at-init", "fatal-later"}
        missing = [row for row in self.coverage.rows() if not row.answered and row.effect in fatal]
        found = [self._missing(row) for row in missing[:1]]
        if self._line is not None:
            found.append(self._line)
        decoder = CallDecoder(session.schema)
        for row in self._unreturned[-3:]:
            process = session.processes[session.calls.row(row).process]
            ended = f", ended by signal {process.signal}" if process.signal else ""
            text = (
                f"call {row + 1} never returned: {decoder.text(session, row)}; process {process.pid}{ended}"
            )
            found.append(Finding("unreturned", text, call=row))
        for call in session.in_flight():
            if call.age_ns >= SHOWN_AFTER_NS:
                name = session.schema.function_name(call.function)
                age = f"{call.age_ns / 1e9:.1f} s"
                pid = session.processes[call.process].pid
                found.append(
                    Finding("in-flight", f"{name} under way for {age} in process {pid}, thread {call.thread}")
                )
        return found

    def _missing(self, row: CoverageRow) -> Finding:
        askers = ", ".join(dict.fromkeys(asked.by for asked in row.asked if asked.answered is None))
        error = f" -> error {row.error}" if row.error else ""
        call = f" (call {row.first_call + 1})" if row.first_call is not None else ""
        effect = row.effect.replace("-", " ")
        text = f"{askers} asked for {row.name}; the shim does not answer it{error}, {effect}{call}"
        return Finding("name", text, call=row.first_call, name=row.name)

    def _take_lines(self, session: Session) -> bool:
        total, before = len(session.log), self._lines
        for number, line in numbered_lines(session, before, total):
            if line.role != "target" or not _FAILING.search(line.text) or _HARMLESS.search(line.text):
                continue
            if not of_run(session, line, self.run):
                continue
            words = _COLOUR.sub("", line.text.decode("utf-8", "replace")).strip()
            text = f"{words} (log {number + 1}, {line.length} bytes)"
            self._line = Finding(
                "line", text, log=number, call=line.after_call - 1 if line.after_call else None
            )
        self._lines = total
        return total != before

    def _take_calls(self, session: Session) -> bool:
        total, before = len(session.calls), self._calls
        while self._calls < total:
            stop = min(self._calls + BATCH, total)
            flags = session.calls.columns(self._calls, stop, ("flags",))["flags"]
            for at in np.flatnonzero(flags & UNRETURNED).tolist():
                row: Row = session.calls.row(self._calls + at)
                if session.processes[row.process].run == self.run:
                    self._unreturned.append(self._calls + at)
            self._calls = stop
        return total != before
