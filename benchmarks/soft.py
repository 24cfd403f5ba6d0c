"""The software GPU against llama.cpp's CPU backend, decoding and taking prompts; and where its time goes.

    python -m benchmarks.soft [--libs DIR] [--model GGUF] [--tokens N] [--seconds S] [--threads N ...]
                              [--runtime DIR] [--first]

For a model of 15 million parameters and the tests' tiny one (whose tokens are mostly overhead), on one
thread and on two: milliseconds a token and a prompt of both backends and their ratios (issue 4 wants 1/20
first, then 1/4), by the clock and by what they had of processors, which is what counts on a busy machine.
Then, for tokens and prompts apart, lane-instructions per second and the kernels by processor time. Both
backends are held to as many processors as threads. Kernels are compiled and kept before anything is measured,
and what counts of a run is the later half of its rounds. With --first, instead, what a library and its
kernels' first launches cost: loading, indexing a module and lowering a kernel, compiling it, reading it back.
Nothing here passes or fails.
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
READY = re.compile(r"shimbench-host: made ready \S+: (\d+) operations of (\d+) bytes of PTX in ([\d.]+) s")
COMPILED = re.compile(r"shimbench-host: compiled \S+: (\d+) operations, \d+ native, in ([\d.]+) s")
LOADED = re.compile(r"^backend cuda: loaded \S+, ([\d.]+) ms", re.MULTILINE)
LAUNCH = re.compile(
    r"shimbench-host: launch (\S+): (\d+) warp operations in [\d.]+ s, ([\d.]+) s of processors, (\w+)"
)
TOKEN = re.compile(r"^token \d+: .*, ([\d.]+) ms", re.MULTILINE)
PROMPT = re.compile(r"^prompt: \d+ tokens, ([\d.]+) ms", re.MULTILINE)
PROCESSORS = re.compile(r"^processors: ([\d.]+) ms for the prompt, ([\d.]+) ms for all tokens", re.MULTILINE)
PROMPT_TOKENS = 40
FIFTEEN_MILLION = Shape(layers=5, embedding=512, feed_forward=1408, key_value_heads=4)


@dataclass
class KernelTotal:
    """What all launches of one kernel took."""

    launches: int = 0
    warp_operations: int = 0
    seconds: float = 0.0  # of processors

    @property
    def lane_instructions_per_second(self) -> float:
        return self.warp_operations * LANES / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Times:
    """Median milliseconds of a token and of a prompt; by the clock, and of the process's processors."""

    token: float
    prompt: float
    token_processors: float
    prompt_processors: float
    rounds: int


def run(command: list[str], environment: dict[str, str]) -> str:
    """What it writes."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return done.stdout + done.stderr


def times_of(text: str) -> Times:
    """Times of the later half of all rounds: earlier ones prepare kernels and capture graphs."""
    tokens = [float(ms) for ms in TOKEN.findall(text)]
    prompts = [float(ms) for ms in PROMPT.findall(text)]
    processors = [(float(prompt), float(all_tokens)) for prompt, all_tokens in PROCESSORS.findall(text)]
    rounds, each = len(prompts), max(1, len(tokens) // len(prompts))
    later = rounds // 2
    return Times(
        statistics.median(tokens[later * each :] or [0.0]),
        statistics.median(prompts[later:]),
        statistics.median(all_tokens / each for _, all_tokens in processors[later:]),
        statistics.median(prompt for prompt, _ in processors[later:]),
        rounds,
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


def run_on_soft(
    paths: native.NativePaths, command: list[str], environment: dict[str, str], says_launches: bool
) -> tuple[str, str]:
    """One run on a host of its own: what it writes, and the host's log."""
    with tempfile.TemporaryDirectory() as folder:
        socket, log = Path(folder) / "host.sock", Path(folder) / "log"
        say = {"SHIMBENCH_SOFT_LAUNCHES": "1"} if says_launches else {}
        ours = ("SHIMBENCH_SOFT_", "XDG_CACHE_HOME")
        say |= {name: word for name, word in environment.items() if name.startswith(ours)}
        with log.open("wb") as errors:
            host = subprocess.Popen(
                [paths.host, "--socket", socket, "--device", "soft"], stderr=errors, env={**os.environ, **say}
            )
        try:
            while not socket.exists() and host.poll() is None:
                pass
            version = next(Path(environment["LD_LIBRARY_PATH"]).glob("libcudart.so.1?")).suffix
            cublas = [paths.lib / f"lib{name}.so{version}" for name in ("cublas", "cublasLt")]
            cublas = [library for library in cublas if library.exists()]
            soft = {
                "SHIMBENCH_HOST": f"unix:{socket}",
                "LD_PRELOAD": ":".join(map(str, cublas)),
                "LD_LIBRARY_PATH": f"{paths.lib}:{environment['LD_LIBRARY_PATH']}",
            }
            return run(command, soft), log.read_text(errors="replace")
        finally:
            host.terminate()
            host.wait()


def print_first_launches(paths: native.NativePaths, command: list[str], environment: dict[str, str]) -> None:
    """What comes before kernels run, with nothing kept and then with everything kept, printed."""
    with tempfile.TemporaryDirectory() as cache:
        always = {**environment, "SHIMBENCH_SOFT_COMPILE": "always", "XDG_CACHE_HOME": cache}
        words = [*command, "--tokens", "2", "--prompt-tokens", str(PROMPT_TOKENS), "--repeat", "0"]
        for what in ("nothing kept", "all kept"):
            text, log = run_on_soft(paths, words, always, says_launches=True)
            loading = ", ".join(f"{float(ms):.0f}" for ms in LOADED.findall(text))
            ready = [(1e3 * float(seconds), int(size)) for _, size, seconds in READY.findall(log)]
            compiled = [1e3 * float(seconds) for _, seconds in COMPILED.findall(log)]
            print(f"  {what}, load {os.getloadavg()[0]:.1f}: the library {loading} ms; {len(ready)} kernels")
            for name, times in (("made ready", [ms for ms, _ in ready]), ("compiled", compiled)):
                print(
                    f"    {name}: median {statistics.median(times):.1f} ms, longest {max(times):.0f}, "
                    f"all {sum(times):.0f}"
                )
            print(
                f"    PTX of their modules: {sum(size for size in {size for _, size in ready}) / 1e6:.0f} MB"
            )


