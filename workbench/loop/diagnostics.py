"""What a build said, as places in sources: GCC, Clang, the linkers, make, ninja and CMake.

A build's output is text made for people. What is understood becomes a Diagnostic with a path one
can open; the rest stays in the build's output, which is always kept whole.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path


class Severity(enum.StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Note:
    """A note below a diagnostic: another place that matters to it."""

    path: Path | None
    line: int
    column: int
    message: str


@dataclass(frozen=True)
class Diagnostic:
    """One error or warning."""

    path: Path | None
    """absolute; None for what has no source, as a missing library"""
    line: int
    """from 1; 0 when not known"""
    column: int
    """from 1; 0 when not known"""
    severity: Severity
    message: str
    option: str = ""
    """the warning's switch: -Wunused-variable"""
    inside: str = ""
    """the function it lies in, as far as the compiler says"""
    included_from: tuple[tuple[Path, int], ...] = ()
    """the nearest include first"""
    excerpt: tuple[str, ...] = ()
    """the source lines with carets as the compiler printed them"""
    notes: tuple[Note, ...] = ()
    output_line: int = 0
    """line of the build's output it stands on, from 1"""

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}: " if self.path else ""
        return f"{place}{self.severity}: {self.message}"


_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\]8;[^\x1b\x07]*(?:\x1b\\|\x07)")
_PLACED = re.compile(
    r"^(?P<path>[^\s:][^:\n]*):(?P<line>\d+):(?:(?P<column>\d+):)? "
    r"(?P<severity>fatal error|error|warning|note|sorry, unimplemented|internal compiler error): "
    r"(?P<message>.*?)(?: \[(?P<option>-[Wf][^\]]+)\])?$"
)
_PLACELESS = re.compile(
    r"^(?P<tool>[\w./+-]*(?:gcc|g\+\+|clang|clang\+\+|cc1|cc1plus|cc|c\+\+|lld)(?:-\d+)?): "
    r"(?P<severity>fatal error|error|warning): (?P<message>.*)$"
)
_INCLUDED = re.compile(r"^(?:In file included from|\s+from) (?P<path>[^:]+):(?P<line>\d+)(?::\d+)?[,:]$")
_INSIDE = re.compile(
    r"^(?P<path>[^:]+): In (?:member |static |lambda )?(?:function|constructor|destructor) (?P<name>.+):$"
)
_AT_TOP = re.compile(r"^[^:]+: (?:At top level|At global scope|In instantiation of .*):?$")
_EXCERPT = re.compile(r"^ *\d* \|")
_CARETS = re.compile(r"^[ \t]*[~^][~^ \t]*$")

_LD = r"(?:[\w./+-]*ld(?:\.\w+)?(?:-\d+)?: )"
_LD_INSIDE = re.compile(rf"^{_LD}?(?P<object>[^:]+): in function [`\u2018'](?P<name>[^'\u2019]+)['\u2019]:$")
_LD_UNDEFINED = re.compile(
    rf"^{_LD}?(?:(?P<path>[^:\s][^:]*):(?:(?P<line>\d+)|\([^)]*\)): |(?P<object>[^:]+): )?"
    r"(?P<message>(?:more )?undefined reference to .+|multiple definition of .+|"
    r"relocation .+ can not be used.+)$"
)
_LD_PLAIN = re.compile(
    rf"^{_LD}(?P<message>cannot find .+|error: .+|(?:final link|symbol lookup).+|.+: file not recognized.*)$"
)
_LLD_REFERENCE = re.compile(
    r"^>>> (?:referenced by|defined (?:at|in)) (?P<path>[^:()]+?)(?::(?P<line>\d+))?(?: \(.*\))?$"
)
_COLLECT = re.compile(r"^(?:collect2: error|clang(?:\+\+)?: error: linker command failed)")

