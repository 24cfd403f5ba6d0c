"""Coverage: who asked, how, and what became of it; the worst first."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from target_libraries import CUBLAS, CUDART, GGML, MODULES

from sessions.blobs import Item
from sessions.format import CallFlag, ItemKind, Pseudo
from sessions.testing import SessionBuilder, resolved_item, string_item
from workbench.views.coverage import Coverage, CoverageRow


def ask(
    builder: SessionBuilder, name: str, version: int, answer: int = 0, flags: int = 0, caller: int = CUDART
) -> None:
    """cuGetProcAddress_v2 as a runtime calls it; answer 0 is none."""
    items: list[Item] = [string_item(0, name)]
    if answer:
        items.append(resolved_item(answer, 0x5000 + answer))
    builder.call(
        "cuGetProcAddress_v2",
        args=(1, 2, version, flags, 0),
        items=items,
        result=0 if answer else 500,
        caller=caller + 0x10,
    )


def covered(builder: SessionBuilder) -> dict[str, CoverageRow]:
    coverage = Coverage()
    coverage.update(builder.open())
    return {row.name: row for row in coverage.rows()}


def test_a_name_is_known_by_the_export_that_should_answer(
    builder: SessionBuilder, identify: Callable[[str], int]
) -> None:
    ask(builder, "cuMemAlloc", 3020, identify("cuMemAlloc_v2"))
    builder.call("cuMemAlloc_v2", args=(1, 2), result=2)
    builder.call("cuMemAlloc_v2", args=(1, 2), result=0)
    row = covered(builder)["cuMemAlloc_v2"]
    assert row.answered and row.calls == 2 and row.last_result == "CUDA_SUCCESS" and row.effect == ""
    (asked,) = row.asked
    assert (asked.by, asked.how, asked.version, asked.answered) == (
        "libcudart.so.13",
        "proc-address",
        3020,
        "cuMemAlloc_v2",
    )


def test_an_answer_of_another_version_is_shown(
    builder: SessionBuilder, identify: Callable[[str], int]
) -> None:
    ask(builder, "cuMemGetInfo", 3020, identify("cuMemGetInfo"))
    assert covered(builder)["cuMemGetInfo_v2"].asked[0].answered == "cuMemGetInfo"


def test_the_fatal_name_comes_first_and_harmless_ones_last(
    builder: SessionBuilder, model: dict[str, Any], identify: Callable[[str], int]
) -> None:
    for name, rungs in model["ladders"].items():
        if name in model["absence"]:
            for rung in rungs:
                missing = name not in ("cuInit", "cuDeviceGet")
                answer = 0 if missing else identify(rung["export"])
                if rung["version"] <= 13000:
                    ask(builder, name, rung["version"], answer, 2 if rung["per_thread"] else 0)
    coverage = Coverage()
    coverage.update(builder.open())
    rows = coverage.rows()
    effects = [row.effect for row in rows if not row.answered]
    order = ["fatal-at-init", "fatal-later", "unknown", "harmless"]
    assert effects == sorted(effects, key=order.index)
    fatal = {row.name for row in rows if row.effect == "fatal-at-init"}
    assert {"cuGetExportTable", "cuDeviceGetCount", "cuDeviceTotalMem_v2", "cuDriverGetVersion"} <= fatal
    assert "cuInit" not in fatal and len(fatal) <= 12
    assert effects.count("harmless") > 250


def test_the_missing_export_table_names_asker_error_and_call(builder: SessionBuilder) -> None:
    ask(builder, "cuCtxGetDevice", 13000)
    ask(builder, "cuGetExportTable", 3000)
    row = covered(builder)["cuGetExportTable"]
    assert (row.answered, row.effect, row.error, row.first_call) == (False, "fatal-at-init", 36, 1)
    assert row.asked[0].by == "libcudart.so.13"


def test_what_a_name_means_depends_on_the_version_of_the_runtime(builder: SessionBuilder) -> None:
    ask(builder, "cuKernelGetParamInfo", 12040)  # the newest it asks for: a 12.4
    ask(builder, "cuCtxGetDevice", 2000)
    assert covered(builder)["cuCtxGetDevice"].effect == "fatal-later"
    ask(builder, "cuCtxGetDevice", 13000)  # now it is a 13.0
    assert covered(builder)["cuCtxGetDevice_v2"].effect == "fatal-later"
    assert covered(builder)["cuCtxGetDevice"].effect == "unknown"


def test_a_runtime_that_nobody_tried_makes_it_unknown(builder: SessionBuilder) -> None:
    ask(builder, "cuSomethingNew", 14010)
    ask(builder, "cuGetExportTable", 3000)
    row = covered(builder)["cuGetExportTable"]
    assert row.effect == "unknown"
    assert "14.1" in row.reason


def test_a_runtime_without_proc_address_looks_the_names_up_by_dlsym(builder: SessionBuilder) -> None:
    for name in ("cuGetProcAddress_v2", "cuGetProcAddress", "cuDeviceTotalMem_v2", "cuGetExportTable"):
        builder.call(Pseudo.DLSYM, items=[string_item(0, name)], result=0, caller=CUDART + 1)
    rows = covered(builder)
    assert rows["cuDeviceTotalMem_v2"].effect == "fatal-at-init"
    assert rows["cuGetExportTable"].effect == "fatal-at-init"
    assert rows["cuGetProcAddress_v2"].effect == "harmless"


def test_lookups_of_other_libraries_and_of_other_names(builder: SessionBuilder) -> None:
    builder.call(Pseudo.DLSYM, items=[string_item(0, "cuTensorMapEncodeTiled")], result=0, caller=CUBLAS + 1)
    builder.call(Pseudo.DLSYM, items=[string_item(0, "malloc")], result=1, caller=CUBLAS + 1)
    rows = covered(builder)
    assert rows["cuTensorMapEncodeTiled"].effect == "unknown"
    assert "libcublasLt.so.13" in rows["cuTensorMapEncodeTiled"].reason
    assert "malloc" not in rows


def test_a_name_bound_at_link_time_is_fatal_when_missing(builder: SessionBuilder) -> None:
    link = int(CallFlag.LINK_TIME)
    builder.call(Pseudo.DLSYM, items=[string_item(0, "cuMemCreate")], flags=link, caller=GGML + 1)
    row = covered(builder)["cuMemCreate"]
    assert (row.asked[0].how, row.effect) == ("link", "fatal-at-init")


def test_a_refused_table_is_a_row_of_its_own(builder: SessionBuilder) -> None:
    for text, result in (
        ("c693336e-1121-df11-a8c3-68f355d89593", 500),
        ("f8cff951-2146-8b4e-b9e2-fb469e7c0dd9", 500),
    ):
        item = Item(ItemKind.TABLE, 1, uuid.UUID(text).bytes, 16)
        builder.call("cuGetExportTable", items=[item], result=result, caller=CUDART + 1)
    rows = covered(builder)
    assert rows["table ContextLocalStorage c693336e"].effect == "fatal-at-init"
    assert rows["table Unknown-f8cff951 f8cff951"].effect == "harmless"


def test_the_shim_s_calls_to_itself_are_not_coverage(builder: SessionBuilder) -> None:
    builder.call("cuInit", args=(0,), flags=int(CallFlag.INTERNAL))
    assert "cuInit" not in covered(builder)


def test_performed_is_known_of_our_own_shim_only(builder: SessionBuilder) -> None:
    builder.call("cuGLInit", result=801)
    assert covered(builder)["cuGLInit"].performed is None
    builder.event("run", run=2, reason="edit", command=["target"], shim="/s", ours=True)
    builder.process(["target"], run=2, modules=MODULES)
    builder.call("cuGLInit", process=1, result=801)
    assert covered(builder)["cuGLInit"].performed is False


def test_only_the_newest_run_counts_unless_another_is_named(builder: SessionBuilder) -> None:
    builder.call("cuInit", args=(0,))
    session = builder.open()
    coverage = Coverage()
    coverage.update(session)
    assert coverage.rows()[0].calls == 1
    builder.process(["target"], run=2)
    builder.call("cuDriverGetVersion", process=1)
    builder.publish()
    session.refresh()
    assert coverage.update(session)
    assert [row.name for row in coverage.rows()] == ["cuDriverGetVersion"]
    first = Coverage(run=1)
    first.update(session)
    assert [row.name for row in first.rows()] == ["cuInit"]


def test_rows_that_come_later_are_added_to_those_before(builder: SessionBuilder) -> None:
    builder.call("cuInit", args=(0,))
    session = builder.open()
    coverage = Coverage()
    coverage.update(session)
    assert not coverage.update(session)
    builder.call("cuInit", args=(0,), result=3)
    builder.publish()
    session.refresh()
    coverage.update(session)
    assert (coverage.rows()[0].calls, coverage.rows()[0].last_result) == (2, "CUDA_ERROR_NOT_INITIALIZED")


def test_a_library_that_becomes_known_later_is_named_then(builder: SessionBuilder) -> None:
    builder.call(Pseudo.DLSYM, items=[string_item(0, "cuInit")], result=1, caller=0x77770001)
    session = builder.open()
    coverage = Coverage()
    coverage.update(session)
    assert coverage.rows()[0].asked[0].by == "an unknown library"
    late = [*MODULES, ("/opt/libs/late.so", 0x77770000, 0x77780000)]
    builder.event("modules", index=0, modules=[list(module) for module in late])
    builder.publish()
    session.refresh()
    assert coverage.update(session)
    assert coverage.rows()[0].asked[0].by == "late.so"
