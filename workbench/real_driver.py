"""The machine's own driver: what a program gets that no shim is put under."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

from workbench.config import DRIVER_SONAMES, Config, HostConfig, ShimConfig
from workbench.errors import ShimbenchError

_FOLDERS = ("/usr/lib/wsl/lib", "/run/opengl-driver/lib", "/usr/local/nvidia/lib64")
"""Where drivers lie that the loader's cache does not know: WSL, NixOS, containers."""


def on_the_driver(config: Config) -> Config:
    """The same target on the machine's own driver: nothing is built, and no forwarder is started."""
    return dataclasses.replace(
        config, shim=ShimConfig(libraries=real_driver()), host=HostConfig(), own_shim=False
    )


def real_driver() -> dict[str, Path]:
    """The machine's driver by soname, as a program would get it: libcuda.so.1, and NVML where there is one.

    ShimbenchError when the machine has none.
    """
    found = {}
    for soname in DRIVER_SONAMES:
        path = _as_the_loader_finds(soname)
        if path is not None:
            found[soname] = path
    if "libcuda.so.1" not in found:
        raise ShimbenchError(
            "this machine has no libcuda.so.1: neither in LD_LIBRARY_PATH, nor in the loader's cache, nor in "
            f"{', '.join(_FOLDERS)}. --library FILE names one that lies elsewhere"
        )
    return found


def _as_the_loader_finds(soname: str) -> Path | None:
    for folder in filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":")):
        if (Path(folder) / soname).is_file():
            return (Path(folder) / soname).resolve()
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        if line.strip().startswith(f"{soname} ") and "x86-64" in line:
            return Path(line.rpartition("=> ")[2].strip()).resolve()
    for folder in _FOLDERS:
        if (Path(folder) / soname).is_file():
            return (Path(folder) / soname).resolve()
    return None
