"""Dr.Jit, which writes PTX while it runs and opens the driver itself, as libcuda.so and without a runtime."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from calls import driver_calls
from conftest import Recorder, get_package
from go_package import WheelTree

from workbench.demo.consumer import DownloadError


@dataclass(frozen=True)
class OwnWheel(WheelTree):
    """One that must suit the Python that runs us."""

    def download(self, directory: Path) -> Path:
        wanted = directory / "wanted.txt"
        wanted.write_text(f"{self.name}=={self.version} --hash=sha256:{self.digest}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--require-hashes", "--dest", str(directory), "-r", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise DownloadError(f"{self.name} {self.version}: {done.stderr.strip()}")
        return next(directory.glob("*.whl"))


DIGESTS = {
    (3, 11): "0d9cb374fe1f05d4167a8c24cbce6084404372e5fb3dcd6f08bbb1cee06f245a",
    (3, 12): "640a8c607fe48a6f440d346649f1d39e6a0aa579a6f4c782d8451862d0929c04",
    (3, 13): "33a4b146cc56a02ea0dd9c43034277c59ae3c5dd3490678c2cbc8ef69a1e8c93",
    (3, 14): "0baf0ff1e69ee86b4c6738ff5d5788946e2bef409466756dc57c0ab07ddeaee6",
}
"""of its wheel, by Python's version; 5 MB"""

PROGRAM = """\
import drjit as dr
from drjit.cuda import Array3f, Float, PCG32, UInt32

x = dr.arange(Float, 1000)
print("sum", round(dr.sum(x * 2 + 1)[0]))
print("norm", round(dr.sum(dr.norm(Array3f(x, x + 1, x + 2)))[0]))
counts = dr.zeros(Float, 10)
dr.scatter_reduce(dr.ReduceOp.Add, counts, Float(1), dr.arange(UInt32, 1000) % 10)
print("counts", *(int(count) for count in counts))
print("prefix", int(dr.cumsum(x)[999]), "kept", dr.width(dr.compress(x > 500)))

@dr.syntax
def grow():
    number, value = UInt32(0), dr.arange(Float, 64)
    while number < 10:
        value = value * 0.5 + 1
        number += 1
    return value

print("loop", round(dr.sum(grow())[0], 3))
"""


def test_a_program_that_compiles_its_own_kernels_computes_what_it_should(
    recorder: Recorder, tmp_path: Path
) -> None:
    digest = DIGESTS.get(sys.version_info[:2])
    if digest is None:
        pytest.skip(f"no wheel of Dr.Jit is pinned for Python {sys.version_info[0]}.{sys.version_info[1]}")
    package = get_package(OwnWheel("drjit", "1.5.0", digest, "drjit"))
    (tmp_path / "drjit").symlink_to(package)
    (tmp_path / "program.py").write_text(PROGRAM)
    done = recorder.run([sys.executable, str(tmp_path / "program.py")])
    assert done.status == 0, done.stderr
    said = [line for line in done.log if line.split(" ")[0] in ("sum", "norm", "counts", "prefix", "loop")]
    assert said == [
        "sum 1000000",
        "norm 866896",
        "counts" + " 100" * 10,
        "prefix 499500 kept 499",
        "loop 129.844",
    ]
    assert (done.report["lost"], done.report["diagnosis"], done.report["gpu_mode"]) == (0, [], "gpu")
    assert driver_calls(done.session, of_the_shim=False)["cuLaunchKernel"] > 5
