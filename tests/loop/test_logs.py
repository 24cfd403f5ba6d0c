"""The shim's own log files become lines of the session, each once."""

from __future__ import annotations

from pathlib import Path

from workbench.loop.logs import LogFollower


def test_new_lines_new_files_and_rotation_are_told_once(tmp_path: Path) -> None:
    told: list[tuple[str, bytes]] = []
    log = tmp_path / "shim.log"
    log.write_bytes(b"old\n")
    follower = LogFollower(tmp_path, ["shim*.log"], lambda path, line: told.append((path.name, line)))
    with log.open("ab") as stream:
        stream.write(b"one\ntw")
    follower.advance()
    assert told == [("shim.log", b"one")]
    with log.open("ab") as stream:
        stream.write(b"o\n")
    (tmp_path / "shim2.log").write_bytes(b"other\n")
    follower.advance()
    assert told[1:] == [("shim.log", b"two"), ("shim2.log", b"other")]
    log.rename(tmp_path / "rotated")
    log.write_bytes(b"fresh\nlast")
    follower.advance()
    follower.advance()
    follower.finish()
    assert told[3:] == [("shim.log", b"fresh"), ("shim.log", b"last")]
