"""cuBLAS: what llama.cpp links to, under the versions it links to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerSymSection

from workbench import native

Answers = Callable[..., list[str]]

#: What libggml-cuda.so imports: npm's, cyllama's and Ollama's (readelf --dyn-syms).
IMPORTED = {
    "cublasCreate_v2",
    "cublasDestroy_v2",
    "cublasGemmBatchedEx",
    "cublasGemmEx",
    "cublasGemmStridedBatchedEx",
    "cublasGetStatusString",
    "cublasSetMathMode",
    "cublasSetStream_v2",
    "cublasSetWorkspace_v2",
    "cublasSgemmBatched",
    "cublasSgemmStridedBatched",
    "cublasSgemm_v2",
    "cublasStrsmBatched",
}


@pytest.mark.parametrize("major", [12, 13])
def test_it_exports_what_llama_cpp_imports_under_the_version_of_its_soname(
    native_paths: native.NativePaths, major: int
) -> None:
    with (native_paths.lib / f"libcublas.so.{major}").open("rb") as file:
        elf = ELFFile(file)
        names = [symbol.name for symbol in elf.get_section_by_name(".dynsym").iter_symbols()]
        versions = elf.get_section_by_name(".gnu.version")
        defined = elf.get_section_by_name(".gnu.version_d")
        assert isinstance(versions, GNUVerSymSection) and isinstance(defined, GNUVerDefSection)
        by_number = {version["vd_ndx"]: next(iter(names)).name for version, names in defined.iter_versions()}
        found = {
            name: by_number.get(versions.get_symbol(index)["ndx"])
            for index, name in enumerate(names)
            if name.startswith("cublas")
        }
    assert found.keys() >= IMPORTED
    assert set(found.values()) == {f"libcublas.so.{major}"}


START = """
    import struct
    p, q = c_void_p, ctypes.c_longlong
    blas = ctypes.CDLL("libcublas.so.13")
    R_32F, R_16F, R_16BF, C_32F, COMPUTE_16F, COMPUTE_32F, N, T = 0, 2, 14, 4, 64, 68, 0, 1
    context, stream, handle = c_void_p(), c_void_p(), c_void_p()
    assert cuda.cuInit(0) == 0 and cuda.cuDevicePrimaryCtxRetain(byref(context), 0) == 0
    assert cuda.cuCtxSetCurrent(context) == 0 and cuda.cuStreamCreate(byref(stream), 1) == 0
    assert blas.cublasCreate_v2(byref(handle)) == 0 and blas.cublasSetStream_v2(handle, stream) == 0
    def on_device(content):
        pointer = c_uint64()
        assert cuda.cuMemAlloc_v2(byref(pointer), c_size_t(len(content))) == 0
        assert cuda.cuMemcpyHtoD_v2(pointer, content, c_size_t(len(content))) == 0
        return pointer.value
    def floats(*values):
        return on_device(struct.pack(f"{len(values)}f", *values))
    def halves(*values):
        return on_device(struct.pack(f"{len(values)}e", *values))
    def read(pointer, count, code="f"):
        content = create_string_buffer(count * struct.calcsize(code))
        result = cuda.cuStreamSynchronize(stream) or cuda.cuMemcpyDtoH_v2(
            content, c_uint64(pointer), c_size_t(len(content)))
        return struct.unpack(f"{count}{code}", content.raw) if result == 0 else result
    def scalar(value, code="f"):
        return ctypes.cast(create_string_buffer(struct.pack(code, value)), c_void_p)
    def gemm_ex(a, b, c, input, output, compute, alpha, beta, transposed=N):
        # A is 2 x 3, or stored 3 x 2 when transposed; B is 3 x 2
        return blas.cublasGemmEx(handle, transposed, N, 2, 2, 3, alpha, p(a), input, 3 if transposed else 2,
            p(b), input, 3, beta, p(c), output, 2, compute, -1)
    # Columns: A = [1 3 5; 2 4 6], B = [1 1; 0 2; 2 3]; A B = [11 22; 14 28]
    A, AT, B = (1, 2, 3, 4, 5, 6), (1, 3, 5, 2, 4, 6), (1, 0, 2, 1, 2, 3)
