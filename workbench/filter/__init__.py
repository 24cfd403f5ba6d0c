"""The one filter language: what to show of a session's calls.

    cuMem* !ok pid:123 thread:5 caller:libcudart dur:>1ms text:foo result:CUDA_ERROR_*

Terms side by side must all hold; `or`, `and`, `not` (also `|`, `&`, `!`) and parentheses combine them.
"""

from __future__ import annotations

from workbench.filter.breakpoint import BreakKind, Breakpoint, BreakRow, compile_breakpoint
from workbench.filter.complete import Completion, complete
from workbench.filter.errors import FilterError
from workbench.filter.parse import Filter, help_lines, parse
from workbench.filter.terms import TERMS

__all__ = [
    "TERMS",
    "BreakKind",
    "BreakRow",
    "Breakpoint",
    "Completion",
    "Filter",
    "FilterError",
    "compile_breakpoint",
    "complete",
    "help_lines",
    "parse",
]