_MAKE_DIR = re.compile(
    r"^(?:\S*make(?:\[\d+\])?): (?P<what>Entering|Leaving) directory [`\u2018'](?P<path>.+)['\u2019]$"
)
_NINJA_DIR = re.compile(r"^ninja: Entering directory [`'](?P<path>.+)'$")
_MAKE_PLACED = re.compile(r"^(?P<path>[^\s:*]+):(?P<line>\d+): \*\*\* (?P<message>.+?)(?:\.  Stop\.)?$")
_MAKE_PLAIN = re.compile(r"^\S*make(?:\[\d+\])?: \*\*\* (?P<message>.+?)(?:\.  Stop\.)?$")
_MAKE_TARGET = re.compile(r"^\[(?:(?P<path>[^:\]]+):(?P<line>\d+): )?(?P<target>[^\]]+)\] (?P<message>.+)$")
_NINJA_PLAIN = re.compile(r"^ninja: (?:error|fatal): (?P<message>.+)$")
_CMAKE = re.compile(
    r"^CMake (?P<severity>Error|Warning)(?: \(dev\))?(?: at (?P<path>[^:]+):(?P<line>\d+))?"
    r"(?: \([^)]*\))?:(?P<message>.*)$"
)
_SHELL = re.compile(
    r"^(?:/bin/)?(?:sh|bash|build): (?:\d+|line \d+): "
    r"(?P<message>.+: (?:not found|command not found|Permission denied|No such file or directory))$"
)


@dataclass
class _Reader:
    """The state while going down the output: what belongs to the next diagnostic, or to the last."""

    directories: list[Path]
    found: list[Diagnostic] = field(default_factory=list)
    included: list[tuple[Path, int]] = field(default_factory=list)
    inside: str = ""
    excerpt_open: bool = False
    linker_inside: str = ""

    def resolve(self, name: str) -> Path:
        """An absolute path: relative to make's present directory, or to where such a file is."""
        path = Path(name)
        if path.is_absolute():
            return path
        for directory in reversed(self.directories):
            if (directory / path).exists():
                return Path(_normal(directory / path))
        return Path(_normal(self.directories[-1] / path))

    def add(self, diagnostic: Diagnostic) -> None:
        self.found.append(replace(diagnostic, included_from=tuple(self.included)))
        self.included.clear()
        self.excerpt_open = diagnostic.path is not None and bool(diagnostic.message)

    def amend(self, **changes: object) -> None:
        self.found[-1] = replace(self.found[-1], **changes)  # type: ignore[arg-type]


def parse_diagnostics(output: str, directory: Path) -> list[Diagnostic]:
    """The diagnostics in `output`, in its order, of a command that ran in `directory`.

    Notes, excerpts and include chains are attached to the error or warning they belong to. Errors
    that only report an earlier one (`make: *** Error 1`, `collect2: ld returned 1`) are left out
    unless they are all there is.
    """
    reader = _Reader([directory])
    echoes: list[Diagnostic] = []
    for number, raw in enumerate(output.splitlines(), 1):
        line = _ANSI.sub("", raw).rstrip()
        if _directory(reader, line) or _compiler(reader, line, number) or _linker(reader, line, number):
            continue
        echo = _builder(reader, line, number)
        if echo is not None:
            echoes.append(echo)
    if not any(item.severity is Severity.ERROR for item in reader.found):
        reader.found.extend(echoes[:1])
    return reader.found


def excerpt_of(path: Path, line: int, around: int = 3) -> Iterator[tuple[int, str]]:
    """(line number, text) of the source lines around `line`, as far as the file has them."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return
    for number in range(max(1, line - around), min(len(lines), line + around) + 1):
        yield number, lines[number - 1]


def _normal(path: Path) -> str:
    """Without `..`, and without following symbolic links, as the compiler was given it."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and len(parts) > 1 and parts[-1] != "..":
            parts.pop()
        else:
            parts.append(part)
    return str(Path(*parts))


def _directory(reader: _Reader, line: str) -> bool:
    if match := _MAKE_DIR.match(line):
        if match["what"] == "Entering":
            reader.directories.append(Path(match["path"]))
        elif len(reader.directories) > 1:
            reader.directories.pop()
        return True
    if match := _NINJA_DIR.match(line):
        reader.directories.append(Path(_normal(reader.directories[0] / match["path"])))
        return True
    return False


def _severity(word: str) -> Severity:
    return Severity(word) if word in ("warning", "note") else Severity.ERROR


