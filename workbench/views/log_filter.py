"""The filter of log lines: `level:warn source:runner* 'gone idle'`, terms first, then a regular expression.

The words `level:` (that level and graver) and `source:` (the file, function or tag a line names, as a glob
or a part of it) may stand in front; what follows is a regular expression, `!` before it for the lines that
don't match.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from workbench.filter.terms import matches
from workbench.target.log_grammar import Level, parse_bytes

_TERM = re.compile(r"\s*(level|source):(\S+)(?:\s+|$)")


@dataclass(frozen=True)
class LogFilter:
    """What passes; made by `read`."""

    text: str
    level: Level | None = None
    source: Callable[[str], bool] | None = None
    expression: re.Pattern[str] | None = None
    inverse: bool = False

    def passes(self, line: bytes, shown: str, in_report: bool = False) -> bool:
        """`line` as written, `shown` what the expression is searched in. A report's lines are errors."""
        if self.level is not None or self.source is not None:
            parsed = parse_bytes(line)
            level = Level.ERROR if in_report else parsed.level
            if self.level is not None and level < self.level:
                return False
            if self.source is not None and not self.source(parsed.source):
                return False
        return self.expression is None or bool(self.expression.search(shown)) != self.inverse


def read(text: str) -> LogFilter | None:
    """-> None for a text that filters nothing. A bad regular expression, or a term with a value that is
    none, is taken as plain text to be searched for."""
    rest, level, source = text, None, None
    while (term := _TERM.match(rest)) is not None:
        if term[1] == "level":
            try:
                level = Level.named(term[2])
            except ValueError:
                break
        else:
            source = matches(term[2])
        rest = rest[term.end() :]
    inverse = rest.startswith("!")
    words = rest.removeprefix("!")
    expression = None
    if words.strip():
        try:
            expression = re.compile(words, re.IGNORECASE)
        except re.error:
            expression = re.compile(re.escape(words), re.IGNORECASE)
    if expression is None and level is None and source is None:
        return None
    return LogFilter(text, level, source, expression, inverse)
