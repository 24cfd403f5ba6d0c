"""Questions the real tests ask of a session's calls."""

from __future__ import annotations

from collections import Counter

import numpy as np

from sessions import CallFlag, Session


def driver_calls(session: Session, *, of_the_shim: bool = True) -> Counter[str]:
    """How often each function of the driver was called; lookups, loads and table calls are not calls.

    Without `of_the_shim`, the calls a shim made of itself are left out.
    """
    columns = session.calls.columns(0, len(session.calls), ["function", "flags"])
    functions = columns["function"].astype(np.int64)
    if not of_the_shim:
        functions = functions[(columns["flags"] & CallFlag.INTERNAL) == 0]
    numbers, counts = np.unique(functions, return_counts=True)
    known = session.schema.functions
    return Counter(
        {
            known[int(number)].name: int(count)
            for number, count in zip(numbers, counts, strict=True)
            if int(number) in known
        }
    )


def errors(session: Session) -> Counter[tuple[str, int]]:
    """(function, result) of the calls that did not succeed, each with how often."""
    columns = session.calls.columns(0, len(session.calls), ["function", "result"])
    failed = columns["result"] != 0
    pairs = zip(columns["function"][failed], columns["result"][failed], strict=True)
    known = session.schema.functions
    return Counter(
        (known[int(function)].name, int(result)) for function, result in pairs if int(function) in known
    )
