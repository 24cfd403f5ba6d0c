"""cuBLAS: what llama.cpp links to, under the versions it links to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerSymSection

from workbench import native

#: What libggml-cuda.so of both consumers imports (readelf --dyn-syms).
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
    assert found == dict.fromkeys(IMPORTED, f"libcublas.so.{major}")


@pytest.mark.parametrize("major", [12, 13])
def test_handles_are_kept_and_products_are_refused(answers: Callable[..., list[str]], major: int) -> None:
    script = f"""
        ctypes.CDLL("libcublasLt.so.{major}")
        blas = ctypes.CDLL("libcublas.so.{major}")
        blas.cublasGetStatusString.restype = c_char_p
        handle = c_void_p()
        print(blas.cublasCreate_v2(byref(handle)), blas.cublasSetStream_v2(handle, None),
              blas.cublasSetMathMode(handle, 1), blas.cublasSgemm_v2(handle), blas.cublasGemmEx(handle))
        print(blas.cublasGetStatusString(15).decode())
        print(blas.cublasDestroy_v2(handle), blas.cublasDestroy_v2(None), blas.cublasCreate_v2(None))
    """
    lines = answers(script)
    assert lines[0] == "0 0 0 15 15" and "not supported" in lines[1] and lines[2] == "0 1 7"
