"""From saving a shim source to the relaunched target's first call: how much of it is ours?

The rest is the compiler, the linker and the target's own start, which are measured bare. What remains
is watching, keeping the build, stopping the old run, the tap and the recording.

    python -m benchmarks.loop [--saves N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.panes import keep_priority
from workbench.config import Config, ShimConfig
from workbench.loop.loop import Loop, running
from workbench.loop.status import LoopEvent
from workbench.target.command import Target

BUDGET_SECONDS = 0.150

SHIM = """
int cuInit(unsigned flags) { (void)flags; return %d & 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
"""
TARGET = """
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    void *driver = dlopen("libcuda.so.1", RTLD_NOW);
    int (*init)(unsigned) = driver ? (int (*)(unsigned))dlsym(driver, "cuInit") : 0;
    if (!init || init(0))
        return 1;
    puts("called");
    fflush(stdout);
    for (;;)
        pause();
}
"""
#: The loop starts it in a session of its own, as it starts the target: both keep our priority.
BUILD = (
    f"echo {os.getpriority(os.PRIO_PROCESS, 0)} 2>/dev/null > /proc/self/autogroup; "
    "gcc -shared -fPIC -g -O1 -Wl,-soname,libcuda.so.1 -o libcuda.so.1 shim.c"
)


def measure(saves: int) -> dict[str, float]:
    """Seconds, each the median of `saves` rounds, and `ours` over its budget."""
    with tempfile.TemporaryDirectory(prefix="shimbench-bench-") as temporary:
        directory = Path(temporary)
        (directory / "shim.c").write_text(SHIM % 0)
        (directory / "target.c").write_text(TARGET)
        subprocess.run(["gcc", "-o", "target", "target.c", "-ldl"], cwd=directory, check=True)
        build = statistics.median(_bare_build(directory) for _ in range(saves))
        start = statistics.median(_bare_start(directory) for _ in range(saves))
        total = statistics.median(asyncio.run(_through_the_loop(directory, saves)))
    ours = total - build - start
    return {
        "save_to_first_call": total,
        "build_bare": build,
        "target_start_bare": start,
        "ours": ours,
        "ours_over_budget": ours / BUDGET_SECONDS,
    }


def _bare_build(directory: Path) -> float:
    begun = time.monotonic()
    subprocess.run(["/bin/sh", "-c", BUILD], cwd=directory, check=True)
    return time.monotonic() - begun


def _bare_start(directory: Path) -> float:
    environment = {**os.environ, "LD_LIBRARY_PATH": str(directory)}
    begun = time.monotonic()
    with subprocess.Popen(["./target"], cwd=directory, env=environment, stdout=subprocess.PIPE) as target:
        assert target.stdout is not None
        target.stdout.readline()
        seconds = time.monotonic() - begun
        target.kill()
    return seconds


async def _through_the_loop(directory: Path, saves: int) -> list[float]:
    config = Config(
        directory,
        shim=ShimConfig(("shim.c",), BUILD, (), {"libcuda.so.1": directory / "libcuda.so.1"}),
    )
    target = Target((str(directory / "target"),), {}, directory)
    loop = Loop(config, directory / "session", target=target)
    calls: asyncio.Queue[Any] = asyncio.Queue()

    def on_event(event: LoopEvent) -> None:
        if event.kind == "run-started":
            keep_priority(event.fields["pid"])
        elif event.kind == "first-call":
            calls.put_nowait(event.fields["seconds_since_save"])
        elif event.kind == "problem":
            raise RuntimeError(event.text)

    loop.subscribe(on_event)
    loop.open()
    keep_priority(loop.collector.pid)
    seconds = []
    async with running(loop):
        await asyncio.wait_for(calls.get(), 30)
        for number in range(saves):
            (directory / "shim.c").write_text(SHIM % (number + 1))
            seconds.append(float(await asyncio.wait_for(calls.get(), 30)))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--saves", type=int, default=20)
    keep_priority(os.getpid())
    print(json.dumps({"loop": measure(parser.parse_args().saves)}, indent=1))


if __name__ == "__main__":
    main()
