"""Installing a shim under a systemd unit and taking it back, byte for byte."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from workbench.config import Config
from workbench.deploy.unit import Scope, Unit, UnitError, drop_in_text, read_unit
from workbench.errors import UsageError
from workbench.loop.host import SOCKET_VARIABLE, STATE_NAME

READY_SECONDS = 60.0
SEAL_SECONDS = 60.0


@dataclass(frozen=True)
class Installation:
    """What is, or would be, done to a unit."""

    scope: Scope
    unit: Unit
    drop_in: Path
    text: str
    state: Path
    runtime: Path
    manifest: Mapping[str, Any]


def manifest_path(scope: Scope, unit: str) -> Path:
    return scope.state(unit) / "manifest.json"


def read_manifest(scope: Scope, unit: str) -> dict[str, Any] | None:
    """What was installed; None when nothing was. Raises UnitError when it can't be read."""
    path = manifest_path(scope, unit)
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        return document
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        drop_in = scope.drop_in(unit)
        raise UnitError(f"{path}: {error}. By hand: rm {drop_in}; systemctl daemon-reload") from error


def make_installation(
    scope: Scope, name: str, config: Config, session: Path, libraries: Mapping[str, Path], shim_id: str
) -> Installation:
    """All that would be done, as it would be written. Changes nothing. Raises UnitError, UsageError."""
    if read_manifest(scope, name) is not None or scope.drop_in(name).exists():
        raise UsageError(f"{name} is under a shim already: `shimbench systemd remove --unit {name}` first")
    unit = read_unit(scope, name)
    state, runtime = scope.state(name), scope.runtime(name)
    lib, tap = state / "run" / "lib", state / "run" / "tap"
    environment = {
        "LD_LIBRARY_PATH": _joined([tap, lib], unit.environment.get("LD_LIBRARY_PATH")),
        "LD_PRELOAD": _joined(_preloaded(libraries, lib, tap), unit.environment.get("LD_PRELOAD")),
    }
    host_command: list[str] = []
    if config.host.run is not None:
        host_command = list(config.host.run)
        environment[SOCKET_VARIABLE] = str(runtime / "host" / "host.sock")
    for key, value in config.target.env.items():
        environment.setdefault(key, value)
    text = drop_in_text(unit, environment)
    drop_in = scope.drop_in(name)
    manifest = {
        "format": 1,
        "unit": name,
        "user_manager": scope.user,
        "uid": unit.user,
        "gid": unit.group,
        "directory": str(config.directory),
        "session": str(session),
        "sockets": str(runtime / "collector"),
        "host_runtime": str(runtime / "host"),
        "host_command": host_command,
        "drop_in": str(drop_in),
        "drop_in_digest": hashlib.sha256(text.encode()).hexdigest(),
        "made": [str(path) for path in _missing(drop_in.parent)],
        "was_active": unit.active,
        "unit_digest": unit.digest,
        "recorder": None,
        "run": {
            "run": 1,
            "reason": f"{name} was restarted under the shim",
            "shim": str(state / "shim"),
            "shim_id": shim_id,
            "libraries": {soname: str(state / "shim" / soname) for soname in libraries},
            "host": " ".join(host_command),
            "command": list(unit.command),
            "cwd": "/",
            "tap": True,
            "ours": config.own_shim,
            "sources": {},
        },
    }
    return Installation(scope, unit, drop_in, text, state, runtime, manifest)


def _preloaded(libraries: Mapping[str, Path], lib: Path, tap: Path) -> list[Path]:
    from workbench.tap.rundir import PRELOADED

    ours = [lib / soname for soname in libraries if soname.startswith(PRELOADED)]
    return [tap / "libshimbench-preload.so", *ours]


def _joined(paths: list[Path], own: str | None) -> str:
    return ":".join([*map(str, paths), *([own] if own else [])])


def _missing(folder: Path) -> list[Path]:
    """The folders that have to be made for `folder`, the outermost first."""
    return [path for path in reversed((folder, *folder.parents)) if not path.exists()]


def install(plan: Installation, libraries: Mapping[str, Path], host_program: Path | None) -> None:
    """Do it: files, recorder, drop-in, restart. What was done before a failure is taken back."""
    scope, name = plan.scope, plan.unit.name
    manifest = dict(plan.manifest)
    try:
        _place_files(plan, libraries, host_program, manifest)
        _write_manifest(plan.state, manifest)
        manifest["recorder"] = _start_recorder(plan)
        _write_manifest(plan.state, manifest)
        plan.drop_in.parent.mkdir(parents=True, exist_ok=True)
        new = plan.drop_in.with_suffix(".new")
        new.write_text(plan.text)
        new.chmod(0o644)
        new.rename(plan.drop_in)
        scope.systemctl("daemon-reload")
        scope.systemctl("restart", name)
    except (UnitError, OSError) as error:
        with contextlib.suppress(UnitError, UsageError, OSError):
            remove(scope, name)
        raise UnitError(
            f"{error}; {name} is as it was, its journal is in {plan.manifest['session']}"
        ) from error