def _compiler(reader: _Reader, line: str, number: int) -> bool:
    if match := _INCLUDED.match(line):
        reader.included.append((reader.resolve(match["path"]), int(match["line"])))
        return True
    if match := _INSIDE.match(line):
        reader.inside = match["name"].strip("\u2018\u2019`'")
        return True
    if _AT_TOP.match(line):
        reader.inside = ""
        return True
    if match := _PLACED.match(line):
        path, place = reader.resolve(match["path"]), (int(match["line"]), int(match["column"] or 0))
        severity = _severity(match["severity"])
        if severity is Severity.NOTE and reader.found:
            note = Note(path, *place, match["message"])
            reader.amend(notes=(*reader.found[-1].notes, note))
            reader.included.clear()
            reader.excerpt_open = False
            return True
        reader.add(
            Diagnostic(
                path,
                *place,
                severity,
                match["message"],
                match["option"] or "",
                reader.inside,
                output_line=number,
            )
        )
        return True
    if reader.excerpt_open and (_EXCERPT.match(line) or _CARETS.match(line) or line.startswith("  ")):
        reader.amend(excerpt=(*reader.found[-1].excerpt, line))
        return True
    reader.excerpt_open = False
    if _COLLECT.match(line):
        return False
    if match := _PLACELESS.match(line):
        reader.add(Diagnostic(None, 0, 0, _severity(match["severity"]), match["message"], output_line=number))
        return True
    return False


def _linker(reader: _Reader, line: str, number: int) -> bool:
    if match := _LD_INSIDE.match(line):
        reader.linker_inside = match["name"]
        return True
    if match := _LD_UNDEFINED.match(line):
        name = match["path"] or match["object"]
        reader.add(
            Diagnostic(
                reader.resolve(name) if name else None,
                int(match["line"] or 0),
                0,
                Severity.ERROR,
                match["message"],
                inside=reader.linker_inside,
                output_line=number,
            )
        )
        reader.excerpt_open = False
        return True
    if match := _LD_PLAIN.match(line):
        reader.add(
            Diagnostic(
                None, 0, 0, Severity.ERROR, match["message"].removeprefix("error: "), output_line=number
            )
        )
        reader.excerpt_open = False
        return True
    if reader.found and (match := _LLD_REFERENCE.match(line)):
        path, place = reader.resolve(match["path"]), int(match["line"] or 0)
        last = reader.found[-1]
        if last.path is None and place:
            reader.amend(path=path, line=place)
        reader.amend(notes=(*last.notes, Note(path, place, 0, line.removeprefix(">>> "))))
        return True
    return False


def _builder(reader: _Reader, line: str, number: int) -> Diagnostic | None:
    """make, ninja, CMake and the shell. -> what may be no more than the echo of an earlier error"""
    if match := _CMAKE.match(line):
        severity = Severity.ERROR if match["severity"] == "Error" else Severity.WARNING
        path = reader.resolve(match["path"]) if match["path"] else None
        reader.add(
            Diagnostic(
                path, int(match["line"] or 0), 0, severity, match["message"].strip(), output_line=number
            )
        )
        return None
    if reader.found and not reader.found[-1].message and line.startswith("  ") and line.strip():
        reader.amend(message=line.strip())  # CMake puts its sentence on the lines below
        return None
    if match := _MAKE_PLACED.match(line):
        path = reader.resolve(match["path"])
        reader.add(
            Diagnostic(path, int(match["line"]), 0, Severity.ERROR, match["message"], output_line=number)
        )
        return None
    if match := _MAKE_PLAIN.match(line):
        if target := _MAKE_TARGET.match(match["message"]):
            text = f"{target['target']}: {target['message']}"
            path = reader.resolve(target["path"]) if target["path"] else None
            return Diagnostic(path, int(target["line"] or 0), 0, Severity.ERROR, text, output_line=number)
        reader.add(Diagnostic(None, 0, 0, Severity.ERROR, match["message"], output_line=number))
        return None
    if match := _NINJA_PLAIN.match(line):
        reader.add(Diagnostic(None, 0, 0, Severity.ERROR, match["message"], output_line=number))
        return None
    if match := _SHELL.match(line):
        reader.add(Diagnostic(None, 0, 0, Severity.ERROR, match["message"], output_line=number))
        return None
    if _COLLECT.match(line) or line.startswith("FAILED: "):
        return Diagnostic(None, 0, 0, Severity.ERROR, line, output_line=number)
    return None
