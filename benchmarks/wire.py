"""Forwarded calls and copies against what they are made of: a bare ring's round trip, and memcpy.

    python -m benchmarks.wire [--runs N]

Prints the median of the runs as ratios, with the budgets of design.md. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from pathlib import Path

from workbench import native

CALLS = 20000


def measure(paths: native.NativePaths) -> dict[str, float]:
    """One run in a host and a client of its own: ns a call, GB/s a copy, by the probe's names."""
    with tempfile.TemporaryDirectory() as folder:
        socket_path = Path(folder) / "host.sock"
        with subprocess.Popen(
            [paths.host, "--device", "count-only", "--socket", socket_path], stderr=subprocess.PIPE
        ) as host:
            assert host.stderr is not None
            host.stderr.readline()
            done = subprocess.run(
                [paths.bin / "wire-probe"],
                input=f"connect {socket_path}\nbench {CALLS}\n",
                capture_output=True,
                text=True,
                check=True,
            )
            host.terminate()
    words = done.stdout.splitlines()[-1].split()[1:]
    return {name: float(value) for name, value in (word.split("=") for word in words)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wire", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    paths = native.paths()
    runs = [measure(paths) for _ in range(options.runs)]

    def median(name: str) -> float:
        return statistics.median(run[name] for run in runs)

    def ratio(name: str, base: str) -> float:
        return statistics.median(run[name] / run[base] for run in runs)

    blocking, posted = ratio("blocking_ns", "bare_ns"), median("posted_ns")
    print(f"bare ring round trip   {median('bare_ns'):8.0f} ns")
    print(f"blocking call          {median('blocking_ns'):8.0f} ns  {blocking:5.2f} x bare ring (<= 4)")
    print(f"posted call            {posted:8.0f} ns  (<= 200)")
    print(f"memcpy                 {median('memcpy_gbs'):8.2f} GB/s")
    for name, text in (
        ("up_gbs", "host to device"),
        ("down_gbs", "device to host"),
        ("pinned_gbs", "pinned to device"),
    ):
        print(f"{text:22} {median(name):8.2f} GB/s  {ratio(name, 'memcpy_gbs'):4.0%} of memcpy (>= 70 %)")


if __name__ == "__main__":
    main()
