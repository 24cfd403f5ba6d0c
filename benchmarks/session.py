"""How fast calls get from a target's ring into a session, how large they are there, how fast it opens.

    python benchmarks/session.py [--rows 100000000] [--seconds 5]

Prints one JSON object. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sessions import format, open_session  # noqa: E402
from sessions.testing import SessionBuilder  # noqa: E402
from workbench import native  # noqa: E402
from workbench.tap.collector import Collector  # noqa: E402

TOKEN_CALLS = 480  # of a token's decode with CUDA graphs off (facts/model-run.md: launches dominate)


def decode_rows(count: int, seed: int = 1) -> npt.NDArray[np.void]:
    """Calls as a decode makes them: the same sequence each token, launches with few distinct functions,
    times and durations with real noise, positions and some pointers that move."""
    random = np.random.default_rng(seed)
    rows = np.zeros(count, dtype=format.CALL_ROW)
    place = np.arange(count) % TOKEN_CALLS
    function = np.where(place % 8 < 6, 300, np.where(place % 8 == 6, 120, 77))
    function[place >= TOKEN_CALLS - 6] = 201
    rows["function"] = function
    rows["duration"] = random.gamma(2.0, 900, count) + np.where(function == 201, 40_000, 0)
    gap = random.gamma(1.5, 1200, count).astype(np.int64)
    rows["time"] = np.cumsum(rows["duration"] + gap)
    rows["thread"] = 4242
    rows["sequence"] = np.arange(1, count + 1)
    rows["caller"] = 0x7F1234500000 + random.integers(0, 40, TOKEN_CALLS)[place] * 64
    rows["arg0"] = 0x55AA00000000 + random.integers(0, 60, TOKEN_CALLS)[place] * 128
    rows["arg1"] = random.integers(1, 200, TOKEN_CALLS)[place] + (place % 60 == 0) * (np.arange(count) // 480)
    rows["arg2"] = 0x7F2200000000 + random.integers(0, 300, TOKEN_CALLS)[place] * 512
    fresh = place % 10 == 0  # a launch whose parameters hold the position
    rows["payload"] = np.where(fresh, 200 + np.cumsum(fresh), random.integers(1, 200, TOKEN_CALLS)[place])
    return rows


def measure_ring(seconds: float, producer: Path, folder: Path) -> dict[str, float]:
    """A million calls a second from four threads through the collector."""
    with Collector.start(
        folder / "ring", None, program=native.paths().bin / "shimbench-collector"
    ) as collector:
        session = open_session(folder / "ring")
        calls = int(250_000 * seconds)
        options = ["threads=4", f"calls={calls}", "rate=250000", "chunks=4096"]
        command = [str(producer), str(collector.socket_path), str(folder / "counts"), *options]
        assert collector.pid is not None
        process = psutil.Process(collector.pid)
        before, began = process.cpu_times(), time.monotonic()
        collector.spawn(command, dict(os.environ), folder, "target", 1)
        while not collector.poll():
            time.sleep(1 / 30)
            session.refresh()
        after, took = process.cpu_times(), time.monotonic() - began
        session.refresh()
        cpu = after.user + after.system - before.user - before.system
        return {
            "calls": len(session.calls),
            "lost": session.lost,
            "calls_per_second": round(len(session.calls) / took),
            "core_share": round(cpu / took, 3),
            "ns_of_cpu_a_call": round(cpu / max(1, len(session.calls)) * 1e9),
        }


def measure_size(folder: Path) -> dict[str, float]:
    """Bytes a call of a decode, payloads apart."""
    rows = decode_rows(1 << 20)
    began = time.process_time()
    with SessionBuilder(folder / "decode") as builder:
        builder.calls(rows)
        builder.publish()
    took = time.process_time() - began
    session = open_session(folder / "decode")
    return {
        "bytes_a_call": round(session.calls.stored_bytes / len(rows), 2),
        "million_rows_a_cpu_second": round(len(rows) / took / 1e6, 1),
    }


def drop_from_cache(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure_open(rows: int, folder: Path) -> dict[str, float]:
    """Opening a large session that a killed writer left, and filtering all of it by function."""
    builder = SessionBuilder(folder / "large")
    part = decode_rows(1 << 20)
    written = 0
    while written < rows:
        count = min(len(part), rows - written)
        builder.calls(part[:count])
        builder.publish()
        written += count
    builder.abandon()
    os.sync()
    drop_from_cache(folder / "large")
    began = time.perf_counter()
    session = open_session(folder / "large")
    last = session.calls.row(len(session.calls) - 1)
    opened = time.perf_counter() - began
    assert last.number == rows
    began, found = time.process_time(), 0
    for start in range(0, rows, 1 << 20):
        columns = session.calls.columns(start, min(start + (1 << 20), rows), ["function"])
        found += int((columns["function"] == 77).sum())
    filtered = time.process_time() - began
    size = sum(path.stat().st_blocks * 512 for path in (folder / "large").iterdir())
    return {
        "rows": rows,
        "open_cold_seconds": round(opened, 4),
        "filter_cpu_seconds": round(filtered, 2),
        "found": found,
        "megabytes": round(size / 1e6),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000_000, help="calls of the large session")
    parser.add_argument("--seconds", type=float, default=5, help="of the run at a million calls a second")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="session-bench-"))
    try:
        producer = folder / "producer"
        source = ROOT / "tests" / "collector" / "producer.c"
        include = ROOT / "workbench" / "tap" / "include"
        flags = ["-std=gnu11", "-O2", "-pthread", f"-I{include}"]
        subprocess.run(["cc", *flags, "-o", str(producer), str(source)], check=True)
        result = {
            "decode": measure_size(folder),
            "ring": measure_ring(options.seconds, producer, folder),
            "large": measure_open(options.rows, folder),
        }
    finally:
        shutil.rmtree(folder)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
