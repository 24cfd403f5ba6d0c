"""Units where there is no systemd, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.deploy import unit
from workbench.deploy.unit import Scope, UnitError, read_unit


def test_a_machine_that_systemd_does_not_run_is_said_so_and_what_to_do_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text("#!/bin/sh\necho System has not been booted with systemd >&2\nexit 1\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(unit, "BOOTED", tmp_path / "nowhere")
    with pytest.raises(UnitError, match=r"systemd does not run this machine.*shimbench deploy --to DIR"):
        read_unit(Scope(), "ollama.service")
    # Where it does, its own words say most.
    monkeypatch.setattr(unit, "BOOTED", tmp_path)
    with pytest.raises(UnitError, match="System has not been booted"):
        read_unit(Scope(), "ollama.service")
