"""The software GPU against llama.cpp's CPU backend, decoding and taking prompts; and where its time goes.

    python -m benchmarks.soft [--libs DIR] [--model GGUF] [--tokens N] [--seconds S]

For a model of 15 million parameters and the tests' tiny one (whose tokens are mostly overhead): milliseconds
a token and a prompt of both, their ratios (issue 4 wants 1/20 first, then 1/4), lane-instructions per second
and the kernels by time, compiled and interpreted apart. Both backends use as many threads; what a first run
compiles, a second finds on disk, and only the prompts and tokens after the first prompt count. Nothing here
passes or fails.
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
from workbench.demo.model import TINY, Shape, make_tiny_model
from workbench.demo.target import cuda_runtime_12

CACHE = Path(__file__).resolve().parent.parent / ".cache"

LANES = 32
LAUNCH = re.compile(r"shimbench-host: launch (\S+): (\d+) warp operations in ([\d.]+) s, (\w+)")
COMPILED = re.compile(r"shimbench-host: compiled \S+: (\d+) operations, \d+ native, in ([\d.]+) s")
TOKEN = re.compile(r"^token \d+: .*, ([\d.]+) ms", re.MULTILINE)
PROMPT = re.compile(r"^prompt: \d+ tokens, ([\d.]+) ms", re.MULTILINE)
PROMPT_TOKENS = 40
FIFTEEN_MILLION = Shape(layers=5, embedding=512, feed_forward=1408, key_value_heads=4)


@dataclass
class KernelTotal:
    """What all launches of one kernel took."""

    launches: int = 0
    warp_operations: int = 0
    seconds: float = 0.0

    @property
    def lane_instructions_per_second(self) -> float:
        return self.warp_operations * LANES / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Times:
    """Median milliseconds of a token, and of a prompt."""

    token: float
    prompt: float


def decode(command: list[str], environment: dict[str, str]) -> Times:
    """Times of all rounds but the first, which prepares kernels and captures graphs."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    text = done.stdout + done.stderr
    tokens = [float(ms) for ms in TOKEN.findall(text)]
    prompts = [float(ms) for ms in PROMPT.findall(text)]
    each = len(tokens) // len(prompts)
    return Times(
        statistics.median(tokens[each:] or tokens[each // 2 :]), statistics.median(prompts[1:] or prompts)
    )


def totals_of(log: str) -> dict[str, KernelTotal]:
    """Launches in the host's log, by kernel and how it was run."""
    totals: dict[str, KernelTotal] = defaultdict(KernelTotal)
    for name, operations, seconds, how in LAUNCH.findall(log):
        total = totals[f"{how:11} {name}"]
        total.launches += 1
        total.warp_operations += int(operations)
        total.seconds += float(seconds)
    return totals


def decode_on_soft(
    paths: native.NativePaths, command: list[str], environment: dict[str, str], says_launches: bool
) -> tuple[Times, str]:
    """One run on a host of its own: its times, and the host's log."""
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


def compare(paths: native.NativePaths, command: list[str], environment: dict[str, str]) -> None:
    """Both backends on one model, printed."""
    cpu = decode([*command, "--gpu-layers", "0"], environment)
    soft, _ = decode_on_soft(paths, command, environment, says_launches=False)
    _, log = decode_on_soft(paths, command, environment, says_launches=True)
    print(f"  CPU backend   {cpu.token:9.3f} ms a token, {cpu.prompt:9.2f} ms a prompt of {PROMPT_TOKENS}")
    print(f"  software GPU  {soft.token:9.3f} ms a token, {soft.prompt:9.2f} ms a prompt")
    print(
        f"  1/{soft.token / cpu.token:.0f} and 1/{soft.prompt / cpu.prompt:.0f} of that speed (wanted: 1/20)"
    )
    totals = totals_of(log)
    everything = sum(total.seconds for total in totals.values())
    operations = sum(total.warp_operations for total in totals.values())
    made = [(int(count), float(seconds)) for count, seconds in COMPILED.findall(log)]
    print(
        f"  {operations * LANES / everything / 1e9:.2f} G lane-instructions/s; {len(made)} kernels of "
        f"{sum(count for count, _ in made)} operations compiled or read back in "
        f"{sum(seconds for _, seconds in made):.2f} s; kernels by time:"
    )
    for name, total in sorted(totals.items(), key=lambda item: -item[1].seconds)[:12]:
        share = 100 * total.seconds / everything
        each = 1e6 * total.seconds / total.launches
        rate = total.lane_instructions_per_second / 1e9
        print(f"  {share:5.1f} %  {total.launches:6} x {each:8.1f} us  {rate:5.2f} G/s  {name[:80]}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soft", description=__doc__)
    parser.add_argument("--libs", type=Path, help="llama.cpp for CUDA 12; default: the demo's")
    parser.add_argument("--model", type=Path, help="a GGUF; default: two with random weights")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=10, help="each run starts over for so long")
    options = parser.parse_args()
    paths = native.paths()
    environment = {"LD_LIBRARY_PATH": str(cuda_runtime_12())}
    with tempfile.TemporaryDirectory() as folder:
        shapes = {"15 million parameters": FIFTEEN_MILLION, "tiny": TINY}
        models = {name: make_tiny_model(Path(folder) / name, shape=shape) for name, shape in shapes.items()}
        if options.model:
            models = {options.model.name: options.model}
        for name, model in models.items():
            command = [str(paths.bin / "shimbench-llama"), "--libs"]
            command += [str(options.libs or fetch(LLAMA_CUDA_12, CACHE)), "--model", str(model)]
            command += ["--tokens", str(options.tokens), "--prompt-tokens", str(PROMPT_TOKENS)]
            command += ["--repeat", str(options.seconds)]
            print(f"{name}:")
            compare(paths, command, environment)


if __name__ == "__main__":
    main()
