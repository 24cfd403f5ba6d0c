"""A unit of a real systemd under the shim: recorded as another user, behind PrivateTmp and ProtectHome,
and taken back byte for byte."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from systemd_machine import Machine, NoMachineError, copy_out, put_service

from workbench import native

UNIT = """\
[Unit]
Description=A service that uses the GPU, as ollama.service does

[Service]
User=gpuser
Environment="LD_LIBRARY_PATH=/opt/own" "GREETING=50%% of \\"it\\""
ExecStart=/opt/service/bin/ollama serve
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
RestrictAddressFamilies=AF_INET AF_INET6
Restart=no

[Install]
WantedBy=multi-user.target
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    try:
        machine = Machine(tmp_path_factory.mktemp("systemd"))
    except NoMachineError as error:
        pytest.skip(str(error))
    yield machine
    machine.close()


@pytest.fixture(scope="module")
def service(machine: Machine, cudart: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """ollama.service inside, running."""
    put_service(machine, next(iter(cudart("13.0").glob("libcudart.so.*"))))
    machine.run("useradd", "--system", "--home-dir", "/nonexistent", "gpuser")
    machine.write("/etc/systemd/system/ollama.service", UNIT)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "ollama.service")
    return "ollama.service"


def shimbench(machine: Machine, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return machine.run(sys.executable, "-m", "workbench.cli", "systemd", *words, check=check)


def unit_as_it_is(machine: Machine) -> str:
    files = (
        "find /etc/systemd /var/lib/shimbench /run/shimbench -newer /opt/service/service.c -type f -o -type d"
    )
    tree = machine.run(
        "/bin/sh", "-c", f"({files}) 2>/dev/null | xargs ls -lad --time-style=full-iso", check=False
    )
    return machine.run("systemctl", "cat", "ollama.service").stdout + "".join(
        line for line in tree.stdout.splitlines(keepends=True) if "ollama.service" in line
    )


def status(machine: Machine) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(shimbench(machine, "status", "/opt/project", "--json").stdout)
    return report


def test_a_services_processes_and_journal_are_recorded_and_it_comes_back_as_it_was(
    machine: Machine,
    service: str,
    native_paths: native.NativePaths,
    until: Callable[..., Any],
    tmp_path: Path,
) -> None:
    machine.run("mkdir", "-p", "/opt/project")
    before = unit_as_it_is(machine)
    dry = shimbench(machine, "install", "/opt/project", "--dry-run")
    assert "Environment=" in dry.stderr and "zz-shimbench.conf" in dry.stderr
    assert unit_as_it_is(machine) == before
    refused = shimbench(machine, "install", "/opt/project", check=False)
    assert refused.returncode == 2 and "say --yes" in refused.stderr
    assert unit_as_it_is(machine) == before

    done = shimbench(machine, "install", "/opt/project", "--session", "/opt/recorded", "--yes", "--json")
    report = json.loads(done.stdout)
    assert report["installed"] and report["recording"] and not report["problems"], report
    until(lambda: status(machine)["calls"] > 400, "the service's calls")
    stranger = "timeout 1 setpriv --reuid=65534 --regid=65534 --clear-groups env"
    paths = (
        "LD_LIBRARY_PATH=$0/tap:$0/lib LD_PRELOAD=$0/tap/libshimbench-preload.so /opt/service/bin/stranger"
    )
    run_directory = "/var/lib/shimbench/ollama.service/run"
    machine.run("cp", "/opt/service/bin/ollama", "/opt/service/bin/stranger")
    machine.run("/bin/sh", "-c", f"{stranger} {paths}", run_directory, check=False)
    again = shimbench(machine, "install", "/opt/project", "--yes", check=False)
    assert again.returncode == 2 and "under a shim already" in again.stderr
    whole = "journalctl --sync; journalctl -u ollama.service -o cat | grep -c 'all written'"
    until(lambda: machine.run("/bin/sh", "-c", whole, check=False).stdout.strip() == "2", "the second start")

    removed = json.loads(shimbench(machine, "remove", "--yes", "--json").stdout)
    assert removed["as_it_was"] and not removed["problem"]
    assert unit_as_it_is(machine) == before
    assert machine.run("systemctl", "is-active", "ollama.service").stdout.strip() == "active"
    assert machine.run("ls", "/var/lib/shimbench", "/run/shimbench", check=False).stdout == ""
    assert not status(machine)["installed"]

    session = copy_out(machine, "/opt/recorded", tmp_path / "recorded")
    users = machine.run("id", "-u", "gpuser").stdout.strip()
    assert users != "0"
    lines = [line.text for line in session.log.lines(0, len(session.log)) if line.role == "target"]
    (told,) = [text for text in lines if b" devices, code " in text and b"/var/lib/shimbench" in text]
    assert told.startswith(b'1 devices, code 0, greeting 50% of "it", path /var/lib/shimbench/ollama.service')
    assert told.rstrip().endswith(b":/opt/own")  # its own path behind ours
    assert max(len(text) for text in lines) >= 150_000 and b"\xff not UTF-8" in b"\n".join(lines)
    traced = [process for process in session.processes if process.role == "target"]
    assert not any("stranger" in " ".join(process.argv) for process in session.processes)
    assert {process.run for process in traced} == {1} and len(traced) >= 2
    assert len(session.calls) > 400 and session.lost == 0


def test_an_installation_that_fails_leaves_the_unit_as_it_was(machine: Machine, service: str) -> None:
    machine.write("/etc/systemd/system/broken.service", "[Service]\nExecStart=/bin/false\nType=oneshot\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("mkdir", "-p", "/opt/project")
    done = shimbench(machine, "install", "/opt/project", "--unit", "broken.service", "--yes", check=False)
    assert done.returncode == 1 and "broken.service" in done.stderr
    assert machine.run("ls", "/etc/systemd/system/broken.service.d", check=False).returncode != 0
    assert machine.run("ls", "/var/lib/shimbench", check=False).stdout == ""
    unknown = shimbench(machine, "install", "/opt/project", "--unit", "nothing.service", "--yes", check=False)
    assert unknown.returncode == 1 and "nothing.service is not-found" in unknown.stderr


def test_a_drop_in_that_somebody_changed_is_not_thrown_away(machine: Machine, service: str) -> None:
    machine.run("mkdir", "-p", "/opt/project")
    shimbench(machine, "install", "/opt/project", "--yes")
    drop_in = "/etc/systemd/system/ollama.service.d/zz-shimbench.conf"
    original = machine.run("cat", drop_in).stdout
    machine.write(drop_in, original + "Environment=MINE=1\n")
    refused = shimbench(machine, "remove", "--yes", check=False)
    assert refused.returncode == 1 and "changed by somebody else" in refused.stderr
    machine.write(drop_in, original)
    assert shimbench(machine, "remove", "--yes").returncode == 0
