"""What further operations the CUDA backend has: sorting, reductions, convolutions, recurrences, training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.real.ggml_ops.case import Array, Build, Case, case, distinct, integers, uniform
from tests.real.ggml_ops.library import TYPES, Tensor
from tests.real.ggml_ops.model_cases import MATRIX

MAXIMUM, AVERAGE = 0, 1
"""kinds of pooling"""
ASCENDING, DESCENDING = 0, 1


def of_distinct(b: Build, name: str, ne: tuple[int, ...], *arguments: Any) -> Tensor:
    """Of numbers among which there are no ties, whose order would be anybody's choice."""
    return b.op(name, b.new("f32", *ne, values=distinct(ne[0])), *arguments)


def sorting() -> Iterator[Case]:
    for columns in (1, 7, 16, 100, 1000, 1024, 2048, 5000):
        for rows in (1, 5):
            ne = (columns, rows)
            every = columns in (16, 100, 2048) or (columns == 5000 and rows == 1)
            for order in (ASCENDING, DESCENDING):
                name = f"argsort {columns}x{rows} {'ascending' if order == ASCENDING else 'descending'}"
                yield case("sort", name, of_distinct, "argsort", ne, order, every=every, tolerance=0.0)
            yield case(
                "sort", f"argmax {columns}x{rows}", of_distinct, "argmax", ne, every=every, tolerance=0.0
            )
            if columns >= 16:
                yield case(
                    "sort", f"top_k {columns}x{rows}", of_distinct, "top_k", ne, 10,
                    every=every, tolerance=0.0, any_order=True,
                )  # fmt: skip


def reduced(b: Build, name: str, ne: tuple[int, ...]) -> Tensor:
    return b.op(name, b.new("f32", *ne))


def count_equal(b: Build, count: int) -> Tensor:
    return b.op(
        "count_equal", b.new("i32", count, 5, values=integers(3)), b.new("i32", count, 5, values=integers(3))
    )


def sparse_experts(b: Build, experts: int, n: int) -> Tensor:
    """The choice of experts as llama.cpp builds it, which ggml fuses: weights of the best, summing to one."""
    share = b.op("soft_max", b.new("f32", experts, n, values=distinct_logits))
    best = b.op("argsort_top_k", share, 4)
    weights = b.op("get_rows", b.op("reshape_3d", share, 1, experts, n), best)
    weights = b.op("reshape_2d", weights, 4, n)
    return b.op("div", weights, b.op("sum_rows", weights))


