"""Which libraries processes really mapped, and a warning for every other than the run's."""

from __future__ import annotations

from sessions.testing import SessionBuilder
from workbench.views.mapped import wrong_libraries
from workbench.views.timeline_text import rows
from workbench.views.timeline_tracker import timeline_of

STORE = "/store/builds/81/lib/libcuda.so.1"
OURS = "/somewhere/s.shimsession/runs/2/tap"


def library(path: str) -> dict[str, str]:
    return {"path": path, "soname": "libcuda.so.1"}


def process(
    builder: SessionBuilder, *paths: str, search: str = f"/ollama:{OURS}", cwd: str = "/", **more: str
) -> None:
    env = {"LD_LIBRARY_PATH": search, **more}
    beside = [{"path": "/ollama/cuda_v13/libggml-cuda.so", "soname": ""}]
    builder.process(["llama-server"], pid=7000, run=2, env=env, cwd=cwd, maps=[*map(library, paths), *beside])


def told(builder: SessionBuilder) -> list[str]:
    builder.event("run", run=2, libraries={"libcuda.so.1": STORE}, command=["llama-server"])
    return [wrong.text for wrong in wrong_libraries(builder.open(), 2)]


def test_the_tap_and_the_kept_build_behind_it_are_right(builder: SessionBuilder) -> None:
    process(builder, f"{OURS}/libcuda.so.1", STORE)
    assert told(builder) == []


def test_what_stands_behind_the_shim_beside_it_is_the_shims_own_affair(builder: SessionBuilder) -> None:
    process(builder, f"{OURS}/libcuda.so.1", STORE, "/usr/lib/x86_64-linux-gnu/libcuda.so.1")
    assert told(builder) == []


def test_another_one_is_named_with_the_way_the_loader_came_to_it(builder: SessionBuilder) -> None:
    process(builder, "/ollama/libcuda.so.1")
    process(builder, "/ollama/cuda_v13/libcuda.so.1", search=OURS)
    process(builder, "/work/libcuda.so.1", cwd="/work")
    process(builder, "/usr/lib/libcuda.so.1", search="/usr/local/lib")
    process(builder, "/opt/libcuda.so.1", LD_PRELOAD="/opt/libcuda.so.1")
    process(builder, "/elsewhere/libcuda.so.1")
    reasons = [text.split(f"not {STORE}: ")[1] for text in told(builder)]
    assert reasons == [
        "/ollama comes before ours in LD_LIBRARY_PATH",
        "it lies beside libggml-cuda.so, whose RPATH or RUNPATH leads there",
        "it lies in the current directory, which an empty entry of a search path names",
        "our LD_LIBRARY_PATH was dropped on the way to this process",
        "it stands in LD_PRELOAD",
        "it was opened by its path, or by an RPATH or RUNPATH",
    ]


def test_the_timeline_says_it_on_top(builder: SessionBuilder) -> None:
    process(builder, "/ollama/libcuda.so.1")
    told(builder)
    shown = rows(timeline_of(builder.open(), 2), 80)
    assert shown[1].text.startswith("WARNING process 7000 mapped /ollama/libcuda.so.1 as libcuda.so.1")


def test_what_a_process_loads_under_other_names_is_its_own_affair(builder: SessionBuilder) -> None:
    env = {"LD_LIBRARY_PATH": OURS}
    maps = [{"path": "/x/libcudart.so.13", "soname": "libcudart.so.13"}]
    builder.process(["x"], run=2, env=env, maps=maps)
    assert told(builder) == []
