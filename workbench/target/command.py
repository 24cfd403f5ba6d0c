"""Which command is the target, and the environment that is its own business."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workbench.config import Config
from workbench.errors import UsageError
from workbench.target import ollama
from workbench.target.installation import Installation, inspect, library_folder, placed_libraries


@dataclass(frozen=True)
class Target:
    """A command to launch, again and again."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """what is set on top of the user's environment"""
    cwd: Path = field(default_factory=Path.cwd)
    url: str | None = None
    """where it answers HTTP, if it is a server we know"""
    describe: Callable[[], Installation] | None = None
    """looks at what is installed, if it is a program we know; takes a second"""
    preload: frozenset[str] = frozenset()
    """sonames that lie in folders of its own, searched before any path we can set: ours go by LD_PRELOAD"""

    @property
    def title(self) -> str:
        """For the header: `ollama serve`, without folders."""
        return " ".join((Path(self.argv[0]).name, *self.argv[1:]))


def find_target(
    config: Config, command: Sequence[str], home: Path, environ: Mapping[str, str] | None = None
) -> Target:
    """The command line's command, else [target] of shimbench.toml, else `ollama serve` from PATH.

    `home` is a directory of ours for what the target keeps (models of an isolated Ollama).
    Raises UsageError when there is nothing to run.
    """
    environ = os.environ if environ is None else environ
    words = tuple(command) or config.target.command or ollama.default_command(environ)
    if words is None:
        raise UsageError(
            "nothing to run: no command after --, no [target] in shimbench.toml, and no ollama on PATH. "
            "Install Ollama (https://ollama.com/download), name a program (`shimbench -- COMMAND ...`), "
            "write a shimbench.toml (`shimbench init`), or try `shimbench demo`, which needs none of them"
        )
    program = find_program(words[0], config.directory, environ)
    if program is None:
        raise UsageError(f"{words[0]}: no such program, neither in {config.directory} nor on PATH")
    own: dict[str, str] = dict(config.target.env)
    argv = (program, *words[1:])
    if not ollama.is_server(words):
        return Target(argv, own, config.directory)
    own = {**ollama.server_environment({**environ, **own}, home), **own}
    url = ollama.server_url({**environ, **own})
    path, whole = Path(program), {**environ, **own}
    placed = placed_libraries(library_folder(path, config.directory))
    return Target(
        argv,
        own,
        config.directory,
        url,
        describe=lambda: inspect(path, config.directory, whole),
        preload=frozenset(soname for soname in config.shim.libraries if _lies_among(soname, placed)),
    )


def _lies_among(soname: str, paths: Sequence[Path]) -> bool:
    return any(path.name == soname for path in paths)


def find_program(name: str, directory: Path, environ: Mapping[str, str]) -> str | None:
    """The absolute path of a program: relative to `directory` when it has a slash, else from PATH."""
    if "/" in name:
        path = (directory / name).absolute()
        return str(path) if os.access(path, os.X_OK) and path.is_file() else None
    return shutil.which(name, path=environ.get("PATH"))
