"""The zip: session/, report.html, status.md, diagnosis.json, versions.json, sources.diff, redaction.txt."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from sessions import Session
from sessions.copy import Window, copy_session
from sessions.redact import Redactor
from workbench.loop.store import BuildStore
from workbench.report.facts import ReportFacts, gather
from workbench.report.page import page
from workbench.report.status import status_text

SESSION = "session"
"""The folder inside the zip."""


def redacted(
    session: Session,
    path: Path,
    redactor: Redactor,
    window: Window | None = None,
    progress: Callable[[float], object] = lambda share: None,
    *,
    keep_buffers: bool = False,
) -> Session:
    """The copy that is handed over, at `path`."""
    copy_session(session, path, redactor, window, progress, keep_buffers=keep_buffers)
    return Session(path)


def facts_of(
    copy: Session, redactor: Redactor, store: BuildStore | None = None, *, here: bool = False
) -> ReportFacts:
    """What the copy says, and the edits between runs from the store of builds, redacted. `here`: its
    original was recorded on this machine."""
    facts = gather(copy, store, here=here)

    def clean(text: str) -> str:
        return redactor.line(text.encode()).decode("utf-8", "replace")

    facts.runs = [
        replace(run, diff="".join(map(clean, run.diff.splitlines(keepends=True)))) for run in facts.runs
    ]
    facts.versions = {name: clean(value) for name, value in facts.versions.items()}
    return facts


def write(
    facts: ReportFacts, redactor: Redactor, path: Path, pictures: Sequence[tuple[str, str]] = ()
) -> None:
    """Write the zip of the session in `facts`. OSError when it can't be written."""
    diagnoses = [diagnosis.as_json() for diagnosis in facts.explanation.diagnoses]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("report.html", page(facts, pictures))
        archive.writestr("status.md", status_text(facts))
        archive.writestr("diagnosis.json", json.dumps(diagnoses, indent=1))
        archive.writestr("versions.json", json.dumps(facts.versions, indent=1))
        archive.writestr("redaction.txt", f"taken out: {redactor.summary()}\n")
        if facts.diff:
            archive.writestr("sources.diff", facts.diff)
        for file in sorted(facts.session.path.iterdir()):
            if file.is_file() and file.name != "writer.lock":
                archive.write(file, f"{SESSION}/{file.name}")
