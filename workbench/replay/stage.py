"""What calls are performed on: a project's shim, a library, ours on a device, or the machine's driver."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from workbench import native
from workbench.config import Config, HostConfig, ShimConfig, load_config
from workbench.errors import UsageError
from workbench.real_driver import on_the_driver

DEVICES = ("soft", "count-only", "driver")


@dataclass(frozen=True)
class Stage:
    """What calls are performed on. `config` names shim and forwarder."""

    config: Config
    title: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_nvml(self) -> bool:
        """Whether it brings an NVML of its own, so that calls of NVML are its business."""
        return "libnvidia-ml.so.1" in self.config.shim.libraries


def stage_of(
    directory: Path, libraries: Mapping[str, Path] | None = None, device: str | None = None
) -> Stage:
    """The shim of DIR/shimbench.toml, or ours; `libraries` (soname -> file) in its stead.

    `device`: our shim and forwarder with "soft" or "count-only", or "driver": the machine's own.
    """
    if device == "driver":
        config = on_the_driver(Config(directory.resolve()))
        return Stage(config, f"the machine's driver, {config.shim.libraries['libcuda.so.1']}")
    config = load_config(directory)
    if device is not None:
        own = {path.name: path for path in sorted(native.paths().lib.glob("lib*.so.*"))}
        kept = config.shim.libraries if config.own_shim else own
        host = HostConfig(run=("shimbench-host", "--device", device))
        config = dataclasses.replace(config, shim=ShimConfig(libraries=kept), host=host, own_shim=True)
        return Stage(config, f"our shim, device {device}")
    if libraries:
        shim = ShimConfig(libraries={name: path.resolve() for name, path in libraries.items()})
        host = config.host
        if config.own_shim and host.run is not None:  # it is found by name for our own libraries alone
            host = HostConfig(run=(str(native.paths().host), *host.run[1:]))
        config = dataclasses.replace(config, shim=shim, host=host, own_shim=False)
        return Stage(config, ", ".join(str(path) for path in libraries.values()))
    title = (
        "our shim" if config.own_shim else str(config.shim.libraries.get("libcuda.so.1", "no libcuda.so.1"))
    )
    return Stage(config, title)


def stage_named(word: str) -> Stage:
    """What one word says: soft, count-only, driver, a DIR with a shimbench.toml, or a libcuda.so.1.

    UsageError when it says none of them.
    """
    path = Path(word)
    if word in DEVICES:
        return stage_of(Path(), device=word)
    if path.is_dir():
        return stage_of(path)
    if path.is_file():
        return stage_of(Path(), {"libcuda.so.1": path})
    raise UsageError(f"{word}: neither {', '.join(DEVICES)}, nor a directory, nor a library")
