"""What a rule states."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

Certainty = Literal["proved", "likely", "possible"]

Rule = Literal[
    "environment-dropped",
    "other-driver-mapped",
    "shim-not-loadable",
    "library-not-found",
    "link-time-symbol-missing",
    "port-taken",
    "call-hangs",
    "constructor-hangs",
    "hangs-outside-calls",
    "call-crashes",
    "constructor-crashes",
    "constructor-exits",
    "crashes-outside-calls",
    "host-died",
    "host-not-started",
    "host-unreachable",
    "host-stale",
    "proc-address-fails",
    "wrong-variant",
    "driver-too-old",
    "entry-not-resolvable",
    "name-missing",
    "version-without-its-symbols",
    "init-fails",
    "export-table-refused",
    "export-table-null",
    "export-table-empty",
    "export-table-short",
    "export-table-slot-fails",
    "hook-buffers-too-small",
    "self-test-wrong",
    "device-query-fails",
    "no-devices",
    "no-memory",
    "capability-not-in-archs",
    "pci-id-doubled",
    "pci-id-missing",
    "nvml-absent",
    "nvml-init-fails",
    "nvml-driver-too-old",
    "nvml-inconsistent",
    "success-without-effect",
    "context-call-fails",
    "kernel-fault",
    "kernel-refused",
    "kernel-failed",
    "no-code-for-architecture",
    "out-of-memory",
    "forbidden-during-capture",
    "cudart-shim-bypassed",
    "needed-not-supported",
    "call-fails",
    "slow-load",
    "launches-not-executed",
    "cpu-mode",
]
"""What may be stated. Each stands in docs/diagnosis.md, and is met in tests/real under real runtimes."""


class Stage(IntEnum):
    """The road from a started process to a computing GPU, in the order in which a runtime takes it."""

    LOAD = 0
    RESOLVE = 1
    VERSION = 2
    INIT = 3
    TABLES = 4
    DEVICES = 5
    SELF_TEST = 6
    CONTEXT = 7
    WORK = 8
    OUTCOME = 9


@dataclass(frozen=True)
class Evidence:
    """A sentence and where it comes from: row index of a call, index of a log line, an asked name."""

    text: str
    call: int | None = None
    log: int | None = None
    name: str | None = None
    bytes: int = 0  #: length of the log line

    @property
    def place(self) -> str:
        """`call 443`, `log 212 (98 bytes)`; the whole text of what lies in neither."""
        if self.call is not None:
            return f"call {self.call + 1}"
        if self.log is not None:
            return f"log {self.log + 1}" + (f" ({self.bytes} bytes)" if self.bytes else "")
        return self.text

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; calls and log lines as the displayed numbers, which start at 1."""
        call = None if self.call is None else self.call + 1
        log = None if self.log is None else self.log + 1
        return {"text": self.text, "call": call, "log": log, "name": self.name}


@dataclass
class Diagnosis:
    """One thing that failed.

    `stops`: nothing of the same process gets past it, so that what failed there later is its consequence.
    `independent`: it stands in the way by itself, whatever else failed before.
    """

    rule: Rule
    what: str  #: what failed, as the target saw it
    cause: str
    fix: str
    certainty: Certainty
    stage: Stage
    evidence: list[Evidence] = field(default_factory=list)
    process: int = -1  #: index into Session.processes; -1: none in particular
    stops: bool = True
    independent: bool = False
    consequence_of: Rule | None = None  #: the rule of the diagnosis it follows from
    processes: int = 1  #: how many processes met it
    by_runtime: bool = False  #: it rests on what is known of certain versions of the CUDA runtime
    by_ollama: bool = False  #: it rests on what is known of Ollama: its limits, what it takes and drops
    note: str = ""  #: why it is less sure than it looks

    @property
    def row(self) -> int:
        """The call at which it shows; rows are counted from 0, -1 when it shows in none."""
        return next((piece.call for piece in self.evidence if piece.call is not None), -1)

    def lines(self, width: int = 110) -> list[str]:
        """To be read by people: what, cause, fix, evidence; no line longer than `width` cells."""
        mark = "  (follows) " if self.consequence_of else ""
        met = f" [{self.processes} processes]" if self.processes > 1 else ""
        lines = _wrap(f"{mark}{self.what}{met} ({self.certainty})", width, "  " if mark else "")
        lines += _wrap(f"cause: {self.cause}", width, "  ")
        if self.fix:
            lines += _wrap(f"fix:   {self.fix}", width, "  ")
        if self.note:
            lines += _wrap(f"note:  {self.note}", width, "  ")
        for piece in self.evidence:
            lines += _wrap(f"- {piece.text}", width, "    ")
        return lines

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "rule": self.rule,
            "stage": self.stage.name.lower(),
            "what": self.what,
            "cause": self.cause,
            "fix": self.fix,
            "certainty": self.certainty,
            "note": self.note or None,
            "processes": self.processes,
            "consequence_of": self.consequence_of,
            "evidence": [piece.as_json() for piece in self.evidence],
        }


def _wrap(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        " ".join(text.split()),
        max(width, 20),
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_on_hyphens=False,
    )
