"""Where the libraries of the target lie, in sessions made by hand."""

from __future__ import annotations

CUDART = 0x10000000
CUBLAS = 0x20000000
GGML = 0x30000000
MODULES = [
    ("/opt/libs/libcudart.so.13", CUDART, CUDART + 0x100000),
    ("/opt/libs/libcublasLt.so.13", CUBLAS, CUBLAS + 0x100000),
    ("/opt/libs/libggml-cuda.so", GGML, GGML + 0x100000),
]
