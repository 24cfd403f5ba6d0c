"""The one filter language: what to show of a session's calls, and of the lines of its log.

    cuMem* !ok pid:123 thread:5 caller:libcudart dur:>1ms text:foo result:CUDA_ERROR_*
    level:warn source:runner* !idle pid:123 time:>2s re:"fail(ed|ure)"

Terms side by side must all hold; `or`, `and`, `not` (also `|`, `&`, `!`) and parentheses combine them.
"""

from __future__ import annotations

from workbench.filter.breakpoint import BreakKind, Breakpoint, BreakRow, compile_breakpoint
from workbench.filter.complete import Completion, complete
from workbench.filter.errors import FilterError
from workbench.filter.language import Language
from workbench.filter.lines import LINES
from workbench.filter.parse import OPERATORS, Filter, LineFilter, help_lines, parse, parse_lines
from workbench.filter.terms import CALLS, TERMS

__all__ = [
    "CALLS",
    "LINES",
    "OPERATORS",
    "TERMS",
    "BreakKind",
    "BreakRow",
    "Breakpoint",
    "Completion",
    "Filter",
    "FilterError",
    "Language",
    "LineFilter",
    "compile_breakpoint",
    "complete",
    "help_lines",
    "parse",
    "parse_lines",
]
