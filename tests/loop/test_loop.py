"""From a save to the next run: what is rebuilt, what goes on, what is kept, and what is told."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from stand_in import StandInLoop

from workbench.config import Config, HostConfig, ShimConfig
from workbench.loop.headless import run_once
from workbench.loop.launch import marked_processes
from workbench.loop.loop import running
from workbench.target.command import Target

# The "compiler" copies the source into the library, and fails where the source says so.
BUILD = (
    "grep -n ERROR shim/a.c >errors; "
    'if [ -s errors ]; then echo "shim/a.c:1:3: error: no such thing"; exit 1; fi; '
    "while [ -e hold ]; do sleep 0.01; done; cp shim/a.c libshim.so; echo built"
)
SERVER = 'cat "$LD_LIBRARY_PATH/libcuda.so.1" >>told; exec sleep 1000'


def make_loop(tmp_path: Path, script: str = SERVER, **shim: object) -> StandInLoop:
    (tmp_path / "shim").mkdir()
    (tmp_path / "shim" / "a.c").write_text("first\n")
    settings = {"watch": ("shim/**/*.c",), "build": BUILD, **shim}
    config = Config(
        tmp_path,
        shim=ShimConfig(libraries={"libcuda.so.1": tmp_path / "libshim.so"}, **settings),  # type: ignore[arg-type]
        host=HostConfig(),
    )
    return StandInLoop(config, tmp_path / "session", Target(("/bin/sh", "-c", script), {}, tmp_path))


@pytest.fixture
async def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[StandInLoop]:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    loop = make_loop(tmp_path)
    loop.open()
    async with running(loop):
        yield loop


def told(loop: StandInLoop) -> list[str]:
    """What each run so far has read from the library it was given."""
    path = loop.config.directory / "told"
    return path.read_text().splitlines() if path.exists() else []


async def test_the_first_build_is_kept_and_launched(loop: StandInLoop) -> None:
    await loop.until(lambda: told(loop) == ["first"])
    assert loop.status.run == 1 and loop.status.target.state == "running"
    assert loop.status.shim.state == "ok" and loop.builds[0].ok
    assert loop.current is not None and loop.status.shim.build_id == loop.current.id
    (run,) = loop.stand_in.of("run")
    assert run["shim_id"] == loop.current.id and run["ours"] is False
    (build,) = loop.stand_in.of("build")
    assert build["ok"] and build["store_id"] == loop.current.id


async def test_a_save_gives_the_next_run_the_new_library(loop: StandInLoop) -> None:
    await loop.until(lambda: told(loop) == ["first"])
    (loop.config.directory / "shim" / "a.c").write_text("second\n")
    await loop.until(lambda: told(loop) == ["first", "second"])
    assert loop.status.run == 2
    assert loop.stand_in.of("run")[1]["reason"] == "saved a.c"
    assert [(end["signal"], end["reason"]) for end in loop.stand_in.of("run-end")] == [
        (signal.SIGTERM, "saved a.c")
    ]
    assert [path.name for path in loop.builds[1].sources] == ["a.c"]


async def test_a_failed_build_leaves_the_run_alone_and_says_where(loop: StandInLoop) -> None:
    await loop.until(lambda: told(loop) == ["first"])
    (loop.config.directory / "shim" / "a.c").write_text("ERROR\n")
    await loop.until(lambda: loop.status.shim.state == "failed")
    assert loop.status.run == 1 and loop.running and loop.status.target.state == "running"
    (error,) = loop.builds[1].errors
    assert (error.path, error.line) == (loop.config.directory / "shim/a.c", 1)
    assert loop.stand_in.of("build")[1]["diagnostics"][0]["message"] == "no such thing"
    (loop.config.directory / "shim" / "a.c").write_text("third\n")
    await loop.until(lambda: told(loop) == ["first", "third"])
    assert loop.status.shim.state == "ok"


async def test_a_save_during_a_build_begins_it_again(loop: StandInLoop) -> None:
    await loop.until(lambda: told(loop) == ["first"])
    hold, source = loop.config.directory / "hold", loop.config.directory / "shim" / "a.c"
    hold.touch()
    source.write_text("second\n")
    await loop.until(lambda: loop.status.shim.state == "building")
    source.write_text("third\n")
    await loop.until(lambda: [event.kind for event in loop.told].count("build-started") == 3)
    hold.unlink()
    await loop.until(lambda: told(loop) == ["first", "third"])
    assert loop.status.run == 2 and len(loop.builds) == 2


async def test_relaunching_is_another_run_of_the_same_build(loop: StandInLoop) -> None:
    await loop.until(lambda: told(loop) == ["first"])
    await loop.relaunch("asked for")
    await loop.until(lambda: told(loop) == ["first", "first"])
    first, second = loop.stand_in.of("run")
    assert first["shim_id"] == second["shim_id"] and second["run"] == 2


async def test_a_relaunch_without_room_is_told_with_what_helps_and_the_next_goes_on(
    loop: StandInLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await loop.until(lambda: told(loop) == ["first"])

    def full(*arguments: object) -> dict[str, str]:
        raise OSError(
            errno.ENOSPC, os.strerror(errno.ENOSPC), "recorder.so", None, "/session/runs/2/recorder.so"
        )

    with monkeypatch.context() as patched:
        patched.setattr(loop.runs, "_environment", full)
        await loop.relaunch("asked for")
    (problem,) = [event.text for event in loop.told if event.kind == "problem"]
    assert problem.startswith(
        "no room on the disk (/session/runs/2/recorder.so: No space left on device): free"
    )
    await loop.relaunch("asked for again")
    await loop.until(lambda: told(loop) == ["first", "first"])


async def test_a_target_that_ends_by_itself_is_told_with_its_status(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, "exit 5")
    loop.open()
    said: list[str] = []
    outcome = await run_once(loop, 20, said.append)
    assert outcome.exit is not None and outcome.exit.status == 5 and not outcome.timed_out
    assert said == ["built"]


async def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    loop.open()
    outcome = await run_once(loop, 0.5, lambda text: None)
    assert outcome.timed_out
    assert not loop.running


async def test_a_build_without_its_library_is_a_failed_build(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, build="true")
    loop.open()
    said: list[str] = []
    outcome = await run_once(loop, 20, said.append)
    assert outcome.exit is None
    assert outcome.problem == f"`true` succeeded, but there is no {tmp_path}/libshim.so"


async def test_a_library_that_nobody_builds_is_a_problem_said_once(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, build=None)
    loop.open()
    outcome = await run_once(loop, 20, lambda text: None)
    assert outcome.exit is None and "there is no" in outcome.problem


async def test_the_target_reads_the_kept_library_and_not_the_built_one(loop: StandInLoop) -> None:
    await loop.until(lambda: told(loop) == ["first"])
    (loop.config.directory / "libshim.so").write_text("overwritten by the next link\n")
    assert loop.current is not None
    assert loop.current.libraries["libcuda.so.1"].read_text() == "first\n"


async def test_a_changed_configuration_is_told_and_does_not_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    loop = make_loop(tmp_path)
    loop.config = replace(loop.config, path=tmp_path / "shimbench.toml")
    loop.open()
    async with running(loop):
        await loop.until(lambda: told(loop) == ["first"])
        (tmp_path / "shimbench.toml").write_text("# changed\n")
        await loop.until(lambda: any(event.kind == "problem" for event in loop.told))
        assert len(loop.builds) == 1


async def test_what_outlives_the_target_ends_with_the_loop(tmp_path: Path) -> None:
    loop = make_loop(tmp_path, "setsid sleep 1000 & echo $! >stray")
    loop.open()
    outcome = await run_once(loop, 20, lambda text: None)
    assert outcome.exit is not None and outcome.exit.status == 0
    assert marked_processes(f"{loop.session_dir}#1") == []
