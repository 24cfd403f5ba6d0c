"""What libcuda.so.1 exports: every name of the model, and nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile

from workbench import native


def exports(library: Path) -> set[str]:
    with library.open("rb") as file:
        symbols = ELFFile(file).get_section_by_name(".dynsym").iter_symbols()
        return {symbol.name for symbol in symbols if symbol["st_shndx"] != "SHN_UNDEF" and symbol.name}


def soname(library: Path) -> str:
    with library.open("rb") as file:
        tags = ELFFile(file).get_section_by_name(".dynamic").iter_tags("DT_SONAME")
        return str(next(tags).soname)


@pytest.mark.parametrize(
    ("library", "name", "more"),
    [("cuda", "libcuda.so.1", set()), ("nvml", "libnvidia-ml.so.1", {"nvmlInternalGetExportTable"})],
)
def test_every_name_of_the_model_is_exported_and_nothing_else(
    native_paths: native.NativePaths, model: dict[str, Any], library: str, name: str, more: set[str]
) -> None:
    names = {row["name"] for row in model["functions"] if row["library"] == library}
    assert exports(native_paths.lib / name) == names | more
    assert soname(native_paths.lib / name) == name


def test_what_is_not_performed_says_so(model: dict[str, Any], answers: Callable[..., list[str]]) -> None:
    unperformed = [f["name"] for f in model["functions"] if not f["performed"] and f["library"] == "cuda"]
    assert "cuMemAllocManaged" in unperformed
    script = f"""
        zeros = [c_void_p()] * 12
        for name in {unperformed!r}:
            print(name, getattr(cuda, name)(*zeros))
    """
    assert {line.split()[1] for line in answers(script)} == {"801"}


def test_the_errors_have_the_names_of_the_model_and_a_text(
    model: dict[str, Any], answers: Callable[..., list[str]]
) -> None:
    errors = {name: code for name, code in model["enums"]["CUresult"].items()}
    script = f"""
        for name, code in {errors!r}.items():
            text = c_char_p()
            assert cuda.cuGetErrorName(code, byref(text)) == 0 and text.value.decode() == name, name
            assert cuda.cuGetErrorString(code, byref(text)) == 0 and text.value, name
        assert cuda.cuGetErrorName(12345, byref(text)) == 1 and text.value is None
        print("all of them")
    """
    assert answers(script) == ["all of them"]


def test_every_rung_of_the_ladders_is_answered_with_its_export(
    model: dict[str, Any], answers: Callable[..., list[str]]
) -> None:
    script = f"""
        wrong = []
        for name, ladder in {model["ladders"]!r}.items():
            for rung in ladder:
                pfn, status = c_void_p(), c_int()
                flags = 2 if rung["per_thread"] else 0
                result = cuda.cuGetProcAddress_v2(
                    name.encode(), byref(pfn), rung["version"], c_uint64(flags), byref(status)
                )
                export = ctypes.cast(getattr(cuda, rung["export"]), c_void_p)
                if (result, status.value, pfn.value) != (0, 0, export.value):
                    wrong.append((name, rung))
        print(wrong)
    """
    assert answers(script) == ["[]"]


def test_loading_the_library_does_nothing(
    run_python: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = run_python("print('alive')")
    assert (done.stdout, done.stderr) == ("alive\n", "")
