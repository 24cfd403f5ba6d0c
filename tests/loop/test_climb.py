"""A save climbs the ladder from its lowest rung, and the target is launched only when all of it holds."""

from __future__ import annotations

from pathlib import Path

from stand_in import StandInLoop

from workbench.config import Config, Exercise, HostConfig, ShimConfig, TargetConfig
from workbench.loop.loop import running
from workbench.target.command import Target

PROBE = """
echo probe >>told
cat rung
if test -e hang; then echo hanging >>told; exec sleep 1000; fi
grep -q good "$LD_LIBRARY_PATH/libcuda.so.1"
"""


def make_loop(directory: Path, exercise: Exercise | None = None) -> StandInLoop:
    (directory / "shim").mkdir()
    (directory / "shim" / "a.c").write_text("good\n")
    (directory / "rung").write_text("one device\n")
    config = Config(
        directory,
        shim=ShimConfig(
            watch=("shim/**",),
            build="cp shim/a.c libshim.so",
            libraries={"libcuda.so.1": directory / "libshim.so"},
        ),
        host=HostConfig(),
        target=TargetConfig(ladder={"probe": ("/bin/sh", "-c", PROBE)}, exercise=exercise),
    )
    target = Target(("/bin/sh", "-c", "echo target >>told; exec sleep 1000"), {}, directory)
    return StandInLoop(config, directory / "session", target)


def told(directory: Path) -> list[str]:
    path = directory / "told"
    return path.read_text().splitlines() if path.exists() else []


async def test_a_save_climbs_and_a_failed_rung_spares_the_launch(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    loop.open()
    source = tmp_path / "shim" / "a.c"
    async with running(loop):
        await loop.until(lambda: told(tmp_path) == ["target"])  # the first run is the target itself
        source.write_text("bad\n")
        await loop.until(lambda: len(loop.stand_in.of("run-end")) == 2)
        assert told(tmp_path) == ["target", "probe"] and loop.status.target.state == "ended"
        (rung,) = loop.stand_in.of("rung")
        assert (rung["name"], rung["state"], rung["run"]) == ("probe", "failed", 2)
        assert rung["text"] == "exit status 1: one device"
        assert loop.stand_in.of("run-end")[-1]["reason"] == "probe failed: exit status 1: one device"
        source.write_text("good again\n")
        await loop.until(lambda: told(tmp_path) == ["target", "probe", "probe", "target"])
        await loop.until(lambda: loop.status.target.state == "running")
        assert loop.stand_in.of("rung")[-1]["state"] == "ok" and loop.status.run == 3


async def test_a_rung_that_hangs_is_given_up_for_a_newer_save(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    loop.open()
    source = tmp_path / "shim" / "a.c"
    async with running(loop):
        await loop.until(lambda: told(tmp_path) == ["target"])
        (tmp_path / "hang").touch()
        source.write_text("good 2\n")
        await loop.until(lambda: told(tmp_path) == ["target", "probe", "hanging"])
        (tmp_path / "hang").unlink()
        source.write_text("good 3\n")
        await loop.until(lambda: told(tmp_path) == ["target", "probe", "hanging", "probe", "target"])


async def test_with_a_lower_top_the_target_is_not_launched_at_all(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    loop.open()
    assert loop.pick_top() == "probe" and loop.status.top == "probe"
    async with running(loop):
        await loop.until(lambda: loop.status.target.state == "ended")
        assert told(tmp_path) == ["probe"] and loop.driver.rungs["probe"].state == "ok"
        assert [loop.pick_top() for _ in range(4)] == ["list-devices", "discovery", "load", "tokens"]
        await loop.relaunch("asked for")
        await loop.until(lambda: told(tmp_path) == ["probe", "target"])


async def test_a_top_rung_for_which_there_is_nothing_to_run_says_so(tmp_path: Path) -> None:
    loop = make_loop(tmp_path)
    loop.open()
    assert [loop.pick_top() for _ in range(2)] == ["probe", "list-devices"]
    async with running(loop):
        await loop.until(lambda: loop.status.target.state == "ended")
        probe, missing = loop.stand_in.of("rung")
        assert (probe["name"], probe["state"]) == ("probe", "ok")
        assert (missing["name"], missing["state"]) == ("list-devices", "failed")
        assert missing["text"] == "nothing to run for it: [target] ladder says what"
        assert told(tmp_path) == ["probe"]


async def test_a_command_drives_each_run_and_its_outcome_is_told(tmp_path: Path) -> None:
    words = ("/bin/sh", "-c", "cat answer; exit $(cat status)")
    loop = make_loop(tmp_path, Exercise(command=words))
    (tmp_path / "answer").write_text('{"response": "a"}\n{"response": "b", "eval_count": 2, "done": true}\n')
    (tmp_path / "status").write_text("0")
    loop.open()
    async with running(loop):
        await loop.until(lambda: len(loop.stand_in.of("exercise")) == 1)
        (tmp_path / "status").write_text("5")
        await loop.relaunch("asked for")
        await loop.until(lambda: len(loop.stand_in.of("exercise")) == 2)
    first, second = loop.stand_in.of("exercise")
    assert first["ok"] and first["tokens"] == 2 and first["run"] == 1
    assert not second["ok"] and second["error"] == "the exercise ended with exit status 5"
