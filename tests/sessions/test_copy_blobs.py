"""Payloads that events name, in copies of a session."""

from __future__ import annotations

from pathlib import Path

from sessions import open_session
from sessions.copy import copy_session
from sessions.redact import Redactor
from sessions.testing import SessionBuilder

MODEL = {"format": 1, "hash": "abc", "functions": [], "enums": {}}


def test_a_copy_has_them_and_a_redacted_one_has_not(tmp_path: Path) -> None:
    with SessionBuilder(tmp_path / "s", MODEL) as builder:
        builder.blob(b"another's")
        builder.event("host", event="ptx", kernel="k", blob=builder.blob(b"text of a kernel"))
    source = open_session(tmp_path / "s")
    copy_session(source, tmp_path / "copy")
    copy_session(source, tmp_path / "redacted", Redactor())
    copied = open_session(tmp_path / "copy")
    assert copied.blob(copied.events[-1].fields["blob"]) == b"text of a kernel"
    redacted = open_session(tmp_path / "redacted")
    assert "blob" not in redacted.events[-1].fields and redacted.events[-1].fields["kernel"] == "k"
    assert redacted.finished is not None and redacted.finished.blobs == 0
