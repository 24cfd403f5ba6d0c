"""What could stand at the cursor of a filter that is being typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.filter.language import Language
from workbench.filter.terms import CALLS

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


def complete(
    text: str, cursor: int, session: Session | None = None, language: Language[Any] = CALLS
) -> list[Completion]:
    """Candidates for the word before the cursor, the likeliest first, at most 50.

    With a session also its own names: functions, results, pids, programs, libraries, sources of lines.
    """
    start = cursor
    while start > 0 and text[start - 1] not in _BREAKS:
        start -= 1
    word = text[start:cursor]
    key, colon, value = word.partition(":")
    if colon:
        found = [
            Completion(name, help_text, start + len(key) + 1)
            for name, help_text in language.values(key.lower(), session)
            if value.casefold() in name.casefold()
        ]
    else:
        own = [(each.word, each.help) for each in language.words]
        own += [(f"{each.key}:", each.help) for each in language.terms if each.key]
        found = [Completion(name, help_text, start) for name, help_text in own if name.startswith(word)]
        if word and session is not None:
            found += [
                Completion(name, help_text, start)
                for name, help_text in language.names(session)
                if word.casefold() in name.casefold()
            ]
        value = word
    found.sort(key=lambda candidate: not candidate.text.casefold().startswith(value.casefold()))
    return found[:_LIMIT]
