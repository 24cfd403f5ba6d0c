"""One case on two backends."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.real.ggml_ops.case import Build, Case, building, decoded
from tests.real.ggml_ops.library import CPU, GPU, Ggml, Tensor

LARGEST = float(np.finfo(np.float32).max)
"""ggml's backends hide with this or with infinity, as they like"""


@dataclass(frozen=True)
class Outcome:
    """`error` is the normalised mean square error; None where a backend does not do the operation."""

    case: Case
    error: float | None
    text: str = ""

    @property
    def failed(self) -> bool:
        return self.error is not None and not self.error <= self.case.tolerance


class Backends:
    """A GPU's backend and the CPU's, in this process."""

    def __init__(self, ggml: Ggml, threads: int = 2) -> None:
        self._ggml = ggml
        ggml.load_backend(ggml.find("-cuda"))
        ggml.load_backend(ggml.find_cpu())
        self._gpu, self._cpu = (
            ggml.call("ggml_backend_dev_init", ggml.device(kind), None) for kind in (GPU, CPU)
        )
        registry = ggml.call("ggml_backend_dev_backend_reg", ggml.device(CPU))
        address = ggml.call("ggml_backend_reg_get_proc_address", registry, b"ggml_backend_set_n_threads")
        if address:
            ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)(address)(self._cpu, threads)

    def compare(self, case: Case) -> Outcome:
        """Compute the case on both and say how far they are apart."""
        with building(self._ggml, case) as (build, output):
            for name, backend in (("CPU", self._cpu), ("CUDA", self._gpu)):
                missing = self._unsupported(build, output, backend)
                if missing:
                    return Outcome(case, None, f"{name} does not support {missing}")
        gpu = self._compute(case, self._gpu)
        return Outcome(case, error_between(gpu, self._compute(case, self._cpu), case.any_order))

    def _graph(self, build: Build, output: Tensor) -> int:
        graph = self._ggml.call("ggml_new_graph", build.context)
        self._ggml.call("ggml_build_forward_expand", ctypes.c_void_p(graph), output, returns=None)
        return int(graph)

    def _unsupported(self, build: Build, output: Tensor, backend: int) -> str:
        """The first operation of the graph that the backend does not do."""
        graph = self._graph(build, output)
        for index in range(self._ggml.call("ggml_graph_n_nodes", graph, returns=ctypes.c_int)):
            node = self._ggml.call("ggml_graph_node", graph, index)
            if not self._ggml.call("ggml_backend_supports_op", backend, node, returns=ctypes.c_bool):
                return str(self._ggml.call("ggml_op_desc", node, returns=ctypes.c_char_p).decode())
        return ""

    def _compute(self, case: Case, backend: int) -> npt.NDArray[np.float64]:
        """The output's elements, by rows."""
        call = self._ggml.call
        with building(self._ggml, case) as (build, output):
            graph = self._graph(build, output)
            buffer = call("ggml_backend_alloc_ctx_tensors", build.context, backend)
            if not buffer:
                raise MemoryError(f"no memory for {case}")
            try:
                for tensor, content in build.inputs:
                    call("ggml_backend_tensor_set", tensor, content, 0, len(content), returns=None)
                status = call("ggml_backend_graph_compute", backend, graph, returns=ctypes.c_int)
                if status:
                    raise RuntimeError(f"ggml_backend_graph_compute returned {status}")
                size = call("ggml_nbytes", output, returns=ctypes.c_size_t)
                content = ctypes.create_string_buffer(size)
                call("ggml_backend_tensor_get", output, content, 0, size, returns=None)
                return decoded(output.type, content.raw).reshape(-1, output.ne[0])
            finally:
                call("ggml_backend_buffer_free", buffer, returns=None)


def error_between(
    ours: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], any_order: bool
) -> float:
    """Normalised mean square error; infinite where one is not a number and the other is."""
    if any_order:
        ours, reference = np.sort(ours), np.sort(reference)
    ours, reference = (
        np.where(np.abs(side) >= LARGEST, np.copysign(np.inf, side), side) for side in (ours, reference)
    )
    if not np.array_equal(np.isfinite(ours), np.isfinite(reference)):
        return float("inf")
    special = ~np.isfinite(reference)
    if not np.array_equal(ours[special], reference[special], equal_nan=True):
        return float("inf")
    difference = np.sum((ours[~special] - reference[~special]) ** 2)
    size = np.sum(reference[~special] ** 2)
    return float(difference / size) if size else float(difference)