def _place_files(
    plan: Installation, libraries: Mapping[str, Path], host_program: Path | None, manifest: dict[str, Any]
) -> None:
    """Copies that the unit's user may read, and folders for the sockets."""
    from workbench import native
    from workbench.tap.rundir import make_run_directory

    state, uid, gid = plan.state, plan.unit.user, plan.unit.group
    for path in (*_missing(state), state / "shim", state / "bin"):
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
    kept = {}
    for soname, path in libraries.items():
        kept[soname] = state / "shim" / soname
        shutil.copyfile(path, kept[soname])
        kept[soname].chmod(0o755)
    if host_program is not None:
        copy = state / "bin" / host_program.name
        shutil.copyfile(host_program, copy)
        copy.chmod(0o755)
        manifest["host_command"] = [str(copy), *manifest["host_command"][1:]]
    collector = plan.runtime / "collector"
    make_run_directory(state / "run", native.paths(), kept, collector / "collector.sock", tee=False)
    for path in (state / "run", *(state / "run").rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    for path in (*_missing(plan.runtime), collector, plan.runtime / "host"):
        path.mkdir(exist_ok=True)
        path.chmod(0o711)  # to be passed through, not listed
    (plan.runtime / "host" / STATE_NAME).touch()
    if uid != os.geteuid():
        for path in (plan.runtime / "host", plan.runtime / "host" / STATE_NAME):
            os.chown(path, uid, gid)


def _start_recorder(plan: Installation) -> dict[str, Any]:
    """-> its pid and when it began, by which it is known again."""
    words = [sys.executable, "-m", "workbench.cli", "systemd", "record", "--unit", plan.unit.name]
    words += ["--user"] if plan.scope.user else []
    errors = plan.state / "recorder.stderr"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    assert process.stdout is not None
    with process.stdout:
        if process.stdout.readline() != b"recording\n":
            process.wait()
            said = errors.read_text(errors="replace").strip()
            raise UnitError(f"nothing can be recorded: {said.splitlines()[-1] if said else 'no word why'}")
    return {"pid": process.pid, "began": psutil.Process(process.pid).create_time()}


def recorder_of(manifest: Mapping[str, Any]) -> psutil.Process | None:
    """The recorder, if it lives and is the one that was started."""
    known = manifest.get("recorder")
    if not known:
        return None
    try:
        process = psutil.Process(known["pid"])
        alive = process.status() != psutil.STATUS_ZOMBIE
        return process if alive and abs(process.create_time() - known["began"]) < 1 else None
    except psutil.Error:
        return None


@dataclass(frozen=True)
class Removed:
    """What taking it back came to."""

    as_it_was: bool
    """the unit reads exactly as before"""
    problem: str = ""


def remove(scope: Scope, name: str) -> Removed:
    """Take the drop-in away, bring the unit back to what it did, end the recorder, and seal the session.

    Raises UsageError when nothing was installed, UnitError when systemd refuses or the drop-in was changed.
    """
    manifest = read_manifest(scope, name)
    if manifest is None:
        raise UsageError(f"{name} is under no shim of ours")
    drop_in = Path(manifest["drop_in"])
    if drop_in.exists():
        digest = hashlib.sha256(drop_in.read_bytes()).hexdigest()
        if digest != manifest["drop_in_digest"]:
            raise UnitError(f"{drop_in} was changed by somebody else since: move it away, then remove again")
        drop_in.unlink()
    drop_in.with_suffix(".new").unlink(missing_ok=True)
    for path in reversed(manifest["made"]):
        with contextlib.suppress(OSError):  # somebody put something else there: it stays
            Path(path).rmdir()
    problem = ""
    try:
        scope.systemctl("daemon-reload")
        scope.systemctl("restart" if manifest["was_active"] else "stop", name)
    except UnitError as error:
        problem = str(error)
    recorder = recorder_of(manifest)
    if recorder is not None:
        recorder.send_signal(signal.SIGTERM)
        with contextlib.suppress(psutil.TimeoutExpired):
            recorder.wait(SEAL_SECONDS)
    same = False
    with contextlib.suppress(UnitError):
        same = read_unit(scope, name).digest == manifest["unit_digest"]
    shutil.rmtree(scope.runtime(name), ignore_errors=True)
    shutil.rmtree(scope.state(name), ignore_errors=True)
    for folder in (scope.runtime(name).parent, scope.state(name).parent):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return Removed(same, problem)


def environment_of(pid: int) -> dict[str, str]:
    """What a process was really started with; {} when that can't be read."""
    try:
        items = Path("/proc", str(pid), "environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(item.decode(errors="replace").partition("=")[::2] for item in items if item)


def check_running(plan: Installation, patience: float = 10.0) -> list[str]:
    """What is not as installed in the unit's main process; [] when all is."""
    deadline = time.monotonic() + patience
    unit = read_unit(plan.scope, plan.unit.name)
    while unit.main_pid == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
        unit = read_unit(plan.scope, plan.unit.name)
    if not unit.main_pid:
        return [f"{unit.name} does not run: systemctl status {unit.name}"]
    owner = Path("/proc", str(unit.main_pid)).stat().st_uid
    if owner != plan.unit.user:
        again = f"`shimbench systemd remove --unit {unit.name}`, then install again"
        return [f"process {unit.main_pid} runs as user {owner}, not as {plan.unit.user}: {again}"]
    found = environment_of(unit.main_pid)
    first = str(plan.state / "run" / "tap")
    if not found.get("LD_LIBRARY_PATH", "").startswith(first):
        return [f"process {unit.main_pid} has LD_LIBRARY_PATH={found.get('LD_LIBRARY_PATH', '')!r}, not ours"]
    return []


def _write_manifest(state: Path, manifest: Mapping[str, Any]) -> None:
    new = state / "manifest.new"
    new.write_text(json.dumps(dict(manifest), indent=1))
    new.replace(state / "manifest.json")