def print_kernels(what: str, log: str, rounds: int) -> float:
    """The kernels of a run by processor time; milliseconds of processors that all of them took a round."""
    launches = log.splitlines()
    log = "\n".join(launches[len(launches) // 2 :])  # warmed up
    totals = totals_of(log)
    everything = sum(total.seconds for total in totals.values())
    operations = sum(total.warp_operations for total in totals.values())
    per_second = operations * LANES / everything / 1e9
    print(f"  {what}: {per_second:.2f} G lane-instructions/s of processor; by kernel:")
    for name, total in sorted(totals.items(), key=lambda item: -item[1].seconds)[:10]:
        share = 100 * total.seconds / everything
        each = 1e6 * total.seconds / total.launches
        rate = total.lane_instructions_per_second / 1e9
        print(f"  {share:5.1f} %  {total.launches:6} x {each:8.1f} us  {rate:5.2f} G/s  {name[:80]}")
    return 1e3 * everything / (rounds / 2)


def compare(
    paths: native.NativePaths, command: list[str], environment: dict[str, str], threads: int, tokens: int
) -> None:
    """Both backends on one model and so many processors, printed."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:threads])  # both backends inherit it
    try:
        words = [*command, "--threads", str(threads)]
        decoding = [*words, "--tokens", str(tokens), "--prompt-tokens", "1"]
        prompting = [*words, "--tokens", "0", "--prompt-tokens", str(PROMPT_TOKENS)]
        both = [*words, "--tokens", str(tokens), "--prompt-tokens", str(PROMPT_TOKENS)]
        always = {**environment, "SHIMBENCH_SOFT_COMPILE": "always"}
        for _ in range(2):  # compiles and keeps, the second time what the first found wanting
            run_on_soft(paths, [*both, "--repeat", "0"], always, says_launches=False)
        cpu = times_of(run([*both, "--gpu-layers", "0"], environment))
        soft = times_of(run_on_soft(paths, both, environment, says_launches=False)[0])
        token_text, token_log = run_on_soft(paths, decoding, environment, says_launches=True)
        prompt_text, prompt_log = run_on_soft(paths, prompting, environment, says_launches=True)
        token, prompt = times_of(token_text), times_of(prompt_text)
    finally:
        os.sched_setaffinity(0, before)
    print(f" {threads} thread{'s' if threads > 1 else ''}, load {os.getloadavg()[0]:.1f}:")
    print(f"  CPU backend   {cpu.token:9.3f} ms a token, {cpu.prompt:9.2f} ms a prompt of {PROMPT_TOKENS}")
    print(f"  software GPU  {soft.token:9.3f} ms a token, {soft.prompt:9.2f} ms a prompt")
    print(
        f"  1/{soft.token / cpu.token:.1f} and 1/{soft.prompt / cpu.prompt:.1f} of that speed (wanted: 1/20)"
    )
    kernels_token = print_kernels("tokens", token_log, token.rounds) / (tokens + 1)
    kernels_prompt = print_kernels("prompts", prompt_log, prompt.rounds)
    ours_token = kernels_token + token.token_processors
    ours_prompt = kernels_prompt + prompt.prompt_processors
    print(
        f"  of processors: CPU backend {cpu.token_processors:.3f} ms a token, {cpu.prompt_processors:.2f} ms "
        f"a prompt; software GPU {ours_token:.3f} ({kernels_token:.3f} in kernels), {ours_prompt:.2f} "
        f"({kernels_prompt:.2f})"
    )
    ratios = ours_token / cpu.token_processors, ours_prompt / cpu.prompt_processors
    print(f"  1/{ratios[0]:.1f} and 1/{ratios[1]:.1f} of that speed by processor time")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soft", description=__doc__)
    parser.add_argument("--libs", type=Path, help="llama.cpp for CUDA 12; default: the demo's")
    parser.add_argument("--model", type=Path, help="a GGUF; default: two with random weights")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=10, help="each run starts over for so long")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--runtime", type=Path, help="folder of libcudart.so, for --libs; default: CUDA 12's")
    parser.add_argument("--first", action="store_true", help="what first launches cost, and no more")
    options = parser.parse_args()
    paths = native.paths()
    environment = {"LD_LIBRARY_PATH": str(options.runtime or cuda_runtime_12())}
    program = [str(paths.bin / "shimbench-llama"), "--libs", str(options.libs or fetch(LLAMA_CUDA_12, CACHE))]
    with tempfile.TemporaryDirectory() as folder:
        shapes = {"15 million parameters": FIFTEEN_MILLION, "tiny": TINY}
        models = {name: make_tiny_model(Path(folder) / name, shape=shape) for name, shape in shapes.items()}
        if options.model:
            models = {options.model.name: options.model}
        if options.first:
            return print_first_launches(paths, [*program, "--model", str(models["tiny"])], environment)
        for name, model in models.items():
            command = [*program, "--model", str(model)]
            command += ["--repeat", str(options.seconds)]
            print(f"{name}:")
            for threads in options.threads:
                compare(paths, command, environment, threads, options.tokens)


if __name__ == "__main__":
    main()
