"""Where a project keeps sessions and builds: its configuration, permissions, sockets and disk space."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from workbench.doctor.finding import Finding, ok, problem, warning

SCARCE_BYTES = 2 << 30
TOO_LITTLE_BYTES = 100 << 20
LONGEST_SOCKET_PATH = 100


def findings(directory: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    """All of this room, for one project."""
    yield from _configuration(directory, environ)
    from workbench.sessions_store import place_of

    place = place_of(directory)
    try:
        count = len(place.all())
    except OSError as error:
        yield problem("sessions", f"{place.sessions}: {error.strerror}", f"chmod u+rwx {place.sessions}")
        return
    existing = next(path for path in (place.root, *place.root.parents) if path.exists())
    refused = next(
        (p for p in (place.sessions, place.store, existing) if p.exists() and not _open_to_us(p)), None
    )
    if refused is not None:
        owner = refused.stat().st_uid
        yield problem(
            "sessions",
            f"{refused} is not writable (of user {owner}, mode {stat.filemode(refused.stat().st_mode)})",
            f"chown -R {os.geteuid()} {refused}, or record elsewhere with --session",
        )
        return
    yield ok("sessions", f"{place.sessions}: {count} recorded")
    yield _compiled_kernels(environ)
    yield _executable(existing)
    yield _sockets(existing, place.sessions, environ)
    yield _room(existing)
    yield from _strangers(place.root)


def _compiled_kernels(environ: Mapping[str, str]) -> Finding:
    """What the software GPU compiled and kept; the host keeps it under its limit by itself."""
    cache = environ.get("XDG_CACHE_HOME", "")
    base = Path(cache) if cache.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".cache"
    folder = base / "shimbench" / "kernels"
    said = environ.get("SHIMBENCH_KERNEL_CACHE", "")
    limit = int(said) if said.isdecimal() else 512
    sizes = []
    with contextlib.suppress(OSError):  # none yet, or a file that has just gone
        sizes = [path.stat().st_size for path in folder.iterdir()]
    held = f"{len(sizes)} compiled kernels, {sum(sizes) / (1 << 20):.0f} of at most {limit} MiB"
    if folder.exists() and not _open_to_us(folder):
        return warning("kernel cache", f"{folder} is not writable: {held}", f"chmod u+rwx {folder}")
    return ok("kernel cache", f"{folder}: {held}")


def _configuration(directory: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    from workbench.config import load_config
    from workbench.errors import ShimbenchError
    from workbench.target.command import find_program

    try:
        config = load_config(directory)
    except (ShimbenchError, OSError) as error:
        yield problem("configuration", str(error), "correct it, or have `shimbench init` write a new one")
        return
    yield ok("configuration", str(config.path) if config.path else "no shimbench.toml: our own shim")
    command = config.target.command
    if command and find_program(command[0], config.directory, environ) is None:
        where = f"neither in {config.directory} nor on PATH"
        yield problem("target", f"{command[0]} is no program, {where}", "correct [target] command")
    elif command:
        yield ok("target", " ".join(command))
    for soname, path in config.shim.libraries.items():
        if not path.is_file():
            yield warning(soname, f"{path} is not there", "shimbench build")
            continue
        yield _library(soname, path)


def _library(soname: str, path: Path) -> Finding:
    """Would a loader take it, under that name?"""
    from workbench.deploy.elf import NotALibraryError, read_library

    try:
        own = read_library(path).soname
    except (NotALibraryError, OSError) as error:
        return problem(soname, str(error), "shimbench build, for this machine")
    if own != soname:
        said = f"has the soname {own}" if own else "has no soname"
        return warning(
            soname,
            f"{path} {said}: a second copy is loaded for who asks by that name",
            f"link it with -Wl,-soname,{soname}",
        )
    return ok(soname, str(path))


def _open_to_us(path: Path) -> bool:
    return os.access(path, os.W_OK | os.X_OK)


def _executable(existing: Path) -> Finding:
    """Targets map libraries from the store that lies there."""
    if os.statvfs(existing).f_flag & os.ST_NOEXEC:
        return problem(
            "builds",
            f"{existing} is mounted noexec: no process may map a library from it",
            f"mount -o remount,exec {_mount_point(existing)}",
        )
    return ok("builds", f"libraries may be mapped from {existing}")


def _mount_point(path: Path) -> Path:
    path = path.resolve()
    while not path.is_mount():
        path = path.parent
    return path


def _sockets(existing: Path, sessions: Path, environ: Mapping[str, str]) -> Finding:
    """Targets register at a socket in the session, or in a short folder when its path is too long."""
    what = "sockets"
    path = sessions / "20000101-000000" / "collector.sock"
    folder = existing
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        base = environ.get("XDG_RUNTIME_DIR")
        folder = Path(base if base and len(base) < 60 else "/tmp")
    try:
        with tempfile.TemporaryDirectory(prefix=".shimbench-", dir=folder) as scratch:
            descriptor = os.open(scratch, os.O_PATH | os.O_DIRECTORY)
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
                    listener.bind(f"/proc/self/fd/{descriptor}/a")
                    listener.listen()
                    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                        client.connect(f"/proc/self/fd/{descriptor}/a")
                        mode = stat.S_IMODE(Path(scratch).stat().st_mode)
            finally:
                os.close(descriptor)
    except OSError as error:
        return problem(
            what,
            f"none can be made in {folder}: {error.strerror}",
            "keep the project on a local file system, or record with --session /tmp/...",
        )
    if mode & 0o077:
        return warning(what, f"{folder} gives new folders the mode {mode:o}", "umask 077")
    return ok(what, f"work in {folder}; only user {os.geteuid()} may connect")


def _room(existing: Path) -> Finding:
    usage = shutil.disk_usage(existing)
    text = f"{_size(usage.free)} free on {_mount_point(existing)}"
    advice = f"make room, or remove old sessions below {existing}"
    if usage.free < TOO_LITTLE_BYTES:
        return problem("disk", text, advice)
    if usage.free < SCARCE_BYTES:
        return warning("disk", text, advice)
    return ok("disk", text)


def _strangers(root: Path) -> Iterator[Finding]:
    """Sessions hold what the target was sent: who else may read them?"""
    if root.exists() and root.stat().st_mode & stat.S_IWOTH and not root.stat().st_mode & stat.S_ISVTX:
        yield warning("permissions", f"anyone may write to {root}", f"chmod o-w {root}")


def _size(count: int) -> str:
    from workbench.commands.common import size

    return size(count)
