"""A build's output, status and diagnostics; and that a build can be given up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.patience import reached
from workbench.loop.build import progress_of, run_build
from workbench.loop.processes import LocalSpawner, stop_group


async def test_a_good_build_is_ok_and_its_output_is_whole(tmp_path: Path) -> None:
    pieces: list[str] = []
    command = "echo one; echo two >&2; printf three"
    report = await run_build(LocalSpawner(), command, tmp_path, 1, tmp_path / "out", pieces.append)
    assert report.ok and report.exit is not None and report.exit.status == 0
    assert report.output == "one\ntwo\nthree"
    assert report.diagnostics == () and report.number == 1


async def test_a_compiler_error_is_a_diagnostic_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int f(void)\n{\n    return y;\n}\n")
    report = await run_build(LocalSpawner(), "gcc -c a.c", tmp_path, 2, tmp_path / "out")
    assert not report.ok
    assert [(item.path, item.line) for item in report.errors] == [(tmp_path / "a.c", 3)]


@pytest.mark.parametrize(
    ("command", "status"), [("exit 7", 7), ("false | true", 0), ("nonexistent-tool", 127)]
)
async def test_the_status_is_the_commands_own(tmp_path: Path, command: str, status: int) -> None:
    report = await run_build(LocalSpawner(), command, tmp_path, 1, tmp_path / "out")
    assert report.exit is not None and report.exit.status == status
    assert report.ok == (status == 0)


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_build_given_up_leaves_no_process(tmp_path: Path) -> None:
    started = asyncio.Event()
    command = "echo $$; sleep 1000"
    seen: list[str] = []

    def on_output(text: str) -> None:
        seen.append(text)
        started.set()

    task = asyncio.ensure_future(run_build(LocalSpawner(), command, tmp_path, 1, tmp_path / "out", on_output))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    shell = int(seen[0])
    await reached(lambda: has_ended(shell), "its shell has ended")


async def test_a_program_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    spawner = LocalSpawner()
    script = f"trap '' TERM; touch {tmp_path}/ready; while :; do sleep 0.01; done"
    pid = spawner.spawn(["/bin/sh", "-c", script], {}, tmp_path, "target", 1)
    await reached((tmp_path / "ready").exists, "it ignores the signal")
    ended = await stop_group(spawner, pid, patience=0.05)
    assert ended.signal == 9 and ended.status == 137


def test_progress_is_what_ninja_or_make_last_said() -> None:
    assert progress_of("[1/4] CC a.o\nnoise\n[3/4] CC b.o\n") == 0.75
    assert progress_of("[ 50%] Building C object\n") == 0.5
    assert progress_of("gcc -c a.c\n") is None
