"""Lays the stand-in out as Ollama is installed: bin/ollama, lib/ollama with llama-server and the libraries,
lib/ollama/cuda_v13 with the CUDA ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
DEMO = HERE.parent.parent.parent / "workbench" / "demo"


def install(root: Path, libraries: Path, cudart: Path, version: str, folder: str = "cuda_v13") -> Path:
    """-> bin/ollama below `root`. `libraries` is a folder of llama.cpp's, `cudart` that of libcudart."""
    lib, program = root / "lib" / "ollama", root / "bin" / "ollama"
    gpu = lib / folder
    gpu.mkdir(parents=True)
    program.parent.mkdir()
    for path in sorted(libraries.glob("*.so*")):
        (gpu if "ggml-cuda" in path.name else lib).joinpath(path.name).symlink_to(path.resolve())
    for path in sorted(cudart.glob("libcudart.so*")):
        (gpu / path.name).symlink_to(path.resolve())
    (lib / "version").write_text(version + "\n")
    words = ["cc", "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(lib / "llama-server")]
    words += ["-Wno-unused-function", str(HERE / "llama_server.c"), str(DEMO / "llama_api.c"), "-ldl"]
    subprocess.run(words, check=True)
    program.write_text(f"#!{sys.executable}\n" + (HERE / "standin.py").read_text())
    program.chmod(0o755)
    return program
