"""An edit of a shim's source, on the real loop with a real runtime as the target."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATIENCE_SECONDS, ROOT, copy_foreign_shim

from workbench.config import Config, load_config
from workbench.loop.loop import Loop, running
from workbench.native import NativePaths
from workbench.target.command import find_target

ROOMS = ("shim", "host", "sessions", "workbench")


async def reached(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until `condition` holds; fail when it does not in `seconds`."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"waited {seconds:g} s in vain for {what}")
        await asyncio.sleep(0.02)


def printed(loop: Loop, run: int) -> list[str]:
    """What the processes of a run of the target wrote."""
    session = loop.session
    session.refresh()
    return [
        line.text.decode(errors="replace")
        for line in session.log.lines(0, len(session.log))
        if line.role == "target" and line.process >= 0 and session.processes[line.process].run == run
    ]


def make_loop(config: Config, command: list[str], session: Path) -> Loop:
    return Loop(config, session, target=find_target(config, command, session.parent))


async def test_an_edit_shows_in_what_the_target_prints_and_an_error_leaves_the_run_alone(
    native_paths: NativePaths, cudart: Callable[[str], Path], target_programs: Path, tmp_path: Path
) -> None:
    directory = copy_foreign_shim(tmp_path / "shim", native_paths, {})
    source = directory / "memory.c"
    command = [str(target_programs / "probe"), str(cudart("13.0") / "libcudart.so.13")]
    loop = make_loop(load_config(directory), command, tmp_path / "session")
    loop.open()
    async with running(loop):
        await reached(lambda: "cudaMalloc: 0, no error" in printed(loop, 1), "the first run")

        good = source.read_text()
        source.write_text(good.replace("*total = FAULT", "*total = 1 ? 3ull << 30 : FAULT"))
        await reached(lambda: "cudaMalloc: 0, no error" in printed(loop, 2), "a run of the edited shim")
        assert "cudaMemGetInfo: 0, no error, 3072 MiB" in printed(loop, 2)
        await reached(lambda: loop.status.last_save_to_first_call, "the time from save to first call")

        runs = loop.status.run
        source.write_text(good.replace("used += bytes;", "used += ;"))
        await reached(lambda: loop.status.shim.state == "failed", "the build to fail")
        [error] = loop.builds[-1].errors
        assert error.path and error.path.name == "memory.c"
        assert "expected expression" in error.message
        assert good.splitlines()[error.line - 1].strip() == "used += bytes;"
        assert loop.status.run == runs
    assert not loop.session.live


async def test_an_edit_of_our_own_shim_changes_the_name_of_the_device(
    native_paths: NativePaths, cudart: Callable[[str], Path], tmp_path: Path
) -> None:
    """In a copy of the checkout, as somebody working on shim/cuda/device.c would do it."""
    checkout = tmp_path / "checkout"
    for room in ROOMS:
        shutil.copytree(ROOT / room, checkout / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "CMakeLists.txt", checkout)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    configure = ["cmake", "-S", ".", "-B", "build", "-G", "Ninja", f"-DSHIMBENCH_PYTHON={sys.executable}"]
    build = ["cmake", "--build", "build", "--target", "shim_cuda"]
    for command in (configure, build):
        subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)
    (checkout / "shimbench.toml").write_text(
        f"[shim]\nwatch = [\"shim/cuda/*.c\"]\nbuild = '''PATH={environment['PATH']} {' '.join(build)}'''\n"
    )
    own = {"libcuda.so.1": checkout / "build" / "lib" / "libcuda.so.1"}
    name = "import ctypes; cuda = ctypes.CDLL('libcuda.so.1'); text = ctypes.create_string_buffer(99); \
print(cuda.cuInit(0), cuda.cuDeviceGetName(text, 99, 0), text.value.decode())"
    loop = make_loop(load_config(checkout, lambda: own), [sys.executable, "-c", name], tmp_path / "session")
    loop.open()
    async with running(loop):
        await reached(lambda: printed(loop, 1), "the first run")
        before = printed(loop, 1)
        assert len(before) == 1 and before[0].startswith("0 0 "), before

        source = checkout / "shim" / "cuda" / "device.c"
        text = source.read_text()
        assert '"%s", wire_device()->name' in text
        source.write_text(text.replace('"%s", wire_device()->name', '"edited %s", wire_device()->name'))
        await reached(lambda: printed(loop, 2), "a run of the edited shim", 2 * PATIENCE_SECONDS)
        assert printed(loop, 2) == [before[0].replace("0 0 ", "0 0 edited ")]
