"""Packages out of registries: unpacked once, whole or not at all."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from workbench.demo.consumer import DownloadError, Wheel, fetch


@dataclass(frozen=True)
class LocalWheel(Wheel):
    """A wheel that is made here instead of being downloaded."""

    fails: bool = False

    def download(self, directory: Path) -> Path:
        if self.fails:
            raise DownloadError("the registry is away")
        (directory / "downloads").touch()
        archive = directory / "made.whl"
        with zipfile.ZipFile(archive, "w") as wheel:
            wheel.writestr("things.libs/libone.so", b"one")
            wheel.writestr("things.libs/deeper/libtwo.so", b"two")
            wheel.writestr("things/__init__.py", b"")
        return archive


def test_only_the_named_folder_of_a_package_is_unpacked(tmp_path: Path) -> None:
    folder = fetch(LocalWheel("things", "1.0", "", "things.libs"), tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"libone.so": b"one"}


def test_a_package_that_is_there_is_not_downloaded_again(tmp_path: Path) -> None:
    folder = fetch(LocalWheel("things", "1.0", "", "things.libs"), tmp_path)
    assert fetch(LocalWheel("things", "1.0", "", "things.libs", fails=True), tmp_path) == folder


@pytest.mark.parametrize("wheel", [LocalWheel("things", "1.0", "", "things.libs", fails=True)])
def test_a_download_that_fails_leaves_nothing_behind_and_is_tried_again(tmp_path: Path, wheel: Wheel) -> None:
    with pytest.raises(DownloadError):
        fetch(wheel, tmp_path)
    assert not any(path.is_dir() for path in tmp_path.iterdir())
    assert fetch(LocalWheel("things", "1.0", "", "things.libs"), tmp_path).is_dir()


def test_a_package_without_the_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"things 1\.0 has nothing in elsewhere"):
        fetch(LocalWheel("things", "1.0", "", "elsewhere"), tmp_path)


def test_a_scoped_npm_name_makes_a_plain_folder_name() -> None:
    assert LocalWheel("@scope/name", "2.0", "", "x").label == "scope-name-2.0"
