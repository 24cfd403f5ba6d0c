"""A systemd unit as it is, and the one drop-in by which its processes get the shim.

    /etc/systemd/system/UNIT.d/zz-shimbench.conf    the environment; all that is changed of the unit
    /var/lib/shimbench/UNIT/                        libraries, taps and forwarder, readable by the unit's user
    /run/shimbench/UNIT/                            the sockets (most systems mount /run noexec: no libraries)

With --user the same below the user's own folders, by the user's own manager.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import ShimbenchError, UsageError

DROP_IN = "zz-shimbench.conf"
ANSWER_SECONDS = 120.0


class UnitError(ShimbenchError):
    """systemd refuses, or the unit can't be run under a shim."""


@dataclass(frozen=True)
class Scope:
    """Which manager: the system's, or the user's own."""

    user: bool = False

    def systemctl(self, *words: str, check: bool = True) -> str:
        """-> stdout. Raises UnitError with systemctl's own words."""
        command = ["systemctl", *(["--user"] if self.user else []), "--no-pager", *words]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
            )
        except FileNotFoundError:
            raise UnitError("there is no systemctl here: apt install systemd") from None
        except subprocess.TimeoutExpired:
            raise UnitError(f"`{' '.join(command)}` did not answer in {ANSWER_SECONDS:.0f} s") from None
        if check and done.returncode:
            if not BOOTED.is_dir():
                raise UnitError(
                    "systemd does not run this machine, so there is no service to change: start the program "
                    "under shimbench, or give it the libraries by `shimbench deploy --to DIR`"
                )
            raise UnitError(f"`{' '.join(command)}`: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def journalctl(self, unit: str) -> list[str]:
        """The words that read a unit's journal, every line in full length."""
        which = ["--user-unit", unit] if self.user else ["--unit", unit]
        return ["journalctl", *which, "--output=json", "--all", "--no-pager"]

    def drop_in(self, unit: str) -> Path:
        root = _user_folder("XDG_CONFIG_HOME", ".config") / "systemd/user" if self.user else _SYSTEM_UNITS
        return root / f"{unit}.d" / DROP_IN

    def state(self, unit: str) -> Path:
        if self.user:
            return _user_folder("XDG_DATA_HOME", ".local/share") / "shimbench" / "units" / unit
        return Path("/var/lib/shimbench") / unit

    def runtime(self, unit: str) -> Path:
        root = (
            Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
            if self.user
            else Path("/run")
        )
        return root / "shimbench" / unit


BOOTED = Path("/run/systemd/system")
"""there while systemd is the machine's init (sd_booted(3))"""
_SYSTEM_UNITS = Path("/etc/systemd/system")


def _user_folder(variable: str, usual: str) -> Path:
    named = os.environ.get(variable)
    return Path(named) if named else Path.home() / usual


@dataclass(frozen=True)
class Unit:
    """What systemd says of a unit."""

    name: str
    active: bool
    main_pid: int
    user: int
    group: int
    environment: Mapping[str, str]
    command: tuple[str, ...]
    text: str
    """the unit and all its drop-ins, as `systemctl cat` prints them"""
    families: tuple[str, ...]
    """of RestrictAddressFamilies, when it allows only these"""
    warnings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


_PROPERTIES = (
    "LoadState", "ActiveState", "MainPID", "User", "Group", "DynamicUser", "Environment", "EnvironmentFiles",
    "RestrictAddressFamilies", "RootDirectory", "RootImage", "MemoryDenyWriteExecute", "Type", "UID", "GID",
)  # fmt: skip


def read_unit(scope: Scope, name: str) -> Unit:
    """Raises UnitError when there is no such service, or systemd does not answer."""
    if not name.endswith(".service"):
        raise UsageError(f"{name} is no service: --unit wants a name like ollama.service")
    words = [f"--property={','.join(_PROPERTIES)}"]
    said = dict(line.partition("=")[::2] for line in scope.systemctl("show", name, *words).splitlines())
    if said.get("LoadState") != "loaded":
        state = said.get("LoadState") or "not known"
        raise UnitError(f"{name} is {state}: `systemctl list-unit-files '*.service'` lists what there is")
    if root := said.get("RootDirectory") or said.get("RootImage"):
        raise UnitError(f"{name} lives in {root}: its processes see none of our files")
    user, group = _user(scope, name, said)
    families = tuple(said.get("RestrictAddressFamilies", "").split())
    warnings = []
    if said.get("EnvironmentFiles"):
        warnings.append(f"{name} reads {said['EnvironmentFiles']}: what is set there wins over ours")
    if said.get("MemoryDenyWriteExecute") == "yes":
        warnings.append(
            f"{name} has MemoryDenyWriteExecute=yes: calls through export tables are not recorded"
        )
    return Unit(
        name,
        said.get("ActiveState") in ("active", "activating", "reloading"),
        int(said.get("MainPID") or 0),
        user,
        group,
        dict(item.partition("=")[::2] for item in shlex.split(said.get("Environment", ""))),
        _command(scope, name),
        scope.systemctl("cat", name),
        () if not families or families[0].startswith("~") else families,
        tuple(warnings),
    )


def _user(scope: Scope, name: str, said: Mapping[str, str]) -> tuple[int, int]:
    if scope.user:
        return os.getuid(), os.getgid()
    text = said.get("User", "")
    if said.get("DynamicUser") == "yes" and not _stands_in_passwd(text):
        # Made as the unit starts, from its name: it is the same after a restart, and no list need name it.
        if not (said.get("UID", "").isdigit() and said.get("GID", "").isdigit()):
            raise UnitError(f"{name} runs as a dynamic user, which is made as it starts: start it first")
        return int(said["UID"]), int(said["GID"])
    try:
        entry = pwd.getpwuid(int(text)) if text.isdigit() else pwd.getpwnam(text or "root")
    except KeyError:
        raise UnitError(f"{name} runs as {text}, which is not known here: make that user first") from None
    return entry.pw_uid, entry.pw_gid


def _stands_in_passwd(name: str) -> bool:
    """A name that is fixed is taken by DynamicUser= as it is."""
    try:
        return bool(name) and pwd.getpwnam(name) is not None
    except KeyError:
        return False


def is_known(uid: int) -> bool:
    """Does a user of that number stand in the machine's lists?"""
    try:
        return pwd.getpwuid(uid) is not None
    except KeyError:
        return False


def _command(scope: Scope, name: str) -> tuple[str, ...]:
    said = scope.systemctl("show", name, "--property=ExecStart", "--value")
    for part in said.split(";"):
        key, _, value = part.strip().removeprefix("{").strip().partition("=")
        if key == "argv[]":
            return tuple(value.split())
    return (name,)


def drop_in_text(unit: Unit, environment: Mapping[str, str]) -> str:
    """The drop-in: the variables, and the right to open a Unix socket where the unit has taken that away."""
    lines = [
        "# Written by shimbench; `shimbench systemd remove` takes it away again.",
        "[Service]",
        *(f'Environment="{_quoted(f"{name}={value}")}"' for name, value in environment.items()),
    ]
    if unit.families and "AF_UNIX" not in unit.families:
        lines.append("RestrictAddressFamilies=AF_UNIX")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    if "\n" in text:
        raise UnitError(f"a variable with a line break can't be given to a unit: {text!r}")
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
