"""Sources as coloured lines."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from workbench.panes.parts import Part


def source_around(path: Path, line: int, around: int) -> list[tuple[int, list[Part]]]:
    """(number, coloured parts) of a line and its neighbours; empty if the file can't be read."""
    rows = source_lines(path, path.name)
    first, last = max(line - around, 1), min(line + around, len(rows))
    return [(number, rows[number - 1]) for number in range(first, last + 1)]


def source_lines(path: Path, name: str) -> list[list[Part]]:
    """The coloured parts of each line of a file, in the language of its `name`; none if it can't be read."""
    try:
        return _coloured_lines(path, path.stat().st_mtime_ns, name)
    except (OSError, ValueError):
        return []


@lru_cache(maxsize=16)
def _coloured_lines(path: Path, stamp: int, name: str) -> list[list[Part]]:
    """A source file coloured by pygments, line by line; `stamp` makes an edit a new entry."""
    from pygments.lexers import get_lexer_for_filename  # type: ignore[import-untyped]
    from pygments.lexers.special import TextLexer  # type: ignore[import-untyped]
    from pygments.util import ClassNotFound  # type: ignore[import-untyped]

    text = path.read_text(errors="replace")
    try:
        lexer = get_lexer_for_filename(name, stripnl=False, ensurenl=False)
    except ClassNotFound:
        lexer = TextLexer(stripnl=False, ensurenl=False)
    rows: list[list[Part]] = [[]]
    for token, piece in lexer.get_tokens(text):
        ink = _token_ink(str(token))
        for number, part in enumerate(piece.split("\n")):
            if number:
                rows.append([])
            if part:
                rows[-1].append((part, ink))
    return rows


def _token_ink(token: str) -> str:
    for prefix, ink in (
        ("Token.Comment.Preproc", "accent"),
        ("Token.Comment", "dim"),
        ("Token.Keyword", "head"),
        ("Token.Literal.String", "ok"),
        ("Token.Literal.Number", "number"),
        ("Token.Name.Function", "name"),
    ):
        if token.startswith(prefix):
            return ink
    return "plain"
