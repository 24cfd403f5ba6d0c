"""Text to filter: a tokeniser that remembers columns, and a parser by precedence: or < and < not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from workbench.filter.errors import FilterError
from workbench.filter.nodes import All, Any, Mask, Node, Not, Rows
from workbench.filter.terms import TERMS, WORDS

if TYPE_CHECKING:
    from sessions import Session

_KEYED = {term.key: term for term in TERMS}
_WORDS = {word.word: word for word in WORDS}
_TOKEN = re.compile(r"""\s*(?:([()!|&])|((?:"[^"]*"|[^\s()!|&"])+)|(")|$)""")
_OPERATORS = {"and": "&", "or": "|", "not": "!"}


@dataclass(frozen=True)
class Token:
    """`kind` is one of ( ) ! | & or "term"; `column` counts from 1."""

    kind: str
    text: str
    column: int


class Filter:
    """A parsed filter. It may be used over any session, also a growing one."""

    def __init__(self, text: str, node: Node) -> None:
        self.text = text
        self._node = node

    def mask(self, session: Session, start: int, stop: int) -> Mask:
        """Which of the calls start..stop (rows from 0) pass: a bool array of shape (stop - start,)."""
        return self._node.mask(Rows(session, start, stop), np.ones(stop - start, bool))


def parse(text: str) -> Filter:
    """A filter of `text`; FilterError with a column when it means nothing. No text: all calls pass."""
    try:
        parser = _Parser(tokenise(text), len(text) + 1)
        return Filter(text, parser.whole())
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


class _Parser:
    def __init__(self, tokens: list[Token], end: int) -> None:
        self._tokens = tokens
        self._at = 0
        self._end = end

    def whole(self) -> Node:
        if not self._tokens:
            return All([])
        node = self._or()
        if self._at < len(self._tokens):
            raise FilterError("there is no ( for this )", self._tokens[self._at].column)
        return node

    def _peek(self) -> str:
        return self._tokens[self._at].kind if self._at < len(self._tokens) else ""

    def _or(self) -> Node:
        parts = [self._and()]
        while self._peek() == "|":
            self._at += 1
            parts.append(self._and())
        return parts[0] if len(parts) == 1 else Any(parts)

    def _and(self) -> Node:
        parts = [self._not()]
        while self._peek() in ("&", "!", "(", "term"):
            if self._peek() == "&":
                self._at += 1
            parts.append(self._not())
        return parts[0] if len(parts) == 1 else All(parts)

    def _not(self) -> Node:
        if self._peek() == "!":
            self._at += 1
            return Not(self._not())
        return self._one()

    def _one(self) -> Node:
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
        return make_term(token)


def make_term(token: Token) -> Node:
    """The node of one term."""
    key, colon, value = token.text.partition(":")
    if not colon or '"' in key:
        word = _WORDS.get(token.text.lower())
        if word is not None:
            return word.make()
        key, value, column = "", token.text, token.column
    else:
        key, column = key.lower(), token.column + len(key) + 1
        if key not in _KEYED or not key:
            near = get_close_matches(key, [name for name in _KEYED if name], 1)
            meant = f"; did you mean {near[0]}:?" if near else ""
            raise FilterError(f"there is no term {key}:{meant}", token.column)
    value = value.replace('"', "")
    if not value:
        raise FilterError(f"{_KEYED[key].syntax}: the value is missing", column)
    try:
        return _KEYED[key].make(value)
    except ValueError as error:
        raise FilterError(f"{key + ': ' if key else ''}{error}", column) from None


def help_lines() -> list[tuple[str, str]]:
    """The language as rows of (how it is written, what it means), for help screens."""
    rows = [(term.syntax, f"{term.help}; {term.example}") for term in TERMS]
    rows += [(word.word, word.help) for word in WORDS]
    rows.append(("a b, a and b, a & b", "both hold"))
    rows.append(("a or b, a | b", "one of them holds"))
    rows.append(("!a, not a", "it does not hold"))
    rows.append(("( ... )", "together"))
    return rows
