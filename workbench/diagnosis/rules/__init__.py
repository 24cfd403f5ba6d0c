"""The rules. Each module has `find(facts)`, which yields what it can show and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis
from workbench.diagnosis.rules import (
    abort,
    context,
    cpu_mode,
    crash,
    devices,
    driver_version,
    entry,
    host,
    init_fails,
    launches,
    library,
    missing_name,
    proc_address,
    self_test,
    stuck,
    tables,
    variant,
)

RULES: tuple[Callable[[Facts], Iterator[Diagnosis]], ...] = tuple(
    module.find
    for module in (
        library,
        stuck,
        crash,
        host,
        proc_address,
        variant,
        driver_version,
        entry,
        init_fails,
        tables,
        devices,
        missing_name,
        self_test,
        context,
        abort,
        launches,
        cpu_mode,
    )
)
"""Between equals on the road, the one that stands earlier here comes first."""