"""


def test_products_are_computed_in_each_type(answers: Answers, shim_host: dict[str, str]) -> None:
    script = """
        c = floats(1, 1, 1, 1)
        one, two = scalar(1.0), scalar(2.0)
        print(blas.cublasSgemm_v2(handle, N, N, 2, 2, 3, one, p(floats(*A)), 2, p(floats(*B)), 3,
                                  two, p(c), 2), *read(c, 4))
        print(gemm_ex(halves(*A), halves(*B), c, R_16F, R_32F, COMPUTE_32F, two, scalar(0.0)), *read(c, 4))
        print(gemm_ex(halves(*AT), halves(*B), c, R_16F, R_32F, COMPUTE_32F, one, scalar(0.0), T),
              *read(c, 4))
        half = halves(0, 0, 0, 1)
        half_one, half_half = scalar(1.0, "e"), scalar(0.5, "e")
        print(gemm_ex(halves(*A), halves(*B), half, R_16F, R_16F, COMPUTE_16F, half_half, half_one),
              *read(half, 4, "e"))
        bfloats = [on_device(b"".join(struct.pack("f", v)[2:] for v in m)) for m in (A, B)]
        print(gemm_ex(*bfloats, c, R_16BF, R_32F, COMPUTE_32F, one, one), *read(c, 4))
    """
    assert answers(script, shim_host, START) == [
        "0 13.0 16.0 24.0 30.0",
        "0 22.0 28.0 44.0 56.0",
        "0 11.0 14.0 22.0 28.0",
        "0 5.5 7.0 11.0 15.0",
        "0 22.0 28.0 44.0 56.0",
    ]


def test_batches_and_solves_take_strides_and_arrays_of_addresses_in_device_memory(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        a, b, c = floats(*A, *AT), floats(*B), floats(*[0] * 8)
        one, zero = scalar(1.0), scalar(0.0)
        print(blas.cublasSgemmStridedBatched(handle, N, N, 2, 2, 3, one, p(a), 2, q(6),
              p(b), 3, q(0), zero, p(c), 2, q(4), 2), *read(c, 8))
        arrays = [p(on_device(struct.pack("2Q", *pair))) for pair in
                  ((a + 24, a), (b, b), (c, c + 16))]
        print(blas.cublasSgemmBatched(handle, N, N, 2, 2, 3, one, arrays[0], 2, arrays[1], 3, zero, arrays[2],
                                      2, 2), *read(c, 8))
        print(blas.cublasGemmBatchedEx(handle, N, N, 2, 2, 3, one, arrays[0], R_32F, 2, arrays[1], R_32F, 3,
                                       one, arrays[2], R_32F, 2, 2, COMPUTE_32F, -1), *read(c, 8))
        h, k = halves(*A), halves(*B)
        print(blas.cublasGemmStridedBatchedEx(handle, N, N, 2, 2, 3, one, p(h), R_16F, 2,
              q(0), p(k), R_16F, 3, q(0), zero, p(c), R_32F, 2,
              q(4), 2, COMPUTE_32F, -1), *read(c, 8))
        lower = floats(2, 1, 0, 4)  # columns: [2 0; 1 4] X = [2 6; 9 11]
        x = floats(2, 9, 6, 11)
        arrays = [p(on_device(struct.pack("Q", at))) for at in (lower, x)]
        print(blas.cublasStrsmBatched(handle, 0, 0, N, 0, 2, 2, one, arrays[0], 2, arrays[1], 2, 1),
              *read(x, 4))
    """
    first, second = "11.0 14.0 22.0 28.0", "9.0 15.0 23.0 25.0"
    doubled = "18.0 30.0 46.0 50.0 22.0 28.0 44.0 56.0"
    assert answers(script, shim_host, START) == [
        f"0 {first} {second}",
        f"0 {second} {first}",
        f"0 {doubled}",
        f"0 {first} {first}",
        "0 1.0 2.0 3.0 2.0",
    ]


