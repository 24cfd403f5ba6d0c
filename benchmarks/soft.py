"""The software GPU against llama.cpp's CPU backend, decoding a tiny model; and where its time goes.

    python -m benchmarks.soft [--libs DIR] [--cudart DIR] [--model GGUF] [--tokens N]

Prints milliseconds a token of both, their ratio (issue 4 wants 1/20 first, then 1/4), lane-instructions
per second and the kernels by time. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from workbench import native
from workbench.demo.consumer import LLAMA_CUDA_12, fetch
from workbench.demo.model import make_tiny_model
from workbench.demo.target import cuda_runtime_12

CACHE = Path(__file__).resolve().parent.parent / ".cache"

LANES = 32
LAUNCH = re.compile(r"shimbench-host: launch (\S+): (\d+) warp operations in ([\d.]+) s")
TOKEN = re.compile(r"^token \d+: .*, ([\d.]+) ms", re.MULTILINE)


@dataclass
class KernelTotal:
    """What all launches of one kernel took."""

    launches: int = 0
    warp_operations: int = 0
    seconds: float = 0.0

    @property
    def lane_instructions_per_second(self) -> float:
        return self.warp_operations * LANES / self.seconds if self.seconds else 0.0


def decode(command: list[str], environment: dict[str, str]) -> float:
    """Median milliseconds a token, the first three apart: they prepare kernels and capture graphs."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    times = [float(text) for text in TOKEN.findall(done.stdout + done.stderr)]
    return statistics.median(times[3:])


def totals_of(log: str) -> dict[str, KernelTotal]:
    """Launches in the host's log, by kernel."""
    totals: dict[str, KernelTotal] = defaultdict(KernelTotal)
    for name, operations, seconds in LAUNCH.findall(log):
        total = totals[name]
        total.launches += 1
        total.warp_operations += int(operations)
        total.seconds += float(seconds)
    return totals


def decode_on_soft(
    paths: native.NativePaths, command: list[str], environment: dict[str, str], says_launches: bool
) -> tuple[float, str]:
    """One run on a host of its own: milliseconds a token, and the host's log."""
    with tempfile.TemporaryDirectory() as folder:
        socket, log = Path(folder) / "host.sock", Path(folder) / "log"
        say = {"SHIMBENCH_SOFT_LAUNCHES": "1"} if says_launches else {}
        with log.open("wb") as errors:
            host = subprocess.Popen(
                [paths.host, "--socket", socket, "--device", "soft"], stderr=errors, env={**os.environ, **say}
            )
        try:
            while not socket.exists() and host.poll() is None:
                pass
            cublas = [paths.lib / f"lib{name}.so.12" for name in ("cublas", "cublasLt")]
            soft = {
                "SHIMBENCH_HOST": f"unix:{socket}",
                "LD_PRELOAD": ":".join(map(str, cublas)),
                "LD_LIBRARY_PATH": f"{paths.lib}:{environment['LD_LIBRARY_PATH']}",
            }
            return decode(command, soft), log.read_text(errors="replace")
        finally:
            host.terminate()
            host.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soft", description=__doc__)
    parser.add_argument("--libs", type=Path, help="llama.cpp for CUDA 12; default: the demo's")
    parser.add_argument("--model", type=Path, help="a GGUF; default: the tests' tiny model")
    parser.add_argument("--tokens", type=int, default=24)
    options = parser.parse_args()
    paths = native.paths()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or make_tiny_model(Path(folder) / "tiny.gguf")
        command = [
            str(paths.bin / "shimbench-llama"),
            "--libs",
            str(options.libs or fetch(LLAMA_CUDA_12, CACHE)),
        ]
        command += ["--model", str(model), "--tokens", str(options.tokens)]
        environment = {"LD_LIBRARY_PATH": str(cuda_runtime_12())}
        cpu = decode([*command, "--gpu-layers", "0"], environment)
        soft, _ = decode_on_soft(paths, command, environment, says_launches=False)
        _, log = decode_on_soft(paths, command, environment, says_launches=True)
    print(f"CPU backend   {cpu:9.3f} ms a token")
    print(f"software GPU  {soft:9.3f} ms a token, 1/{soft / cpu:.0f} of that speed (wanted: 1/20)")
    totals = totals_of(log)
    everything = sum(total.seconds for total in totals.values())
    operations = sum(total.warp_operations for total in totals.values())
    print(f"{operations * LANES / everything / 1e9:.2f} G lane-instructions/s; kernels by time:")
    for name, total in sorted(totals.items(), key=lambda item: -item[1].seconds)[:12]:
        share = 100 * total.seconds / everything
        each = 1e6 * total.seconds / total.launches
        rate = total.lane_instructions_per_second / 1e9
        print(f"{share:5.1f} %  {total.launches:6} x {each:8.1f} us  {rate:5.2f} G/s  {name[:80]}")


if __name__ == "__main__":
    main()
