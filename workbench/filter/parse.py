"""Text to filter: a tokeniser that remembers columns, and a parser by precedence: or < and < not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Generic
from typing import Any as Anything

import numpy as np

from workbench.filter.errors import FilterError
from workbench.filter.language import Language, Things
from workbench.filter.lines import LINES, Lines, Written
from workbench.filter.nodes import All, Any, Mask, Node, Not, Rows
from workbench.filter.terms import CALLS

if TYPE_CHECKING:
    from sessions import Session

_TOKEN = re.compile(r"""\s*(?:([()!|&])|((?:"[^"]*"|[^\s()!|&"])+)|(")|$)""")
_OPERATORS = {"and": "&", "or": "|", "not": "!"}
OPERATORS = (
    ("a b, a and b, a & b", "both hold"),
    ("a or b, a | b", "one of them holds"),
    ("!a, not a", "it does not hold"),
    ("( ... )", "together"),
)
"""How terms are put together: (how it is written, what it means)."""


@dataclass(frozen=True)
class Token:
    """`kind` is one of ( ) ! | & or "term"; `column` counts from 1."""

    kind: str
    text: str
    column: int


class Filter:
    """A parsed filter of calls. It may be used over any session, also a growing one."""

    def __init__(self, text: str, node: Node[Rows]) -> None:
        self.text = text
        self._node = node

    def mask(self, session: Session, start: int, stop: int) -> Mask:
        """Which of the calls start..stop (rows from 0) pass: a bool array of shape (stop - start,)."""
        return self._node.mask(Rows(session, start, stop), np.ones(stop - start, bool))


class LineFilter:
    """A parsed filter of lines of the log. It may be used over any session."""

    def __init__(self, text: str, node: Node[Lines]) -> None:
        self.text = text
        self._node = node

    def mask(self, written: Sequence[Written]) -> Mask:
        """Which lines, and reports of several, pass: a bool array of shape (len(written),)."""
        return self._node.mask(written, np.ones(len(written), bool))


def parse(text: str) -> Filter:
    """A filter of calls; FilterError with a column when it means nothing. No text: all calls pass."""
    return Filter(text, _parsed(text, CALLS))


def parse_lines(text: str) -> LineFilter:
    """A filter of lines of the log; FilterError with a column when it means nothing. No text: all pass."""
    return LineFilter(text, _parsed(text, LINES))


def _parsed(text: str, language: Language[Things]) -> Node[Things]:
    try:
        return _Parser(tokenise(text), len(text) + 1, language).whole()
    except FilterError as error:
        error.text = text
        raise


def tokenise(text: str) -> list[Token]:
    """The tokens of a filter; FilterError at a quote that is not closed."""
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found is not None  # every character fits one of the kinds
        if found[3]:
            raise FilterError("this quote is not closed", found.start(3) + 1)
        if found[1]:
            tokens.append(Token(found[1], found[1], found.start(1) + 1))
        elif found[2]:
            kind = _OPERATORS.get(found[2].lower(), "term")
            tokens.append(Token(kind, found[2], found.start(2) + 1))
        at = found.end()
    return tokens


class _Parser(Generic[Things]):
    def __init__(self, tokens: list[Token], end: int, language: Language[Things]) -> None:
        self._language = language
        self._tokens = tokens
        self._at = 0
        self._end = end

    def whole(self) -> Node[Things]:
        if not self._tokens:
            return All([])
        node = self._or()
        if self._at < len(self._tokens):
            raise FilterError("there is no ( for this )", self._tokens[self._at].column)
        return node

    def _peek(self) -> str:
        return self._tokens[self._at].kind if self._at < len(self._tokens) else ""

    def _or(self) -> Node[Things]:
        parts = [self._and()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Any(parts)

    def _and(self) -> Node[Things]:
        parts = [self._not()]
        while self._peek() in ("&", "!", "(", "term"):
            if self._peek() == "&":
                self._at += 1
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else All(parts)

    def _not(self) -> Node[Things]:
        if self._peek() == "!":
            self._at += 1
            return Not(self._not())
        return self._one()

    def _one(self) -> Node[Things]:
        if self._at >= len(self._tokens):
            raise FilterError("something is missing here", self._end)
        token = self._tokens[self._at]
        self._at += 1
        if token.kind == "(":
            node = self._or()
            if self._peek() != ")":
                raise FilterError("this ( is not closed", token.column)
            self._at += 1
            return node
        if token.kind != "term":
            raise FilterError(f"a term is missing before {token.text}", token.column)
        return make_term(token, self._language)


def make_term(token: Token, language: Language[Things]) -> Node[Things]:
    """The node of one term."""
    key, colon, value = token.text.partition(":")
    if not colon or '"' in key:
        word = language.word(token.text.lower())
        if word is not None:
            return word.make()
        key, value, column = "", token.text, token.column
    else:
        key, column = key.lower(), token.column + len(key) + 1
    term = language.term(key)
    if term is None or (colon and not key):
        raise FilterError(_no_term(key, language), token.column)
    value = value.replace('"', "")
    if not value:
        raise FilterError(f"{term.syntax}: the value is missing", column)
    try:
        return term.make(value)
    except ValueError as error:
        raise FilterError(f"{key + ': ' if key else ''}{error}", column) from None


def _no_term(key: str, language: Language[Anything]) -> str:
    """What is wrong with a term that there is not, and what may have been meant."""
    known = [term.key for term in language.terms if term.key]
    near = get_close_matches(key, known, 1)
    other = next((each for each in (CALLS, LINES) if each is not language and each.term(key)), None)
    if near:
        meant = f"; did you mean {near[0]}:?"
    elif other is not None and key:
        meant = f" of {language.of}, only of {other.of}; there are {': '.join(known)}:"
    else:
        meant = ""
    return f"there is no term {key}:{meant}"


def help_lines(language: Language[Anything] = CALLS) -> list[tuple[str, str]]:
    """The language as rows of (how it is written, what it means), for help screens."""
    rows = [(term.syntax, f"{term.help}; {term.example}") for term in language.terms]
    rows += [(word.word, word.help) for word in language.words]
    return [*rows, *OPERATORS]
