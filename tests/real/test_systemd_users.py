"""Units whose user is made as they start, and units of a user's own manager, under a real systemd."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from systemd_machine import Machine, NoMachineError, copy_out, put_service

from workbench import native

DYNAMIC = """\
[Service]
DynamicUser=yes
StateDirectory=gpu
ExecStart=/opt/service/bin/ollama serve
Restart=no
"""
OWN = "[Service]\nExecStart=/opt/service/bin/ollama serve\nPrivateTmp=no\n"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, cudart: Callable[[str], Path]) -> Iterator[Machine]:
    runtime = next(iter(cudart("12.9").glob("libcudart.so.*")))
    try:
        machine = Machine(tmp_path_factory.mktemp("systemd"))
    except NoMachineError as error:
        pytest.skip(str(error))
    put_service(machine, runtime)
    machine.run("mkdir", "-p", "/opt/project")
    yield machine
    machine.close()


SAID = "1 devices, code 0"  # by the programs, of their calls


def lines_of(session: Any) -> list[bytes]:
    return [line.text for line in session.log.lines(0, len(session.log)) if line.role == "target"]


def test_a_dynamic_users_processes_are_recorded_and_its_unit_comes_back(
    machine: Machine, native_paths: native.NativePaths, until: Callable[..., Any], tmp_path: Path
) -> None:
    def shimbench(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        unit = ["--unit", "dynamic.service"]
        return machine.run(sys.executable, "-m", "workbench.cli", "systemd", *words, *unit, check=check)

    machine.write("/etc/systemd/system/dynamic.service", DYNAMIC)
    machine.run("systemctl", "daemon-reload")
    early = shimbench("install", "/opt/project", "--yes", check=False)
    assert early.returncode == 1 and "start it first" in early.stderr
    machine.run("systemctl", "start", "dynamic.service")
    before = machine.run("systemctl", "cat", "dynamic.service").stdout
    done = shimbench("install", "/opt/project", "--session", "/opt/dynamic", "--yes", "--json")
    report = json.loads(done.stdout)
    assert report["installed"] and report["recording"] and not report["problems"], report

    def calls() -> int:
        return int(json.loads(shimbench("status", "/opt/project", "--json").stdout)["calls"])

    until(lambda: calls() > 400, "the service's calls")
    log = f"cd / && {shlex.join([sys.executable, '-m', 'workbench.cli', 'log', '/opt/dynamic'])}"
    until(lambda: SAID in machine.run("sh", "-c", log).stdout, "what it says of them")
    pid = machine.run("systemctl", "show", "--property=MainPID", "--value", "dynamic.service").stdout.strip()
    owner = int(machine.run("stat", "-c", "%u", f"/proc/{pid}").stdout)
    assert owner >= 61184  # of systemd's range for dynamic users
    removed = json.loads(shimbench("remove", "--yes", "--json").stdout)
    assert removed["as_it_was"] and not removed["problem"]
    assert machine.run("systemctl", "cat", "dynamic.service").stdout == before
    session = copy_out(machine, "/opt/dynamic", tmp_path / "dynamic")
    assert any(SAID.encode() in text for text in lines_of(session))
    assert session.lost == 0


def test_a_unit_of_a_users_own_manager_is_recorded_without_root(
    machine: Machine, native_paths: native.NativePaths, until: Callable[..., Any], tmp_path: Path
) -> None:
    machine.run("useradd", "--create-home", "--uid", "4242", "--groups", "systemd-journal", "shimmer")
    machine.run("chmod", "0755", "/root")  # where this Python may lie
    machine.run("systemctl", "start", "user@4242.service")
    environment = {"HOME": "/home/shimmer", "XDG_RUNTIME_DIR": "/run/user/4242", "USER": "shimmer"}
    paths = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path))}
    clean = ["env", "-i", *(f"{name}={value}" for name, value in {**environment, **paths}.items())]

    def as_user(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        who = ["setpriv", "--reuid=4242", "--regid=4242", "--init-groups"]
        return machine.run(*who, *clean, "sh", "-c", f"cd && {shlex.join(words)}", check=check)

    def shimbench(*words: str) -> subprocess.CompletedProcess[str]:
        own = ["--user", "--unit", "own.service"]
        return as_user(sys.executable, "-m", "workbench.cli", "systemd", *words, *own)

    machine.write("/home/shimmer/.config/systemd/user/own.service", OWN)
    machine.run("chown", "-R", "shimmer:shimmer", "/home/shimmer/.config")
    as_user("systemctl", "--user", "daemon-reload")
    as_user("systemctl", "--user", "start", "own.service")
    as_user("mkdir", "project")
    before = as_user("systemctl", "--user", "cat", "own.service").stdout
    session = "/home/shimmer/recorded"
    done = shimbench("install", "project", "--session", session, "--yes", "--json")
    report = json.loads(done.stdout)
    assert report["installed"] and report["recording"] and not report["problems"], report
    until(lambda: json.loads(shimbench("status", "project", "--json").stdout)["calls"] > 400, "its calls")
    log = [sys.executable, "-m", "workbench.cli", "log", session]
    until(lambda: SAID in as_user(*log).stdout, "what it says of them")
    removed = json.loads(shimbench("remove", "--yes", "--json").stdout)
    assert removed["as_it_was"] and not removed["problem"]
    assert as_user("systemctl", "--user", "cat", "own.service").stdout == before
    assert as_user("ls", "-A", ".local/share/shimbench/units", check=False).stdout == ""
    recorded = copy_out(machine, session, tmp_path / "own")
    assert any(SAID.encode() in text for text in lines_of(recorded))
    assert recorded.lost == 0
