"""A collector on a session of its own, and the target that needs no driver."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from sessions import Session, open_session
from tests.patience import wait_until
from workbench import native
from workbench.tap.collector import Collector, Exit

HERE = Path(__file__).parent


@dataclass
class Bench:
    """A collector, its session as it is written, and what was started."""

    collector: Collector
    producer: Path
    folder: Path
    exits: dict[int, Exit] = field(default_factory=dict)
    started: int = 0

    def open(self) -> Session:
        return open_session(self.collector.directory)

    def spawn(self, *argv: str, role: str = "target") -> int:
        return self.collector.spawn(argv, dict(os.environ), self.folder, role, 1)

    def produce(self, **keys: int) -> tuple[int, Path]:
        """Start the producer; its pid and its file of counts."""
        self.started += 1
        counts = self.folder / f"counts{self.started}"
        options = [f"{name}={value}" for name, value in keys.items()]
        pid = self.spawn(str(self.producer), str(self.collector.socket_path), str(counts), *options)
        return pid, counts

    def command(self, counts: Path, **keys: int) -> list[str]:
        """The producer's command line, for who starts it by other means."""
        options = [f"{name}={value}" for name, value in keys.items()]
        return [str(self.producer), str(self.collector.socket_path), str(counts), *options]

    def wait(self, *pids: int) -> None:
        """Until these have ended."""

        def ended() -> bool:
            self.exits |= {one.pid: one for one in self.collector.poll()}
            return all(pid in self.exits for pid in pids)

        wait_until(ended, f"the end of {pids}")


def completed(counts: Path) -> int:
    """Calls the producer's threads say they completed."""
    if not counts.exists() or counts.stat().st_size < 512:
        return 0
    return int(np.fromfile(counts, np.uint64)[:63].sum())


@pytest.fixture(scope="session")
def producer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("producer") / "producer"
    include = native.ROOT / "workbench" / "tap" / "include"
    options = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", f"-I{include}"]
    subprocess.run(["cc", *options, "-o", str(program), str(HERE / "producer.c")], check=True)
    return program


@pytest.fixture
def bench(tmp_path: Path, producer: Path) -> Iterator[Bench]:
    program = native.paths().bin / "shimbench-collector"
    collector = Collector.start(tmp_path / "session", None, program=program, idle_exit=False)
    pid = collector.pid
    yield Bench(collector, producer, tmp_path)
    collector.detach()
    if pid is not None:
        collector.kill()
