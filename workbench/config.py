"""shimbench.toml: which sources are watched, what builds them, which libraries are the shim, what runs.

Every part is optional. Without [shim.libraries] the shim is what the build makes; without a build it is our
own, with our own forwarder. Without a [target] the command line says what runs, or it is `ollama serve`.
What has no meaning is an error that names its line and what was probably meant.
"""

from __future__ import annotations

import difflib
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.errors import UsageError
from workbench.sessions_store import FILE_NAME

DRIVER_SONAMES = ("libcuda.so.1", "libnvidia-ml.so.1")
"""What the tap stands in front of."""


def plain_name(soname: str) -> str:
    """libcuda.so of libcuda.so.1: a driver's package installs that name too, and some programs ask for it."""
    return soname[: soname.index(".so") + 3]


OWN_SONAMES = (
    *DRIVER_SONAMES,
    "libcublas.so.11",
    "libcublasLt.so.11",
    "libcublas.so.12",
    "libcublasLt.so.12",
    "libcublas.so.13",
    "libcublasLt.so.13",
)
"""What our own shim consists of, as far as its build made them."""
OWN_HOST = ("shimbench-host", "--device", "soft")
"""our own forwarder, where nothing else is said"""


@dataclass(frozen=True)
class ShimConfig:
    """The shim under development."""

    watch: tuple[str, ...] = ()
    """globs relative to the directory, as .gitignore writes them"""
    build: str | None = None
    """a shell command, run in the directory"""
    logs: tuple[str, ...] = ()
    """globs of files the shim writes its log to"""
    libraries: Mapping[str, Path] = field(default_factory=dict)
    """soname -> absolute path of what the build makes"""


@dataclass(frozen=True)
class HostConfig:
    """The forwarder, if the shim has one."""

    watch: tuple[str, ...] = ()
    run: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Exercise:
    """What is done to the target after each launch, so that every edit is tried on the same road.

    One of `http`, `command`, `script` and `output` is set.
    """

    http: str | None = None
    """a path below the target's URL (Ollama's is known), or a whole URL"""
    json: Mapping[str, Any] | None = None
    """the body of the request; without it, it is a GET"""
    command: tuple[str, ...] | None = None
    """a program that drives the target"""
    script: str | None = None
    """a file, relative to the directory: run itself, or by Python or sh by its ending"""
    output: str | None = None
    """nothing is done: a pattern for the tokens that the target prints by itself, one a match"""
    tokens: int = 8
    """of `output`: so many are waited for"""
    timeout: float = 120.0
    """seconds"""
    expect: str | None = None
    """"cpu": its tokens are compared with those of the CPU backend"""
    cpu: tuple[str, ...] | None = None
    """the command that answers on the CPU; Ollama needs none"""


