"""From a function to the line that defines it, and from there into the user's editor."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.panes.build import SourcePlace

if TYPE_CHECKING:
    from workbench.config import Config

_SOURCES = {".c", ".cc", ".cpp", ".cxx", ".cu", ".h", ".hpp", ".rs", ".go", ".zig"}
_LARGEST = 4 * 1024 * 1024  # bytes; a larger source is generated


def find_definition(function: str, config: Config) -> SourcePlace | None:
    """Where a watched source defines a function: its name, a parameter list and no `;` behind it."""
    heads = re.compile(rf"\b{re.escape(function)}\s*\(")
    for path in _watched(config):
        text = path.read_text(errors="replace")
        for match in heads.finditer(text):
            if _is_definition(text, match.end()):
                return SourcePlace(str(path), text.count("\n", 0, match.start()) + 1)
    return None


def _watched(config: Config) -> Iterator[Path]:
    seen = set()
    for pattern in config.watch:
        for path in sorted(config.directory.glob(pattern)):
            if path in seen or path.suffix not in _SOURCES or not path.is_file():
                continue
            seen.add(path)
            if path.stat().st_size <= _LARGEST:
                yield path


def _is_definition(text: str, at: int) -> bool:
    """Whether the parameter list that opened before `at` is followed by a body."""
    depth = 1
    while depth and at < len(text):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return re.match(r"\s*(->\s*[\w:]+\s*)?\{", text[at : at + 200]) is not None


def editor_command(path: Path, line: int, column: int) -> list[str]:
    """The user's editor at a line, in the way that editor wants it said."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    name = Path(editor[0]).name
    if name in ("code", "codium", "cursor", "windsurf"):
        return [*editor, "--wait", "--goto", f"{path}:{line}:{max(column, 1)}"]
    if name in ("hx", "helix", "zed", "subl"):
        return [*editor, f"{path}:{line}:{max(column, 1)}"]
    return [*editor, f"+{line}", str(path)]


def run_editor(command: Sequence[str], directory: Path) -> str | None:
    """Run it in the foreground; a sentence when it could not run."""
    try:
        status = subprocess.run(command, cwd=directory, check=False).returncode
    except OSError as error:
        return f"{command[0]} did not start: {error.strerror}; set $EDITOR"
    return f"{shlex.join(command)} ended with status {status}" if status else None
