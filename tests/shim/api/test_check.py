"""The check that model and exports agree, and the errors of the annotations."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from shim.api.annotate import AnnotationError, load_annotations
from shim.api.check import disagreements, exported_names
from shim.api.model import Function, Model


def model_of(*names: str) -> Model:
    functions = tuple(
        Function(number, name, "cuda", name, 2000, False, (13050,), "CUresult", (), False)
        for number, name in enumerate(names, 1)
    )
    return Model("", (), functions, {}, {}, {}, {}, {}, frozenset({"cuSubgridCreate"}), {})


def library_with(tmp_path: Path, *names: str) -> Path:
    source = tmp_path / "library.c"
    source.write_text("".join(f"int {name}(void) {{ return 801; }}\n" for name in names))
    library = tmp_path / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return library


def test_a_library_that_exports_the_model_agrees(tmp_path: Path) -> None:
    library = library_with(tmp_path, "cuInit", "cuDeviceGet", "helper")
    assert disagreements(model_of("cuInit", "cuDeviceGet"), "cuda", exported_names(library)) == []


def test_an_export_without_a_row_and_a_row_without_an_export_are_named(tmp_path: Path) -> None:
    library = library_with(tmp_path, "cuInit", "cuMisspelt", "cuSubgridCreate")
    assert disagreements(model_of("cuInit", "cuDeviceGet"), "cuda", exported_names(library)) == [
        "cuMisspelt: exported, but the model has no row for it",
        "cuDeviceGet: in the model, but not exported",
    ]


def test_a_file_that_is_no_library_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("no ELF here")
    with pytest.raises(ValueError, match="not a shared library"):
        exported_names(path)


def test_an_annotation_file_with_an_error_is_named(tmp_path: Path) -> None:
    (tmp_path / "pointers.toml").write_text("[[rule]]\nfunctions = [")
    with pytest.raises(AnnotationError, match=r"pointers\.toml"):
        load_annotations(tmp_path)