@dataclass(frozen=True)
class TargetConfig:
    command: tuple[str, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    exercise: Exercise | None = None
    ladder: Mapping[str, tuple[str, ...]] | None = None
    """rungs climbed after a save, before the target -> commands, () for ours; None: the target's own"""


@dataclass(frozen=True)
class RecordConfig:
    """What is recorded besides calls."""

    limit: int = 0
    """bytes of buffers that a session keeps of what calls are given and fill, for replay; 0 none"""
    inputs: bool = True
    """what calls are given as well, not only what they fill: a replay has it from where it was recorded"""


@dataclass(frozen=True)
class Config:
    """All of it, for one directory."""

    directory: Path
    path: Path | None = None
    """the shimbench.toml that was read"""
    shim: ShimConfig = ShimConfig()
    host: HostConfig = HostConfig()
    target: TargetConfig = TargetConfig()
    record: RecordConfig = RecordConfig()
    own_shim: bool = False
    """the libraries are those of our own native build"""

    @property
    def watch(self) -> tuple[str, ...]:
        """Every glob whose change asks for a build."""
        return (*self.shim.watch, *self.host.watch)


class ConfigError(UsageError):
    """A line of shimbench.toml that has no meaning."""


def load_config(directory: Path, own_libraries: Callable[[], Mapping[str, Path]] | None = None) -> Config:
    """Read DIR/shimbench.toml if there is one and fill in the defaults.

    `own_libraries` answers what our own shim consists of; it is only asked when the configuration
    names no libraries, since asking may build them. Raises ConfigError, UsageError.
    """
    directory = directory.resolve()
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")
    path = directory / FILE_NAME
    config = _parse(path.read_text(), directory, path) if path.is_file() else Config(directory)
    if config.shim.libraries:
        return config
    if own_libraries is None and (built := with_built_libraries(config)):
        return built
    libraries = (own_libraries or _own_libraries)()
    host = config.host if config.host.run else replace(config.host, run=OWN_HOST)
    return replace(config, shim=replace(config.shim, libraries=libraries), host=host, own_shim=True)


def with_built_libraries(config: Config) -> Config | None:
    """`config` with the libraries that its build has made, which no [shim.libraries] names; None without any.

    Who gives a build command means what it makes, and not our own shim.
    """
    if config.shim.build is None or any(
        path.is_relative_to(config.directory) for path in config.shim.libraries.values()
    ):
        return None
    from workbench.init.libraries import find_libraries

    made = find_libraries(config.directory)
    libraries = {library.stands_for: library.path for library in reversed(made) if library.stands_for}
    if not libraries:
        return None
    host = replace(config.host, run=None) if config.host.run == OWN_HOST else config.host
    return replace(config, shim=replace(config.shim, libraries=libraries), host=host, own_shim=False)


def _own_libraries() -> Mapping[str, Path]:
    from workbench import native

    lib = native.paths().lib
    return {soname: lib / soname for soname in OWN_SONAMES if (lib / soname).exists()}


# What may be written. A reader takes a value and answers it in our types, or says what it wants.


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("wants a string")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("wants a list of strings")
    return tuple(value)


def _words(value: Any) -> tuple[str, ...]:
    """A command: a list of words, or one string split as a shell would."""
    words = tuple(shlex.split(value)) if isinstance(value, str) else _texts(value)
    if not words:
        raise ValueError("wants a command")
    return words


def _environment(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise ValueError("wants a table of strings")
    for name, text in value.items():
        if not isinstance(text, str):
            raise ValueError(f'wants a string for {name}: write {name} = "{text}"')
    return dict(value)


_WAYS = ("http", "command", "script", "output")


def _exercise(value: Any) -> Exercise:
    if not isinstance(value, dict):
        raise ValueError('wants { http = "/api/generate", json = { ... } } or { command = "..." }')
    for key in value:
        if key not in _EXERCISE:
            raise ValueError(_unknown(key, _EXERCISE, "part of an exercise"))
    ways = [way for way in _WAYS if way in value]
    if len(ways) != 1:
        said = f"not {' and '.join(ways)}" if ways else "there is none"
        raise ValueError(f"wants one of {', '.join(_WAYS)}: {said}")
    read = {}
    for key, part in value.items():
        try:
            read[key] = _EXERCISE[key](part)
        except ValueError as error:
            raise ValueError(f"{key} {error}") from None
    if "json" in read and ways != ["http"]:
        raise ValueError(f"json is the body of an http request, which {ways[0]} is none of")
    if "tokens" in read and ways != ["output"]:
        raise ValueError(f"tokens says how many output waits for; with {ways[0]}, ask for so many there")
    if "cpu" in read and "expect" not in read:
        raise ValueError('cpu is what expect = "cpu" compares with: write that too')
    return Exercise(**read)


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError('wants a table: json = { model = "tiny", prompt = "hi" }')
    return dict(value)


def _address(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith(("/", "http://", "https://")):
        raise ValueError('wants a path below the target\'s URL, as "/api/generate", or a whole URL')
    return value


def _pattern(value: Any) -> str:
    try:
        re.compile(_text(value).encode())
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return _text(value)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("wants a whole number from 1")
    return value


def _seconds(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise ValueError("wants a number of seconds above 0")
    return float(value)


def _expectation(value: Any) -> str:
    if value != "cpu":
        raise ValueError('knows "cpu" alone: the tokens of the CPU backend')
    return "cpu"


RUNGS = ("probe", "list-devices", "discovery", "load", "tokens")
"""From a process that only asks for the device count up to the target's first tokens."""
_SHORT_RUNGS = RUNGS[:2]


def _ladder(value: Any) -> Mapping[str, tuple[str, ...]]:
    if isinstance(value, bool):
        return {"probe": ()} if value else {}
    if isinstance(value, list):
        value = dict.fromkeys(_texts(value), True)
    if not isinstance(value, dict):
        raise ValueError('wants true, false, ["probe", "list-devices"] or { list-devices = "command" }')
    rungs = {}
    for name, command in value.items():
        if name in RUNGS and name not in _SHORT_RUNGS:
            raise ValueError(f"names what comes before the target itself; {name} is seen in the target's run")
        if name not in _SHORT_RUNGS:
            raise ValueError(_unknown(name, dict.fromkeys(_SHORT_RUNGS), "rung before the target"))
        try:
            rungs[name] = () if command is True else _words(command)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    return {name: rungs[name] for name in _SHORT_RUNGS if name in rungs}


DEFAULT_BUFFERS = 512 << 20
"""Bytes of buffers that a session keeps when no limit is said."""
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def byte_count(text: str) -> int:
    """`512M`, `2G`, `1048576` in bytes; ValueError when it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise ValueError('wants a size: "512M", "2G"')
    return int(float(match[1]) * _UNITS[match[2]])


def _buffers(value: Any) -> int:
    if isinstance(value, bool):
        return DEFAULT_BUFFERS if value else 0
    return byte_count(_text(value))


def _libraries(value: Any) -> Mapping[str, str]:
    return _environment(value)


Reader = Callable[[Any], Any]
_EXERCISE: Mapping[str, Reader] = {
    "http": _address,
    "json": _table,
    "command": _words,
    "script": _text,
    "output": _pattern,
    "tokens": _count,
    "timeout": _seconds,
    "expect": _expectation,
    "cpu": _words,
}
TABLES: Mapping[str, Mapping[str, Reader]] = {
    "shim": {"watch": _texts, "build": _text, "logs": _texts, "libraries": _libraries},
    "host": {"watch": _texts, "run": _words},
    "record": {"buffers": _buffers},
    "target": {"command": _words, "env": _environment, "exercise": _exercise, "ladder": _ladder},
}


def _parse(text: str, directory: Path, path: Path) -> Config:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r"\(at (?:line (\d+), column (\d+)|end of document)\)", str(error))
        line = place.group(1) if place and place.group(1) else len(text.splitlines())
        what = str(error).split(" (at ")[0]
        raise ConfigError(f"{path}:{line}: {what}") from None
    read: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    for table, content in document.items():
        if table not in TABLES:
            raise ConfigError(f"{path}:{_line_of(text, (table,))}: {_unknown(table, TABLES, 'table')}")
        if not isinstance(content, dict):
            raise ConfigError(f"{path}:{_line_of(text, (table,))}: {table} is a table: write [{table}]")
        for key, value in content.items():
            line = _line_of(text, (table, key))
            if key not in TABLES[table]:
                raise ConfigError(f"{path}:{line}: {_unknown(key, TABLES[table], f'key of [{table}]')}")
            try:
                read[table][key] = TABLES[table][key](value)
            except ValueError as error:
                raise ConfigError(f"{path}:{line}: {key} {error}") from None
    libraries: Mapping[str, str] = read["shim"].pop("libraries", {})
    for soname in libraries:
        if "/" in soname or ".so" not in soname:
            line = _line_of(text, ("shim", "libraries", soname))
            raise ConfigError(
                f'{path}:{line}: "{soname}" is no soname; write "libcuda.so.1" = "path/of/your/library.so"'
            )
    absolute = {soname: (directory / name).absolute() for soname, name in libraries.items()}
    return Config(
        directory,
        path,
        ShimConfig(libraries=absolute, **read["shim"]),
        HostConfig(**read["host"]),
        TargetConfig(**read["target"]),
        RecordConfig(read["record"].get("buffers", 0)),
    )


def _unknown(name: str, known: Mapping[str, object], what: str) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return f"{name} is no {what}; {hint}"


def _line_of(text: str, keys: tuple[str, ...]) -> int:
    """The line on which a table or a key of it is written, from 1; 1 when it can't be told.

    tomllib drops positions. A document that parsed is regular enough to find headers and keys by
    their first word; dotted keys and inline tables fall back on the line of their first part.
    """
    current: tuple[str, ...] = ()
    best, matched = 1, 0
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?([^\]]+)\]", line)
        if header:
            current = _dotted(header.group(1))
            here = current
        elif assignment := re.match(r"""\s*((?:[\w.-]|"[^"]*"|'[^']*')+)\s*=""", line):
            here = (*current, *_dotted(assignment.group(1)))
        else:
            continue
        common = 0
        while common < min(len(here), len(keys)) and here[common] == keys[common]:
            common += 1
        if common == min(len(here), len(keys)) and common > matched:
            best, matched = number, common
    return best


def _dotted(name: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in re.findall(r'"[^"]*"|\'[^\']*\'|[^.]+', name))
