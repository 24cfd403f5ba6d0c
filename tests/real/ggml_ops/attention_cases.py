"""Positions and attention, fused and not, of llama, qwen2 and gemma3 architectures."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator

from tests.real.ggml_ops.case import Build, Case, case, causal, integers, uniform
from tests.real.ggml_ops.library import Tensor

NORMAL, NEOX, MROPE, IMROPE = 0, 2, 8, 40
"""modes of rotary position embedding"""
PREC_F32 = 10
ATTENTION, SOFT_MAX = 5e-4, 1e-6
"""ggml's own bounds"""


# Rotary positions.


def rope(b: Build, kind: str, mode: int, size: int, dims: int, n: int, factors: bool, scaled: bool) -> Tensor:
    tokens = b.new(kind, size, 3, n)
    sections = 4 if mode in (MROPE, IMROPE) else 1
    positions = b.new("i32", n * sections, values=integers(512))
    factor = b.new("f32", dims // 2, values=uniform(0.9, 1.1)) if factors else None
    extra = (0.7, 1.4, 32.0, 1.0) if scaled else (0.0, 1.0, 32.0, 1.0)
    words = (512, 10000.0, 0.25 if scaled else 1.0, *extra)
    if sections == 1:
        return b.op("rope_ext", tokens, positions, factor, dims, mode, *words)
    shares = (ctypes.c_int * 4)(dims // 8, dims // 8, dims // 8, dims // 8)
    return b.op("rope_multi", tokens, positions, factor, dims, shares, mode, *words)


def ropes() -> Iterator[Case]:
    modes = {"normal": NORMAL, "neox": NEOX, "mrope": MROPE, "imrope": IMROPE}
    for word, mode in modes.items():
        for kind in ("f32", "f16"):
            for size, dims in ((64, 64), (128, 128), (256, 256), (80, 32)):
                for n in (1, 9):
                    for factors, scaled in ((False, False), (True, False), (False, True)):
                        if size == 80 and mode in (MROPE, IMROPE):
                            continue
                        name = f"rope {word} {kind} {size}/{dims} n={n}"
                        name += f"{' factors' if factors else ''}{' yarn' if scaled else ''}"
                        every = n == 9 and mode in (NORMAL, NEOX) and (size != 128 or kind == "f16")
                        every = every and (kind == "f32" or not factors)
                        bound = 1e-7 if kind == "f32" else 1e-6
                        arguments = (kind, mode, size, dims, n, factors, scaled)
                        yield case("rope", name, rope, *arguments, tolerance=bound, every=every)


# Attention, fused and not.


def soft_max(b: Build, keys: int, n: int, mask: str, slope: float, sinks: bool) -> Tensor:
    scores = b.new("f32", keys, n, 4, 2, values=uniform(-5, 5))
    hidden = b.new(mask, keys, n, 1, 2, values=causal) if mask else None
    result = b.op("soft_max_ext", scores, hidden, 0.125, slope)
    if sinks:
        b.set("soft_max_add_sinks", result, b.new("f32", 4, values=uniform(-10, 10)))
    return result


def soft_maxes() -> Iterator[Case]:
    for keys in (16, 32, 100, 256, 1025, 4096, 9000):
        for n in (1, 9):
            for mask in ("", "f32", "f16"):
                for slope in (0.0, 8.0):
                    if slope and not mask:
                        continue
                    name = f"soft_max {keys} n={n} mask={mask or None} alibi={slope:g}"
                    every = (keys in (32, 100, 1025) or (keys == 9000 and n == 1)) and mask != "f32"
                    arguments = (keys, n, mask, slope, False)
                    yield case("soft_max", name, soft_max, *arguments, tolerance=SOFT_MAX, every=every)
    yield case("soft_max", "soft_max with sinks", soft_max, 256, 9, "f16", 0.0, True, tolerance=SOFT_MAX)


def flash(
    b: Build, size: int, kind: str, n: int, keys: int, groups: int,
    cap: float, slope: float, masked: bool, sinks: bool,
) -> Tensor:  # fmt: skip
    heads = 2
    queries = b.new("f32", size, n, heads * groups)
    key, value = (b.new(kind, size, keys, heads) for _ in range(2))
    mask = b.new("f16", keys, n, values=causal) if masked else None
    result = b.op("flash_attn_ext", queries, key, value, mask, size**-0.5, slope, cap)
    if sinks:
        b.set("flash_attn_ext_add_sinks", result, b.new("f32", heads * groups, values=uniform(-10, 10)))
    b.set("flash_attn_ext_set_prec", result, PREC_F32)
    return result


def flash_attention() -> Iterator[Case]:
    sizes = (40, 64, 72, 80, 96, 112, 128, 192, 256)
    bound = functools.partial(case, "flash_attention", tolerance=ATTENTION)
    for size in sizes:
        for kind in ("f16", "q8_0", "bf16", "f32", "q4_0"):
            for n in (1, 2, 8, 9, 33, 75):
                for keys in (113, 256, 512):
                    for groups in (1, 4):
                        if kind.startswith("q") and size % 32:
                            continue  # no whole blocks
                        if kind not in ("f16", "q8_0") and (size not in (64, 128) or n not in (1, 9)):
                            continue
                        every = size in (64, 128, 256) and kind in ("f16", "q8_0") and groups == 4
                        every = every and (n, keys) in ((1, 256), (2, 512), (9, 256), (33, 256))
                        name = f"head {size} {kind} n={n} keys={keys} x{groups}"
                        arguments = (size, kind, n, keys, groups, 0.0, 0.0, True, False)
                        yield bound(name, flash, *arguments, every=every)
    extras = {
        "soft cap": (30.0, 0.0, True, False),
        "alibi": (0.0, 8.0, True, False),
        "no mask": (0.0, 0.0, False, False),
        "sinks": (0.0, 0.0, True, True),
    }
    for size in (64, 128, 256):
        for n in (1, 9):
            for word, extra in extras.items():
                if word == "soft cap" and size == 64:
                    continue  # gemma's heads are larger, so ggml leaves that kernel out
                arguments = (size, "f16", n, 256, 2, *extra)
                yield bound(f"head {size} n={n} {word}", flash, *arguments, every=size != 256)


def attention(b: Build, size: int, kind: str, n: int, keys: int, cap: float) -> Tensor:
    """Attention as llama.cpp builds it without flash attention, from a cache and with it permuted."""
    heads, groups = 2, 2
    cache = b.new(kind, size * heads, keys)
    row = cache.nb[1]
    key = b.op("view_3d", cache, size, keys, heads, row, row // heads, 0)
    values = b.new(kind, keys, size * heads)
    value = b.op("view_3d", values, keys, size, heads, values.nb[1], values.nb[1] * size, 0)
    queries = b.op("permute", b.new("f32", size, heads * groups, n), 0, 2, 1, 3)
    scores = b.op("mul_mat", key, queries)
    if cap:
        for name, *arguments in (("scale", 1 / cap), ("tanh",), ("scale", cap)):
            scores = b.op(str(name), scores, *arguments)
    weights = b.op("soft_max_ext", scores, b.new("f32", keys, n, values=causal), size**-0.5, 0.0)
    mixed = b.op("permute", b.op("mul_mat", value, weights), 0, 2, 1, 3)
    return b.op("cont_2d", mixed, size * heads * groups, n)


def plain_attention() -> Iterator[Case]:
    for size in (64, 128, 256):
        for kind in ("f16", "f32", "bf16"):
            for n in (1, 2, 9, 33):
                for cap in (0.0, 50.0):
                    every = (kind == "f16" and cap == 0) or (size == 64 and n == 9)
                    name = f"head {size} {kind} n={n}{' soft cap' if cap else ''}"
                    yield case(
                        "attention", name, attention, size, kind, n, 96, cap, tolerance=ATTENTION, every=every
                    )


GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "rope": ropes, "soft_max": soft_maxes, "flash_attention": flash_attention, "attention": plain_attention,
}  # fmt: skip
