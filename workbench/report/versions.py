"""Which versions a session was recorded with: of the tool, the system, and the libraries that were mapped."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sessions import Session

_RUNTIMES = re.compile(r"lib(?:cudart|cublas|cublasLt|cuda|nvidia-ml|ggml-cuda|ggml|llama)[-.\w]*\.so[.\d]*$")
_STORED = re.compile(r".*/store/builds/(\w+)/lib/[^/]+$")
_OURS = re.compile(r"/runs/\d+/(?:tap|preload)/")
"""What shimbench itself put before the libraries of a run."""


def recorded_here(session: Session) -> bool:
    """Whether this machine is the one that the session, not yet redacted, was recorded on."""
    machine, here = session.manifest.get("machine", {}), os.uname()
    return bool(machine.get("host") == here.nodename and machine.get("kernel") == here.release)


def versions_of(session: Session, here: bool) -> dict[str, str]:
    """What and which. What the session does not tell is of this machine, and left out unless it is `here`."""
    machine = session.manifest.get("machine", {})
    versions = {
        "shimbench": str(session.manifest.get("tool", "?")),
        "session format": str(session.manifest.get("format", "?")),
        "kernel": f"{machine.get('kernel', '?')}, {machine.get('cpus', '?')} processors",
    }
    if here:
        versions |= {
            "system": _system(),
            "C library": " ".join(platform.libc_ver()) or "?",
            "compiler": _first_line("cc", "--version"),
            "Python": sys.version.split()[0],
        }
    for event in session.events:
        if event.kind == "target":
            versions["Ollama"] = str(event.fields.get("version") or "?")
    return versions | _libraries(session)


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "?")
    except OSError:
        return platform.platform()


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "none found"
    return done.stdout.partition("\n")[0] or "?"


def _libraries(session: Session) -> dict[str, str]:
    """The runtimes, drivers and backends of the newest run's processes: name -> where it lay, build id."""
    found: dict[str, dict[str, str]] = {}
    for process in session.processes:
        if process.run != session.newest_run:
            continue
        for path, identity in (
            *((mapping.path, mapping.build_id) for mapping in process.maps),
            *((module.path, "") for module in process.modules),
        ):
            if _RUNTIMES.search(path) and not _OURS.search(path):
                of_name = found.setdefault(PurePosixPath(path).name, {})
                of_name[path] = of_name.get(path) or identity or ""
    return {
        name: "; ".join(
            _STORED.sub(r"our copy, build \1", path) + (f" (build id {id_[:12]})" if id_ else "")
            for path, id_ in places.items()
        )
        for name, places in sorted(found.items())
    }
