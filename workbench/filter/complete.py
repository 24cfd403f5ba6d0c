"""What could stand at the cursor of a filter that is being typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from workbench.filter.terms import TERMS, WORDS

if TYPE_CHECKING:
    from sessions import Session

_LIMIT = 50
_BREAKS = " ()!|&"


@dataclass(frozen=True)
class Completion:
    """`text` would replace what stands from `start` (from 0) to the cursor."""

    text: str
    help: str
    start: int


def complete(text: str, cursor: int, session: Session | None = None) -> list[Completion]:
    """Candidates for the word before the cursor, the likeliest first, at most 50.

    With a session also its own names: functions, results, pids, programs, libraries.
    """
    start = cursor
    while start > 0 and text[start - 1] not in _BREAKS:
        start -= 1
    word = text[start:cursor]
    key, colon, value = word.partition(":")
    if colon:
        found = [
            Completion(name, help_text, start + len(key) + 1)
            for name, help_text in _values(key.lower(), session)
            if value.casefold() in name.casefold()
        ]
    else:
        language = [(w.word, w.help) for w in WORDS] + [(f"{t.key}:", t.help) for t in TERMS if t.key]
        found = [Completion(name, help_text, start) for name, help_text in language if name.startswith(word)]
        if word and session is not None:
            found += [
                Completion(name, "function", start)
                for name in _functions(session)
                if word.casefold() in name.casefold()
            ]
        value = word
    found.sort(key=lambda candidate: not candidate.text.casefold().startswith(value.casefold()))
    return found[:_LIMIT]


def _functions(session: Session) -> list[str]:
    return [function.name for function in session.schema.functions.values()]


def _values(key: str, session: Session | None) -> list[tuple[str, str]]:
    if key == "lib":
        return [("cuda", "the driver API"), ("nvml", "the management library")]
    if key in ("dur", "time"):
        return [(">1ms", "longer than"), ("<20us", "shorter than"), ("1ms-5ms", "between")]
    if session is None:
        return []
    processes = session.processes
    if key == "fn":
        return [(name, "function") for name in _functions(session)]
    if key == "result":
        enums = session.schema.enums
        return [
            (name, f"{enum} {value}")
            for enum in ("CUresult", "nvmlReturn_t")
            for name, value in enums.get(enum, {}).items()
        ]
    if key == "pid":
        return [(str(process.pid), PurePosixPath(process.exe).name) for process in processes]
    if key == "process":
        return [(name, "program") for name in dict.fromkeys(PurePosixPath(p.exe).name for p in processes)]
    if key == "run":
        return [(str(run), "run") for run in sorted({process.run for process in processes}, reverse=True)]
    if key == "caller":
        names = {PurePosixPath(module.path).name for process in processes for module in process.modules}
        return [(name, "library") for name in sorted(names)]
    return []
