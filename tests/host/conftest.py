"""Fixtures: a host per test, and clients that end with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hosting import Host, Probe

from workbench import native


@pytest.fixture
def start_host(native_paths: native.NativePaths, tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Starts a host with the options given."""
    hosts: list[Host] = []

    def start(*options: str) -> Host:
        hosts.append(Host(native_paths.host, tmp_path, *options))
        return hosts[-1]

    yield start
    for host in hosts:
        host.process.kill()
        host.process.wait()


@pytest.fixture
def host(start_host: Callable[..., Host]) -> Host:
    return start_host()


@pytest.fixture
def start_probe(native_paths: native.NativePaths) -> Iterator[Callable[..., Probe]]:
    """Starts a client, connected when a host is given."""
    probes: list[Probe] = []

    def start(host: Host | None = None) -> Probe:
        program = native_paths.bin / "wire-probe"
        probes.append(Probe(program, host.socket_path if host else None))
        return probes[-1]

    yield start
    for probe in probes:
        probe.kill()