def distinct_logits(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return distinct(shape[-1])(random, shape) * 0.25


def reductions() -> Iterator[Case]:
    for name in ("sum_rows", "mean", "cumsum", "sum"):
        for ne in ((33, 5, 3, 2), (1024, 9), (5000, 2)):
            bound = 1e-6 if name in ("sum", "cumsum") else 1e-7
            yield case("reduction", f"{name} {ne}", reduced, name, ne, tolerance=bound)
    for count in (100, 3000):
        yield case("reduction", f"count_equal {count}", count_equal, count, tolerance=0.0)
    for experts in (8, 64, 128):
        for n in (1, 9):
            yield case("reduction", f"choice of 4 among {experts} n={n}", sparse_experts, experts, n)


# Images and sounds.


def im2col(b: Build, kind: str, stride: int, padding: int, dilation: int) -> Tensor:
    image, kernel = b.new("f32", 20, 18, 3, 2), b.new(kind, 3, 3, 3, 4)
    words = (stride, stride, padding, padding, dilation, dilation, True, TYPES[kind])
    return b.op("im2col", kernel, image, *words)


def convolution(b: Build, name: str, kind: str, *words: int) -> Tensor:
    channels = 1 if name == "conv_2d_dw_direct" else 6
    return b.op(
        name, b.new(kind, 3, 3, channels, 6 if channels == 1 else 8), b.new("f32", 19, 17, 6, 2), *words
    )


def transposed_2d(b: Build, stride: int) -> Tensor:
    return b.op("conv_transpose_2d_p0", b.new("f16", 3, 3, 4, 6), b.new("f32", 9, 7, 6, 2), stride)


def transposed_1d(b: Build, stride: int) -> Tensor:
    return b.op("conv_transpose_1d", b.new("f32", 5, 4, 6), b.new("f32", 20, 6), stride, 0, 1)


def pool(b: Build, kind: int, size: int, stride: int, padding: int) -> Tensor:
    image = b.new("f32", 20, 18, 3, 2)
    return b.op("pool_2d", image, kind, size, size, stride, stride, float(padding), float(padding))


def resized(b: Build, name: str, *words: Any) -> Tensor:
    return b.op(name, b.new("f32", 12, 10, 3, 2), *words)


def images() -> Iterator[Case]:
    for kind in ("f32", "f16"):
        for stride, padding, dilation in ((1, 0, 1), (2, 1, 1), (1, 3, 2)):
            words = (stride, padding, dilation)
            bound = 1e-7 if kind == "f32" else 1e-6
            yield case("image", f"im2col {kind} {words}", im2col, kind, *words, tolerance=bound)
            steps = tuple(value for value in words for _ in range(2))
            for name in ("conv_2d", "conv_2d_direct", "conv_2d_dw_direct"):
                arguments = (name, kind, *steps)
                yield case("image", f"{name} {kind} {words}", convolution, *arguments, tolerance=MATRIX)
    for stride in (1, 2, 3):
        yield case("image", f"conv_transpose_2d {stride}", transposed_2d, stride, tolerance=MATRIX)
        yield case("image", f"conv_transpose_1d {stride}", transposed_1d, stride)
    for word, kind in (("maximum", MAXIMUM), ("average", AVERAGE)):
        for words in ((1, 1, 0), (3, 2, 1)):
            yield case("image", f"pool_2d {word} {words}", pool, kind, *words)
    for mode in (0, 1, 2):
        yield case("image", f"upscale mode {mode}", resized, "upscale", 2, mode)
        yield case("image", f"interpolate mode {mode}", resized, "interpolate", 17, 9, 3, 2, mode)
    yield case("image", "pad", resized, "pad", 1, 2, 3, 0)
    yield case("image", "pad_reflect_1d", resized, "pad_reflect_1d", 3, 2)
    yield case("image", "roll", resized, "roll", 3, -2, 1, 0)


# Recurrences.


def ssm_conv(b: Build, inner: int, n: int) -> Tensor:
    return b.op("ssm_conv", b.new("f32", 4 - 1 + n, inner, 2), b.new("f32", 4, inner))


def ssm_scan(b: Build, state: int, size: int, heads: int, groups: int, n: int) -> Tensor:
    sequences = 2
    words = [
        b.new("f32", state, size, heads, sequences),
        b.new("f32", size, heads, n, sequences),
        b.new("f32", heads, n, sequences),
        b.new("f32", state if size == 1 else 1, heads, values=uniform(-1, 0)),
        b.new("f32", state, groups, n, sequences),
        b.new("f32", state, groups, n, sequences),
        b.new("i32", sequences, values=distinct(sequences)),
    ]
    return b.op("ssm_scan", *words, 1)


def rwkv(b: Build, version: int, n: int) -> Tensor:
    size, heads, sequences = 64, 2, 1
    state = b.new("f32", size * size * heads, sequences)
    if version == 6:
        k, v, r = (b.new("f32", size, heads, n) for _ in range(3))
        first, decay = b.new("f32", size, heads), b.new("f32", size, heads, n, values=uniform(0, 1))
        return b.op("rwkv_wkv6", k, v, r, first, decay, state)
    r, k, v = (b.new("f32", size, heads, n) for _ in range(3))
    w = b.new("f32", size, heads, n, values=uniform(0, 1))
    a, c = (b.new("f32", size, heads, n, values=uniform(-0.1, 0.1)) for _ in range(2))
    return b.op("rwkv_wkv7", r, w, k, v, a, c, state)


def gated_linear(b: Build, n: int) -> Tensor:
    size, heads = 64, 2
    k, v, q = (b.new("f32", size, heads, n) for _ in range(3))
    gates = b.new("f32", size, heads, n, values=uniform(0, 1))
    return b.op("gated_linear_attn", k, v, q, gates, b.new("f32", size * size * heads, 1), 0.125)


def gated_delta(b: Build, size: int, n: int) -> Tensor:
    heads = 2
    q, k, v = (b.new("f32", size, heads, n, 1) for _ in range(3))
    gates = b.new("f32", 1, heads, n, 1, values=uniform(-2, 0))
    beta = b.new("f32", 1, heads, n, 1, values=uniform(0, 1))
    q, k = (b.op("l2_norm", part, 1e-6) for part in (q, k))
    return b.op("gated_delta_net", q, k, v, gates, beta, b.new("f32", size, size, heads, 1), 1)


def recurrences() -> Iterator[Case]:
    for n in (1, 7, 33):
        yield case("recurrence", f"ssm_conv n={n}", ssm_conv, 128, n)
        yield case("recurrence", f"ssm_scan of one channel a head n={n}", ssm_scan, 16, 1, 128, 1, n)
        yield case("recurrence", f"ssm_scan of 64 n={n}", ssm_scan, 128, 64, 4, 2, n, tolerance=1e-6)
        for version in (6, 7):
            yield case("recurrence", f"rwkv{version} n={n}", rwkv, version, n, tolerance=1e-6)
        yield case("recurrence", f"gated_linear_attn n={n}", gated_linear, n, tolerance=1e-6)
        for size in (64, 128):
            yield case("recurrence", f"gated_delta_net {size} n={n}", gated_delta, size, n, tolerance=1e-6)


# What is left: triangles, outer products, losses and optimisers.


def triangular(b: Build, name: str, *words: Any) -> Tensor:
    return b.op(name, b.new("f32", 37, 37, 3), *words)


def dominant(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Lower triangles far from singular."""
    return np.tril(random.uniform(-1, 1, shape)) / shape[-1] + np.eye(shape[-1])


def solve(b: Build, size: int, columns: int) -> Tensor:
    left = b.new("f32", size, size, 2, 3, values=dominant)
    return b.op("solve_tri", left, b.new("f32", columns, size, 2, 3), True, True, False)


def outer(b: Build, kind: str, columns: int) -> Tensor:
    return b.op("out_prod", b.new(kind, 64, 33), b.new("f32", columns, 33))


def add_id(b: Build, n: int) -> Tensor:
    return b.op("add_id", b.new("f32", 64, 4, n), b.new("f32", 64, 8), b.new("i32", 4, n, values=distinct(8)))


def written(b: Build, name: str) -> Tensor:
    whole, part = b.new("f32", 40, 9, 3), b.new("f32", 12, 5, 3)
    return b.op(name, whole, part, whole.nb[1], whole.nb[2], whole.nb[3], 7 * 4)


def timestep(b: Build, size: int) -> Tensor:
    return b.op("timestep_embedding", b.new("f32", 5, values=uniform(0, 1000)), size, 10000)


def loss(b: Build) -> Tensor:
    return b.op("cross_entropy_loss", b.new("f32", 100, 9), b.op("soft_max", b.new("f32", 100, 9)))


def back(b: Build, name: str, *words: Any) -> Tensor:
    return b.op(name, b.new("f32", 100, 9), b.new("f32", 100, 9), *words)


def others() -> Iterator[Case]:
    for name, words in (("tri", (0,)), ("tri", (3,)), ("diag_mask_inf", (5,)), ("fill", (2.5,))):
        yield case("other", f"{name} {words[0]}", triangular, name, *words)
    for size, columns in ((11, 5), (64, 64), (100, 41), (128, 32), (64, 200)):
        yield case("other", f"solve_tri {size} x{columns}", solve, size, columns, tolerance=1e-6)
    for kind in ("f32", "q8_0"):
        for columns in (1, 9, 64):
            yield case("other", f"out_prod {kind} {columns}", outer, kind, columns, tolerance=MATRIX)
    for name in ("acc", "set"):
        yield case("other", name, written, name)
    for n in (1, 9):
        yield case("other", f"add_id n={n}", add_id, n)
    yield case("other", "timestep_embedding", timestep, 32)
    yield case("other", "cross_entropy_loss", loss, tolerance=1e-6)
    yield case("other", "rms_norm_back", back, "rms_norm_back", 1e-6)
    yield case("other", "silu_back", back, "silu_back")
    yield case("other", "soft_max_ext_back", back, "soft_max_ext_back", 0.5, 0.0)


GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "sort": sorting, "reduction": reductions, "image": images, "recurrence": recurrences, "other": others,
}  # fmt: skip
