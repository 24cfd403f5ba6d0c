"""The application over sessions with fixed content."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import scenario
from textual.pilot import Pilot

from sessions import Session, open_session
from sessions.writer import library_path
from tests.patience import reached
from tests.pilots import obey
from workbench import native
from workbench.app import ShimbenchApp

Open = Callable[[str], Session]


@pytest.fixture(scope="session", autouse=True)
def session_writer() -> Path:
    """The built writer; building it if need be."""
    if not library_path().exists():
        os.environ["SHIMBENCH_BUILD"] = str(native.paths().build)
    return library_path()


@pytest.fixture(autouse=True)
def keys_are_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """When pressing one returns, it has been."""
    obey(monkeypatch)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Open:
    """A finished session by the scenario's name: broken or working."""
    folder = tmp_path_factory.mktemp("sessions")

    def open_finished(name: str) -> Session:
        path = folder / name
        if not path.exists():
            getattr(scenario, f"write_{name}_run")(path).finish()
        return open_session(path)

    return open_finished


@pytest.fixture
def broken(finished: Open) -> ShimbenchApp:
    """The workbench on the run that fell back to the CPU."""
    return ShimbenchApp(None, finished("broken"))


@pytest.fixture
def working(finished: Open) -> ShimbenchApp:
    """The workbench on the run that decodes."""
    return ShimbenchApp(None, finished("working"))


async def until(pilot: Pilot[None], condition: Callable[[], object], what: str = "") -> None:
    """Wait for a condition. The clock is only for what never comes: on a busy machine much takes long."""
    await reached(condition, what)
    await pilot.pause()


async def shown(pilot: Pilot[None]) -> ShimbenchApp:
    """Wait until everything the session holds is on the screen."""
    app = pilot.app
    assert isinstance(app, ShimbenchApp)
    await until(pilot, lambda: app.settled, "the session is shown")
    return app
