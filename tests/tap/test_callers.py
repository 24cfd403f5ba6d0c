"""That every caller is named, by what the tap itself records: also of a process that was there for 5 ms."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tap_bench import Bench, Compiler
from tap_registry import DLSYM, LINK_TIME, MODULE, Record, Region

from sessions import open_session
from tests.patience import PATIENCE_SECONDS
from workbench.tap.collector import Collector
from workbench.tap.rundir import make_run_directory


@pytest.fixture(scope="session")
def helper(compiler: Compiler) -> Path:
    """A library that calls the driver."""
    return compiler.shim("helper.c", "-O0", soname="libhelper.so")


@contextmanager
def load_on_every_cpu() -> Iterator[None]:
    """Something else to do for each CPU, so that who is to look on comes late."""
    busy = [
        subprocess.Popen(["sh", "-c", "while :; do :; done"], stdout=subprocess.DEVNULL)
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        yield
    finally:
        for one in busy:
            one.kill()
            one.wait()


def name_callers(region: Region) -> Counter[str]:
    """How many calls came from which file; fails at a call whose file is not on record before it."""
    known: dict[int, tuple[int, str]] = {}
    found: Counter[str] = Counter()
    for record in region.records():
        if record.function == MODULE:
            start, end, _ = record.args
            assert start < end and record.sequence == 0
            known[start] = end, Path(record.strings()[0]).name
            continue
        names = [name for start, (end, name) in known.items() if start <= record.caller < end]
        assert len(names) == 1, f"caller {record.caller:#x} of {record.function:#x} lies in {names}"
        found[names[0]] += 1
    return found


def test_every_module_is_on_record_once_and_before_its_first_call(
    bench: Bench, shim: Path, target: str, helper: Path
) -> None:
    for how in ("0", "1"):
        bench.registry.regions.clear()
        bench.run({"libcuda.so.1": shim}, [target, "short", how], HELPER=str(helper))
        (region,) = bench.registry.regions
        assert set(name_callers(region)) == {Path(target).name, helper.name, "libcuda.so.1"}
        paths = [record.strings()[0] for record in region.records() if record.function == MODULE]
        assert str(helper) in paths and str(Path(target).resolve()) in paths
        assert len(paths) == len(set(paths))


def test_a_forks_child_records_its_modules_anew(bench: Bench, shim: Path, target: str) -> None:
    for how in ("fork", "raw-fork"):
        bench.registry.regions.clear()
        bench.run({"libcuda.so.1": shim}, [target, how])
        parent, child = bench.registry.regions
        for region in (parent, child):
            assert name_callers(region)[Path(target).name] >= 10


def test_a_name_bound_by_linking_has_the_library_that_imports_it_as_caller(
    bench: Bench, shim: Path, compiler: Compiler
) -> None:
    linked = compiler.program("linked.c", str(shim), "-no-pie")
    bench.run({"libcuda.so.1": shim}, [str(linked)])
    (region,) = bench.registry.regions
    name_callers(region)
    imports = [r for r in region.records() if r.function == DLSYM and r.flags & LINK_TIME]
    assert imports and all(_module_of(region, r) == linked.name for r in imports)


def _module_of(region: Region, call: Record) -> str:
    modules = [record for record in region.records() if record.function == MODULE]
    inside = [m for m in modules if m.args[0] <= call.caller < m.args[1]]
    return Path(inside[-1].strings()[0]).name


@pytest.mark.parametrize("how", ["exits", "killed"])
def test_fifty_processes_of_milliseconds_have_every_caller_named_in_the_session(
    bench: Bench, shim: Path, target: str, helper: Path, how: str, tmp_path: Path
) -> None:
    program = bench.native.bin / "shimbench-collector"
    collector = Collector.start(tmp_path / "session", bench.native.model, program=program, idle_exit=False)
    collector_pid = collector.pid
    try:
        inherited = {**os.environ, "HELPER": str(helper)}
        added = make_run_directory(
            tmp_path / "collected",
            bench.native,
            {"libcuda.so.1": shim},
            collector.socket_path,
            tee=False,
            inherited=inherited,
        )
        command = ["nice", "-n", "19", target, "short", str(int(how == "killed"))]
        with load_on_every_cpu():
            for _ in range(50):
                subprocess.run(command, env={**inherited, **added}, check=False, timeout=PATIENCE_SECONDS)
        collector.close()
    finally:
        if collector_pid is not None:
            collector.kill()
    session = open_session(tmp_path / "session")
    columns = session.calls.columns(0, len(session.calls), ["process", "caller", "function"])
    callers: Counter[str] = Counter()
    for process, caller in zip(columns["process"].tolist(), columns["caller"].tolist(), strict=True):
        callers[session.caller_name(process, caller).partition("+0x")[0]] += 1
    assert callers[helper.name] == 50
    assert set(callers) == {Path(target).name, helper.name, "libcuda.so.1"}
    assert MODULE not in columns["function"]