def test_a_product_in_a_captured_stream_runs_with_its_graph_and_reads_scalars_then(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        a, b, c, alpha = floats(*A), floats(*B), floats(0, 0, 0, 0), floats(1.0)
        graph, runs, kind = p(), p(), c_int()
        assert blas.cublasSetPointerMode_v2(handle, 1) == 0
        def product():
            return blas.cublasSgemm_v2(handle, N, N, 2, 2, 3, p(alpha), p(a), 2, p(b), 3,
                                       p(alpha), p(c), 2)
        assert cuda.cuStreamBeginCapture_v2(stream, 2) == 0
        print(product(), cuda.cuStreamEndCapture(stream, byref(graph)), *read(c, 4))
        node, count = p(), c_size_t(1)
        assert cuda.cuGraphGetNodes(graph, byref(node), byref(count)) == 0
        print(count.value, cuda.cuGraphNodeGetType(node, byref(kind)), kind.value)
        assert cuda.cuGraphInstantiateWithFlags(byref(runs), graph, ctypes.c_uint64(0)) == 0
        for value in (1.0, 2.0):
            content = struct.pack("f", value)
            assert cuda.cuMemcpyHtoD_v2(c_uint64(alpha), content, c_size_t(4)) == 0
            print(cuda.cuGraphLaunch(runs, stream), *read(c, 4))
    """
    assert answers(script, shim_host, START) == [
        "0 0 0.0 0.0 0.0 0.0",
        "1 0 0",
        "0 11.0 14.0 22.0 28.0",
        "0 44.0 56.0 88.0 112.0",
    ]


def test_what_no_product_is_made_of_is_refused_at_once_and_by_the_host_by_name(
    answers: Answers, start_shim_host: Callable[..., dict[str, str]]
) -> None:
    script = """
        one, zero = scalar(1.0), scalar(0.0)
        a, b, c = floats(*A), floats(*B), floats(0, 0, 0, 0)
        def sgemm(m=2, lda=2, transposed=N, alpha=one):
            return blas.cublasSgemm_v2(handle, transposed, N, m, 2, 3, alpha, p(a), lda, p(b), 3,
                                       zero, p(c), 2)
        print(sgemm(m=-1), sgemm(lda=1), sgemm(transposed=3), sgemm(alpha=None), sgemm(m=0), sgemm())
        print(gemm_ex(a, b, c, C_32F, R_32F, COMPUTE_32F, one, zero),
              gemm_ex(a, b, c, R_32F, R_32F, 99, one, zero),
              gemm_ex(a, b, c, R_32F, R_16F, COMPUTE_32F, one, zero))
        blas.cublasGetStatusString.restype = c_char_p
        print(blas.cublasGetStatusString(15).decode())
        print(blas.cublasDestroy_v2(handle), blas.cublasDestroy_v2(None), blas.cublasCreate_v2(None),
              read(c, 4))
    """
    lines = answers(script, start_shim_host("--device", "soft"), START)
    assert lines[:2] == ["7 7 7 7 0 0", "15 15 15"]
    assert "not supported" in lines[2]
    assert lines[3] == "0 1 7 (11.0, 14.0, 22.0, 28.0)"


def test_a_product_beyond_its_memory_is_a_fault_and_the_host_goes_on(
    answers: Answers, shim_host: dict[str, str]
) -> None:
    script = """
        one, zero = scalar(1.0), scalar(0.0)
        a, b, c = floats(*A), floats(*B), floats(0, 0, 0, 0)
        print(blas.cublasSgemm_v2(handle, N, N, 2, 2, 3, one, p(a + OFFSET), 2, p(b), 3, zero,
                                  p(c), 2),
              read(c, 4))
    """
    assert answers(script.replace("OFFSET", "4"), shim_host, START) == ["0 700"]
    assert answers(script.replace("OFFSET", "2"), shim_host, START) == ["0 700"]
    assert answers(script.replace("OFFSET", "0"), shim_host, START) == ["0 (11.0, 14.0, 22.0, 28.0)"]


@pytest.mark.parametrize("major", ["11", "12"])
def test_without_a_host_products_are_refused(answers: Answers, major: str) -> None:
    script = """
        ctypes.CDLL("libcublasLt.so.MAJOR")
        blas, handle, number = ctypes.CDLL("libcublas.so.MAJOR"), c_void_p(), ctypes.c_float(1)
        print(blas.cublasCreate_v2(byref(handle)), blas.cublasSetMathMode(handle, 1))
        one = byref(number)
        print(blas.cublasSgemm_v2(handle, 0, 0, 1, 1, 1, one, None, 1, None, 1, one, None, 1))
    """
    assert answers(script.replace("MAJOR", major)) == ["0 0", "1"]
