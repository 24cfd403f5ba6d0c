"""What a session shows of products: their launches, and by which name a refused one was looked for."""

from __future__ import annotations

import sys

from tests.real.calls import driver_calls, errors
from tests.real.conftest import Recorder

CUDA_ERROR_NOT_FOUND = 500
SCRIPT = """
from ctypes import *
cuda, blas = CDLL("libcuda.so.1"), CDLL("libcublas.so.13")
context, handle, memory, one = c_void_p(), c_void_p(), c_uint64(), c_float(1)
assert not cuda.cuInit(0) and not cuda.cuDevicePrimaryCtxRetain(byref(context), 0)
assert not cuda.cuCtxSetCurrent(context) and not cuda.cuMemAlloc_v2(byref(memory), c_size_t(256))
assert not blas.cublasCreate_v2(byref(handle))
at, COMPUTE_32F, COMPUTE_64F = c_void_p(memory.value), 68, 70
def product(kind, compute):
    return blas.cublasGemmEx(handle, 0, 0, 2, 2, 2, byref(one), at, kind, 2, at, kind, 2, byref(one), at,
                             kind, 2, compute, -1)
print(product(0, COMPUTE_32F), product(1, COMPUTE_64F), product(1, COMPUTE_64F), cuda.cuCtxSynchronize())
"""


def test_a_product_is_a_launch_and_a_refused_one_a_kernel_that_was_not_found(recorder: Recorder) -> None:
    recording = recorder.run([sys.executable, "-c", SCRIPT])
    assert recording.status == 0, recording.stderr
    assert recording.log == ["0 15 15 0"]
    calls = driver_calls(recording.session)
    assert (calls["cuLibraryLoadData"], calls["cuLibraryGetKernel"], calls["cuLaunchKernel"]) == (1, 3, 1)
    assert errors(recording.session)["cuLibraryGetKernel", CUDA_ERROR_NOT_FOUND] == 2
