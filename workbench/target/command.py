"""Which command is the target, and the environment that is its own business."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from workbench.config import Config
from workbench.errors import UsageError
from workbench.target import ollama


@dataclass(frozen=True)
class Target:
    """A command to launch, again and again."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    """what is set on top of the user's environment"""
    cwd: Path = field(default_factory=Path.cwd)
    url: str | None = None
    """where it answers HTTP, if it is a server we know"""

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
            "`shimbench demo` needs none of them"
        )
    program = find_program(words[0], config.directory, environ)
    if program is None:
        raise UsageError(f"{words[0]}: no such program, neither in {config.directory} nor on PATH")
    own: dict[str, str] = dict(config.target.env)
    url = None
    if ollama.is_server(words):
        own = {**ollama.server_environment({**environ, **own}, home), **own}
        url = ollama.server_url({**environ, **own})
    return Target((program, *words[1:]), own, config.directory, url)


def find_program(name: str, directory: Path, environ: Mapping[str, str]) -> str | None:
    """The absolute path of a program: relative to `directory` when it has a slash, else from PATH."""
    if "/" in name:
        path = (directory / name).absolute()
        return str(path) if os.access(path, os.X_OK) and path.is_file() else None
    return shutil.which(name, path=environ.get("PATH"))
