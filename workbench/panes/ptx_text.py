"""The inks of a line of PTX.

pygments has a lexer for PTX too, which knows a fixed list of instructions and modifiers, takes comments at
the end of a line for divisions, and leaves more of llama.cpp's kernels plain than coloured.
"""

from __future__ import annotations

import re

from workbench.panes.parts import Part

_OPENING = re.compile(r"(?P<plain>\s*(?:\{\s*)?)(?P<warn>@!?%?\w+\s+)?(?P<name>[A-Za-z]\w*)?(?![\w$]*:)")
"""Of a statement: what guards it, and its instruction."""

_WORD = re.compile(
    r"""(?P<dim>//.*|/\*.*?(?:\*/|$))
      | (?P<ok>"(?:\\.|[^"\\])*")
      | (?P<head>\$\w+:?|\w+:(?!:))
      | (?P<value>%\w+(?:\.\w+)?)
      | (?P<accent>\.[A-Za-z]\w*(?:::\w+)*)
      | (?P<number>\b0[fFdD][0-9a-fA-F]+\b|\b0[xX][0-9a-fA-F]+U?\b|\b\d+(?:\.\d+)?U?\b)
      | (?P<plain>[$\w]+|.)
    """,
    re.VERBOSE | re.DOTALL,
)


def coloured(line: str) -> list[Part]:
    """Its parts: instructions, modifiers and directives, registers, numbers, labels, comments."""
    parts: list[Part] = []
    opening = _OPENING.match(line)
    if opening is not None:
        parts = [(text, ink) for ink, text in opening.groupdict().items() if text]
    for match in _WORD.finditer(line, opening.end() if opening is not None else 0):
        ink, text = match.lastgroup or "plain", match.group()
        if parts and parts[-1][1] == ink == "plain":
            parts[-1] = (parts[-1][0] + text, ink)
        else:
            parts.append((text, ink))
    return parts
