"""What the tap records: every completed call of every kind of process, counted by the target itself."""

from __future__ import annotations

import json
import random
import signal
import struct
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tap_bench import Bench, Compiler
from tap_registry import (
    ARGS,
    DLOPEN,
    DLSYM,
    DLVSYM,
    IN,
    LOAD,
    MODULE,
    OUT,
    RESOLVED,
    TABLE,
    TABLE_SLOT,
    UNKNOWN,
    InFlight,
    Record,
)

from tests.patience import PATIENCE_SECONDS, wait_until

Names = Callable[[Record], str]


def driver_calls(records: list[Record]) -> list[Record]:
    """Without lookups, loads and the like."""
    return [record for record in records if record.function < DLSYM]


def check_identity(records: list[Record]) -> None:
    """Sequences are unique a thread, and each parent was under way around its child."""
    by_thread: dict[int, dict[int, Record]] = {}
    for record in (record for record in records if record.function != MODULE):
        thread = by_thread.setdefault(record.tid, {})
        assert record.sequence not in thread
        thread[record.sequence] = record
    for thread in by_thread.values():
        for record in thread.values():
            if parent := thread.get(record.parent):
                assert parent.start <= record.start
                assert record.start + record.duration <= parent.start + parent.duration


@pytest.mark.parametrize(
    ("arguments", "regions"),
    [
        (["calls", "1000"], 1),
        (["threads", "5000"], 1),
        (["sequence", "1000"], 1),
        (["fork"], 2),
        (["raw-fork"], 2),
        (["vfork"], 2),
        (["exec"], 2),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
def test_nothing_is_lost(bench: Bench, shim: Path, target: str, arguments: list[str], regions: int) -> None:
    count_file = bench.folder / "count"
    count_file.write_bytes(bytes(4096))
    done = bench.run({"libcuda.so.1": shim}, [target, *arguments], COUNT_FILE=str(count_file))
    assert (done.returncode, done.stderr) == (0, "")
    counted = struct.unpack("<Q", count_file.read_bytes()[:8])[0]
    assert counted > 0
    assert len(driver_calls(bench.registry.records())) == counted
    assert bench.registry.lost() == 0
    assert len(bench.registry.regions) == regions
    for region in bench.registry.regions:
        check_identity(region.records())


def test_a_forks_child_is_a_process_of_its_own(bench: Bench, shim: Path, target: str) -> None:
    for how in ("fork", "raw-fork"):
        bench.registry.regions.clear()
        bench.run({"libcuda.so.1": shim}, [target, how])
        parent, child = bench.registry.regions
        assert (child.origin, child.ppid) == ("fork", parent.pid)
        assert len(driver_calls(parent.records())) == 60
        assert len(driver_calls(child.records())) == 10


def test_ended_threads_give_up_their_blocks(bench: Bench, shim: Path, target: str) -> None:
    bench.run({"libcuda.so.1": shim}, [target, "sequence", "300"])
    states = Counter(bench.registry.regions[0].thread_states())
    assert states == {2: 300, 1: 1}  # all ended but the first thread, which exit() took along


def test_twenty_short_processes_in_a_row(bench: Bench, shim: Path, target: str) -> None:
    environment = bench.environment({"libcuda.so.1": shim})
    for _ in range(20):
        subprocess.run([target, "calls", "10"], env=environment, check=True, stdout=subprocess.DEVNULL)
    assert [len(driver_calls(region.records())) for region in bench.registry.regions] == [20] * 20


def test_a_sigkill_loses_no_completed_call(bench: Bench, shim: Path, target: str) -> None:
    rolls = random.Random(7)
    for number in range(20):
        count_file = bench.folder / "count"
        count_file.write_bytes(bytes(4096))
        environment = bench.environment({"libcuda.so.1": shim}, COUNT_FILE=str(count_file))
        process = subprocess.Popen([target, "endless"], env=environment)
        wanted = rolls.randrange(1, 60_000)
        wait_until(lambda: struct.unpack("<Q", count_file.read_bytes()[:8])[0] >= wanted)  # noqa: B023
        process.kill()
        process.wait()
        counted = struct.unpack("<Q", count_file.read_bytes()[:8])[0]
        region = bench.registry.regions[number]
        # A pair of calls may have returned and not been counted yet.
        assert counted <= len(driver_calls(region.records())) <= counted + 2
        assert region.lost() == 0


@pytest.mark.parametrize("what", ["hang", "crash"])
def test_a_call_that_does_not_return_stays_in_its_slot(
    bench: Bench, shim: Path, target: str, names: Names, what: str
) -> None:
    environment = bench.environment({"libcuda.so.1": shim})
    process = subprocess.Popen([target, what], env=environment, stderr=subprocess.DEVNULL)
    wanted = {"hang": "cuCtxSynchronize", "crash": "cuCtxGetCurrent"}[what]
    by_name = {names(_record(number)): number for number in range(1, 2000)}

    def hanging() -> list[InFlight]:
        regions = bench.registry.regions
        return (
            [slot for slot in regions[0].in_flight() if slot.function == by_name[wanted]] if regions else []
        )

    assert len(wait_until(hanging)) == 1
    if what == "hang":
        process.send_signal(signal.SIGKILL)
    assert process.wait() == {"hang": -signal.SIGKILL, "crash": -signal.SIGABRT}[what]
    assert len(hanging()) == 1


def _record(function: int) -> Record:
    return Record(0, 0, 0, 0, 0, function, 0, 0, (0, 0, 0), 0, ())


def test_a_hanging_constructor_is_a_load_in_flight(bench: Bench, compiler: Compiler, target: str) -> None:
    shim = compiler.shim("fakeshim.c", "-DHANGS_EARLY")
    process = subprocess.Popen([target], env=bench.environment({"libcuda.so.1": shim}))
    slots = wait_until(
        lambda: [s for r in bench.registry.regions for s in r.in_flight() if s.function == LOAD]
    )
    assert slots[0].function == LOAD
    process.kill()
    process.wait()


def test_arguments_strings_and_values_are_recorded(
    bench: Bench, shim: Path, target: str, names: Names
) -> None:
    bench.run({"libcuda.so.1": shim}, [target, "shapes"])
    calls = {names(record): record for record in reversed(driver_calls(bench.registry.records()))}
    name = calls["cuDeviceGetName"]
    assert name.result == 0 and name.args[1:] == (100, 1)
    assert (name.item(OUT, 0) or b"").rstrip(b"\0").startswith(b"F")
    alloc = calls["cuMemAlloc_v2"]
    assert alloc.args[1] == 64
    assert alloc.item(OUT, 0) == struct.pack("<Q", 0x700000000040)
    copy = calls["cuMemcpyHtoD_v2"]
    assert copy.item(IN, 1) == b"copied\0"
    launch = calls["cuLaunchKernel"]
    assert struct.unpack("<8Q", (launch.item(ARGS, 3) or b"")[:64])[:6] == (3, 4, 5, 6, 7, 0)
    failed = next(r for r in driver_calls(bench.registry.records()) if r.result == 101)
    assert failed.item(OUT, 0) is None


def test_a_name_the_model_does_not_know_passes_with_all_its_arguments(
    bench: Bench, shim: Path, target: str
) -> None:
    assert "sum 55" in bench.run({"libcuda.so.1": shim}, [target, "shapes"]).stdout
    unknown = [record for record in bench.registry.records() if record.function == UNKNOWN]
    assert [(record.strings(), record.result, record.args) for record in unknown] == [
        (["cuPrivateSum"], 55, (1, 2, 3))
    ]


def test_answers_of_cuGetProcAddress_are_the_exports_that_they_are(
    bench: Bench, shim: Path, target: str, names: Names, native_paths: object
) -> None:
    bench.run({"libcuda.so.1": shim}, [target, "addresses"])
    records = bench.registry.records()
    asked = {}
    for record in records:
        if names(record).startswith("cuGetProcAddress"):
            resolved = record.item(RESOLVED)
            function = struct.unpack("<HHIQ", resolved)[0] if resolved else None
            asked[record.strings()[0]] = names(_record(function)) if function else function
    assert asked == {
        "cuInit": "cuInit",
        "cuGetProcAddress": "cuGetProcAddress_v2",
        "cuDeviceGetCount": "cuDeviceGetCount",
        "cuMemGetInfo": 0,
        "cuNeverHeardOf": 0,
        "cuDeviceGet": "cuDriverGetVersion",
        "cuNothing": None,
    }
    called = [names(r) for r in driver_calls(records) if not names(r).startswith("cuGetProcAddress")]
    assert called == ["cuDeviceGetCount", "cuMemGetInfo_v2", "cuDriverGetVersion"]
    assert [record.strings() for record in records if record.function == UNKNOWN] == [["cuNeverHeardOf"]]


def test_export_tables_are_wrapped_in_place_but_for_what_is_hashed(
    bench: Bench, shim: Path, target: str, names: Names
) -> None:
    bench.run({"libcuda.so.1": shim}, [target, "tables"])
    records = bench.registry.records()
    slots = [
        ((record.item(TABLE) or b"")[:4].hex(), record.args[0], record.result)
        for record in records
        if record.function == TABLE_SLOT
    ]
    assert sorted(slots) == [("6bd5fb6c", 2, 0), ("c693336e", 0, 5), ("c693336e", 2, 5)]
    handed_out = [record for record in records if names(record) == "cuGetExportTable"]
    assert [(record.item(TABLE) or b"")[:4].hex() for record in handed_out] == [
        "6bd5fb6c",
        "d4082055",
        "c693336e",
        "42d85a81",
        "00000000",
    ]


def test_lookups_are_recorded_failed_ones_too(bench: Bench, shim: Path, target: str) -> None:
    bench.run({"libcuda.so.1": shim}, [target, "lookups"])
    records = bench.registry.records()
    found = [(r.strings()[0], r.result) for r in records if r.function == DLSYM]
    assert found == [
        ("cuInit", 1),
        ("cuDeviceGetCount", 1),
        ("cuInit", 0),
        ("cuInit", 0),
        ("cuNotThere", 0),
    ]
    assert [r.strings() for r in records if r.function == DLVSYM] == [["cuInit", "NO_SUCH_VERSION"]]
    assert [(r.strings(), r.result) for r in records if r.function == DLOPEN] == [(["libcuda.so.1"], 1)]
    load = next(r for r in records if r.function == LOAD)
    assert load.strings() == [str(shim)] and load.result == 0


def test_output_is_teed_with_its_process(bench: Bench, shim: Path, target: str) -> None:
    bench.registry.tee = True
    environment = bench.environment({"libcuda.so.1": shim}, tee=True)
    done = subprocess.run(
        [target, "vfork"], env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )
    assert sorted(done.stdout.splitlines()) == ["calls 12", "calls 8"]
    _, child = bench.registry.regions
    assert bench.registry.log[child.pid] == b"calls 8\n"


def test_the_runtimes_road_to_its_devices_agrees_with_the_recorded_facts(
    bench: Bench, compiler: Compiler, shim_host: dict[str, str], names: Names, cudart: str
) -> None:
    shim = bench.native.lib / "libcuda.so.1"
    # The facts are of a driver of this version; of a newer one the runtime asks for more.
    environment = {**shim_host, "SHIMBENCH_DRIVER_VERSION": "13.0"}
    done = bench.run({"libcuda.so.1": shim}, [str(compiler.program("runtime.c")), cudart], **environment)
    assert done.stdout.count("error 0") == 2, done.stdout
    counts = Counter(names(record) for record in driver_calls(bench.registry.records()))
    assert (
        counts["cuGetProcAddress_v2"] == {"libcudart.so.12": 419, "libcudart.so.13": 458}[Path(cudart).name]
    )
    assert counts["cuDeviceGetAttribute"] == 111
    assert bench.registry.lost() == 0


def test_the_region_says_which_model_its_numbers_belong_to(bench: Bench, shim: Path, target: str) -> None:
    bench.run({"libcuda.so.1": shim}, [target, "calls", "1"])
    header = bench.registry.regions[0].header()
    assert header[0] == 0x3147455250415453
    model = json.loads(bench.native.model.read_text())
    assert bytes(header[8]).rstrip(b"\0").decode() == model["hash"]
    assert header[2] == bench.registry.regions[0].pid
