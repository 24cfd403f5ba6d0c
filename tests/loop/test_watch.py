"""Saving a source is told once, however the editor writes it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from watchdog.events import FileSystemEvent

from tests.patience import PATIENCE_SECONDS, wait_until
from workbench.loop.watch import Saved, SourceFiles, SourceWatcher


class Watched:
    """A directory under watch, and the bursts told so far."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bursts: asyncio.Queue[Saved] = asyncio.Queue()
        self.watcher = SourceWatcher(directory, ["shim/**/*.[ch]"], self.bursts.put_nowait)

    def _have_all_noticed(self) -> None:
        """Hold the asyncio loop up until the observer has said all that was written so far. Its thread has
        its turn when the machine gives it one: what was written at once must not be two bursts by that."""
        noticed: set[str] = set()
        asked = {
            str(place / "asked.tmp") for place in (self.directory / "shim", self.directory / "shim/cuda")
        }
        on_any_event = self.watcher._handler.on_any_event

        def listening(event: FileSystemEvent) -> None:
            on_any_event(event)
            if event.event_type == "deleted":
                noticed.add(os.fsdecode(event.src_path))

        self.watcher._handler.on_any_event = listening  # type: ignore[method-assign]
        for name in asked:
            Path(name).touch()
            Path(name).unlink()
        wait_until(lambda: asked <= noticed, "the observer to say all")
        self.watcher._handler.on_any_event = on_any_event  # type: ignore[method-assign]

    async def next(self) -> list[str]:
        self._have_all_noticed()
        saved = await asyncio.wait_for(self.bursts.get(), PATIENCE_SECONDS)
        return [str(path.relative_to(self.directory)) for path in saved.paths]

    async def nothing_but(self, *names: str) -> None:
        """What comes next is only `names`: made by a last save of a file nothing else touches."""
        (self.directory / "shim" / "last.c").write_text("last")
        assert await self.next() == [*names, "shim/last.c"]


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    (tmp_path / "shim" / "cuda").mkdir(parents=True)
    (tmp_path / "shim" / "cuda" / "device.c").write_text("one")
    (tmp_path / ".gitignore").write_text("generated.h\nshim/out/\n")
    watched = Watched(tmp_path)
    watched.watcher.start()
    yield watched
    watched.watcher.stop()


async def test_a_save_in_place_is_told(watched: Watched) -> None:
    (watched.directory / "shim/cuda/device.c").write_text("two")
    assert await watched.next() == ["shim/cuda/device.c"]


async def test_a_save_by_rename_is_told_once(watched: Watched) -> None:
    temporary = watched.directory / "shim/cuda/.device.c.swp"
    temporary.write_text("two")
    temporary.replace(watched.directory / "shim/cuda/device.c")
    await watched.nothing_but("shim/cuda/device.c")


async def test_a_backup_moved_away_and_written_anew_is_told_once(watched: Watched) -> None:
    source = watched.directory / "shim/cuda/device.c"
    source.rename(source.with_name("device.c~"))
    source.write_text("two")
    await watched.nothing_but("shim/cuda/device.c")


async def test_a_burst_is_one_message(watched: Watched) -> None:
    for number in range(30):
        (watched.directory / f"shim/cuda/file{number:02}.c").write_text("x")
    assert len(await watched.next()) == 30


async def test_a_save_that_changes_nothing_is_not_told(watched: Watched) -> None:
    (watched.directory / "shim/cuda/device.c").write_text("one")
    await watched.nothing_but()


async def test_what_is_ignored_or_not_asked_for_is_not_told(watched: Watched) -> None:
    (watched.directory / "shim/generated.h").write_text("x")
    (watched.directory / "shim/notes.txt").write_text("x")
    (watched.directory / "shim/out").mkdir()
    (watched.directory / "shim/out/a.c").write_text("x")
    await watched.nothing_but()


async def test_files_in_new_directories_are_told(watched: Watched) -> None:
    (watched.directory / "shim/nvml/deep").mkdir(parents=True)
    (watched.directory / "shim/nvml/deep/init.c").write_text("x")
    assert await watched.next() == ["shim/nvml/deep/init.c"]
    (watched.directory / "shim/nvml/deep/init.c").write_text("y")
    assert await watched.next() == ["shim/nvml/deep/init.c"]


async def test_a_deleted_source_is_told(watched: Watched) -> None:
    (watched.directory / "shim/cuda/device.c").unlink()
    assert await watched.next() == ["shim/cuda/device.c"]


def test_sources_are_found_below_the_fixed_part_of_each_glob(tmp_path: Path) -> None:
    for name in ("shim/a.c", "shim/x/b.h", "host/c.cpp", "other/a.c", "Makefile"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    files = SourceFiles(tmp_path, ["shim/**/*.[ch]", "host/**", "Makefile"])
    assert [str(path.relative_to(tmp_path)) for path in files] == [
        "Makefile",
        "host/c.cpp",
        "shim/a.c",
        "shim/x/b.h",
    ]
    assert SourceFiles(tmp_path, ["shim/**/*.[ch]"]).roots == (tmp_path / "shim",)
