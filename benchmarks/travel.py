"""A large session: the state at a moment, a page of calls anywhere, a filter over all of it, and peak memory.

    python -m benchmarks.travel [--rows 100000000] [--keep FOLDER]

The calls are those of a decode: launches of sixty kernels, copies, synchronising, and memory taken and
given back, over the real API model. Prints one JSON object; times are of this process's processor, since
a neighbour's load is none of ours, and wall times beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sessions import Item, Session, format, open_session
from sessions.testing import SessionBuilder, out_item, string_item
from sessions.writer import pack_items
from workbench import native

PART = 1 << 20
KERNELS, BUFFERS = 60, 40
RETAIN, LOAD, KERNEL = "cuDevicePrimaryCtxRetain", "cuLibraryLoadData", "cuLibraryGetKernel"


def _head(builder: SessionBuilder) -> list[int]:
    """What stands before the decode; -> payload numbers of the allocations to come."""
    builder.event("run", run=1, reason="start", command=["decode"], time=0)
    builder.process(["decode"], pid=4242, time=0)

    def word(value: int) -> Item:
        return out_item(0, struct.pack("<Q", value))

    builder.call(RETAIN, args=(1, 0), items=[word(0x5100)])
    builder.call(LOAD, args=(1, 2), items=[word(0x6100)])
    for number in range(KERNELS):
        items = [string_item(2, f"kernel_{number}"), word(0x6200 + number)]
        builder.call(KERNEL, args=(1, 0x6100, 2), items=items)
    return [builder.blob(pack_items([word(0x7F0000000000 + (n << 32))])) for n in range(BUFFERS)]


def _decode(builder: SessionBuilder, payloads: list[int]) -> npt.NDArray[np.void]:
    """One part of the calls: of each 1000, one allocation and one free; most are launches."""
    noise = np.random.default_rng(1)
    rows = np.zeros(PART, dtype=format.CALL_ROW)
    at = np.arange(PART)
    place = at % 1000
    names = np.array(
        [
            builder.function(name)
            for name in (
                "cuLaunchKernel",
                "cuMemcpyHtoDAsync_v2",
                "cuStreamSynchronize",
                "cuMemAlloc_v2",
                "cuMemFree_v2",
            )
        ]
    )
    kind = np.where(place % 8 < 6, 0, np.where(place % 8 == 6, 1, 2))
    kind[place == 500], kind[place == 900] = 3, 4
    rows["function"] = names[kind]
    rows["duration"] = noise.gamma(2.0, 900, PART) + np.where(kind == 2, 40_000, 0)
    rows["time"] = np.cumsum(rows["duration"] + noise.gamma(1.5, 1200, PART).astype(np.int64))
    rows["thread"] = 4242
    buffer = (at // 1000) % BUFFERS
    rows["arg0"] = np.where(kind == 0, 0x6200 + noise.integers(0, KERNELS, PART), 1)
    rows["arg0"] = np.where(kind == 4, 0x7F0000000000 + (((buffer + 7) % BUFFERS) << 32), rows["arg0"])
    rows["arg1"] = np.where(kind == 3, 1 << 20, noise.integers(1, 200, PART))
    rows["payload"] = np.where(kind == 3, np.array(payloads)[buffer], 0)
    return rows


def build(path: Path, count: int) -> None:
    """Write a session of `count` calls."""
    with SessionBuilder(path, native.paths().model.read_bytes()) as builder:
        payloads = _head(builder)
        part = _decode(builder, payloads)
        span = int(part["time"][-1])
        first = KERNELS + 2
        part["time"] += 1_000_000
        while first < count:
            rows = part[: count - first]
            rows["sequence"] = np.arange(first + 1, first + 1 + len(rows))
            builder.calls(rows)
            builder.publish()
            part["time"] += span
            first += len(rows)


def measure(path: Path, moments: int) -> dict[str, object]:
    """In this process: the state at so many moments anywhere in a session that has its snapshots."""
    from sessions.moment import moment_of_call
    from workbench.views.snapshots import Snapshots

    session = open_session(path)
    snapshots = Snapshots(session)
    chosen = random.Random(7)
    wall, spent = [], []
    for _ in range(moments):
        row = chosen.randrange(len(session.calls))
        began, cpu = time.perf_counter(), time.process_time()
        state = snapshots.state(moment_of_call(session, row))
        assert state.device.processes and state.coverage.rows()
        wall.append((time.perf_counter() - began) * 1e3)
        spent.append((time.process_time() - cpu) * 1e3)
    return {
        **look(session, chosen),
        "moments": moments,
        "first_ms": round(wall[0], 1),
        "median_ms": round(sorted(wall)[moments // 2], 1),
        "most_ms": round(max(wall), 1),
        "most_cpu_ms": round(max(spent), 1),
        "peak_megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def look(session: Session, chosen: random.Random) -> dict[str, object]:
    """A page of forty calls as text at places all over the session, and a filter over all of it."""
    from sessions.decode import CallDecoder
    from workbench.filter import parse

    decoder, pages = CallDecoder(session.schema), []
    for _ in range(40):
        start = chosen.randrange(len(session.calls) - 40)
        began = time.perf_counter()
        for row in range(start, start + 40):
            decoder.text(session, row)
        pages.append((time.perf_counter() - began) * 1e3)
    began, cpu, found, chosen_calls = time.perf_counter(), time.process_time(), 0, parse("cuMemFree* ok")
    for start in range(0, len(session.calls), PART):
        found += int(chosen_calls.mask(session, start, min(start + PART, len(session.calls))).sum())
    return {
        "page_median_ms": round(sorted(pages)[20], 1),
        "page_most_ms": round(max(pages), 1),
        "filter_seconds": round(time.perf_counter() - began, 1),
        "filter_cpu_seconds": round(time.process_time() - cpu, 1),
        "filter_found": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000_000)
    parser.add_argument("--keep", type=Path, help="build the session there, or use the one that is there")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, 40)))
        return
    folder = options.keep or Path(tempfile.mkdtemp(prefix="travel-bench-"))
    path = folder / "large"
    try:
        if not path.exists():
            build(path, options.rows)
        from workbench.views.snapshots import Snapshots

        session = open_session(path)
        began, cpu = time.perf_counter(), time.process_time()
        Snapshots(session).build()
        made = {"seconds": round(time.perf_counter() - began, 1), "cpu": round(time.process_time() - cpu, 1)}
        kept = sum(file.stat().st_size for file in (path / "states").iterdir())
        command = [sys.executable, "-m", "benchmarks.travel", "--measure", str(path)]
        measured = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        result = {"rows": len(session.calls), "build": made, "snapshot_megabytes": round(kept / 1e6, 1),
                  "load": os.getloadavg()[0], **json.loads(measured)}  # fmt: skip
    finally:
        if options.keep is None:
            shutil.rmtree(folder)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
