"""The rules. Each module has `find(facts)`, which yields what it can show and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from workbench.diagnosis.facts import Facts
from workbench.diagnosis.model import Diagnosis
from workbench.diagnosis.rules import (
    abort,
    archs,
    capture,
    context,
    cpu_mode,
    crash,
    cudart_bypassed,
    devices,
    driver_claim,
    driver_version,
    entry,
    environment,
    host,
    idle,
    init_fails,
    kernel_fault,
    launches,
    library,
    missing_name,
    no_code,
    no_effect,
    nvml,
    other_driver,
    out_of_memory,
    pci,
    port,
    proc_address,
    self_test,
    slow_load,
    stuck,
    tables,
    variant,
)

RULES: tuple[Callable[[Facts], Iterator[Diagnosis]], ...] = tuple(
    module.find
    for module in (
        environment,
        other_driver,
        library,
        port,
        stuck,
        idle,
        crash,
        host,
        proc_address,
        variant,
        driver_version,
        entry,
        init_fails,
        tables,
        devices,
        archs,
        pci,
        missing_name,
        no_effect,
        self_test,
        driver_claim,
        context,
        kernel_fault,
        no_code,
        out_of_memory,
        capture,
        cudart_bypassed,
        abort,
        slow_load,
        nvml,
        launches,
        cpu_mode,
    )
)
"""Between equals on the road, the one that stands earlier here comes first."""
