"""The operations that llama, qwen2 and gemma3 architectures are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.real.ggml_ops.attention_cases import NEOX, NORMAL, PREC_F32
from tests.real.ggml_ops.case import Build, Case, case, distinct, integers, uniform
from tests.real.ggml_ops.library import Tensor

MODEL_TYPES = ("f32", "f16", "bf16", "q4_0", "q4_K", "q5_K", "q6_K", "q8_0")
OTHER_TYPES = ("q4_1", "q5_0", "q5_1", "q2_K", "q3_K", "iq4_nl", "iq4_xs", "mxfp4")
# ggml's own bounds; a quantized value that rounds to its neighbour costs more than arithmetic does.
MATRIX, BLOCK = 5e-4, 2e-3
GELU = 1e-6  # which the CPU backend takes from a table of halves
ONE_STEP_OFF = 1e-4


# Rows of embeddings and of the key-value cache.


def get_rows(b: Build, kind: str, count: int) -> Tensor:
    return b.op("get_rows", b.new(kind, 256, 70), b.new("i32", count, values=integers(70)))


def set_rows(b: Build, kind: str, index: str, count: int) -> Tensor:
    rows = b.new("f32", 256, count)
    return b.op("set_rows", b.new(kind, 256, 40), rows, b.new(index, count, values=distinct(40)))


def rows() -> Iterator[Case]:
    for kind in MODEL_TYPES + OTHER_TYPES:
        for count in (1, 9):
            every = kind in MODEL_TYPES
            yield case("rows", f"get_rows {kind} n={count}", get_rows, kind, count, every=every)
    for kind in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl"):
        for index in ("i64", "i32"):
            for count in (1, 9):
                bound = ONE_STEP_OFF if kind.startswith(("q", "iq")) else 1e-7
                name = f"set_rows {kind} {index} n={count}"
                every = kind in ("f32", "f16", "bf16", "q8_0", "q4_0") and index == "i64"
                yield case("rows", name, set_rows, kind, index, count, tolerance=bound, every=every)


# Norms, with the products and sums that ggml fuses into them.


def norm(b: Build, name: str, columns: int, count: int, fused: int) -> Tensor:
    result = b.op(name, b.new("f32", columns, count, 2), 1e-6)
    for step in range(fused):
        result = b.op(("mul", "add")[step], result, b.new("f32", columns))
    return result


def group_norm(b: Build, columns: int) -> Tensor:
    return b.op("group_norm", b.new("f32", columns, columns, 64), 32, 1e-6)


def strided_norm(b: Build, name: str) -> Tensor:
    whole = b.new("f32", 192, 6, 5)
    part = b.op("view_3d", whole, 64, 6, 5, whole.nb[1], whole.nb[2], 64 * 4)
    return b.op(name, part, 1e-6)


def norms() -> Iterator[Case]:
    for name in ("rms_norm", "norm", "l2_norm"):
        for columns in (64, 100, 640, 1025, 4096):
            for count in (1, 9):
                fused = (0, 1, 2) if name == "rms_norm" else (0,)
                for steps in fused:
                    words = f"{name}{''.join(('*w', '+b')[:steps])} {columns}x{count}"
                    every = columns in (64, 640, 1025) and (columns != 1025 or count == 1)
                    yield case("norm", words, norm, name, columns, count, steps, every=every)
        yield case("norm", f"{name} of a view", strided_norm, name)
    for columns in (8, 33):
        yield case("norm", f"group_norm {columns}", group_norm, columns)


# Arithmetic with and without broadcast, scales, soft-capping.


def binary(b: Build, name: str, kind: str, ne: tuple[int, ...], other: tuple[int, ...], right: str) -> Tensor:
    # away from zero, which is divided by
    return b.op(name, b.new(kind, *ne), b.new(right, *other, values=uniform(0.5, 2.0)))


def chain(b: Build, kind: str, ne: tuple[int, ...], steps: tuple[tuple[object, ...], ...]) -> Tensor:
    values = uniform(0.1, 3.0) if steps[0][0] in ("log", "sqrt") else uniform(-2.0, 2.0)
    result = b.new(kind, *ne, values=values)
    for name, *arguments in steps:
        result = b.op(str(name), result, *arguments)
    return result


def repeat_add(b: Build, count: int) -> Tensor:
    """Sums in a row, which ggml fuses."""
    result = b.new("f32", 640, 5)
    for _ in range(count):
        result = b.op("add", result, b.new("f32", 640, 5))
    return result


SOFT_CAP = (("scale", 1 / 30.0), ("tanh",), ("scale", 30.0))


def arithmetic() -> Iterator[Case]:
    shapes = (
        ((64, 3, 2, 2), (64, 3, 2, 2)),
        ((640, 9), (640,)),
        ((10, 5, 4, 3), (10, 1, 4, 1)),
        ((16, 3), (1,)),
    )
    for name in ("add", "sub", "mul", "div"):
        for left, right in shapes:
            for kind, other in (("f32", "f32"), ("f16", "f16"), ("f16", "f32")):
                bound = 1e-7 if kind == "f32" else 1e-6
                words = f"{name} {kind},{other} {left} {right}"
                every = kind == "f32" or (other == "f16" and len(left) == 2)
                arguments = (name, kind, left, right, other)
                yield case("arithmetic", words, binary, *arguments, tolerance=bound, every=every)
    for count in (2, 3, 7):
        yield case("arithmetic", f"{count} sums in a row", repeat_add, count)
    chains: dict[str, tuple[tuple[object, ...], ...]] = {
        "scale": (("scale", 0.125),), "scale_bias": (("scale_bias", 2.0, 0.5),),
        "clamp": (("clamp", -0.5, 0.5),),
        "sqr": (("sqr",),), "sqrt": (("sqrt",),), "log": (("log",),), "sin": (("sin",),), "cos": (("cos",),),
        "soft cap": SOFT_CAP, "leaky_relu": (("leaky_relu", 0.1, False),),
    }  # fmt: skip
    for words, steps in chains.items():
        for kind in ("f32", "f16"):
            if kind == "f16" and "scale" in str(steps):
                continue  # the CUDA backend says that it can, and then asserts that it is f32
            every = kind == "f32" and words not in ("leaky_relu",)
            bound = 1e-7 if kind == "f32" else 1e-5
            yield case(
                "arithmetic", f"{words} {kind}", chain, kind, (100, 7, 3), steps, tolerance=bound, every=every
            )


# Activations and gates.

UNARY = (
    "abs", "sgn", "neg", "step", "tanh", "elu", "relu", "sigmoid", "gelu", "gelu_quick", "silu", "hardswish",
    "hardsigmoid", "exp", "expm1", "softplus", "gelu_erf", "floor", "ceil", "round", "trunc",
)  # fmt: skip
GATES = ("reglu", "geglu", "swiglu", "geglu_erf", "geglu_quick")


def gate(b: Build, name: str, kind: str, split: bool, swapped: bool) -> Tensor:
    if split:
        return b.op(f"{name}_split", b.new(kind, 640, 5), b.new(kind, 640, 5))
    return b.op(f"{name}_swapped" if swapped else name, b.new(kind, 640, 5))


def swiglu_oai(b: Build, limit: float) -> Tensor:
    one, other = (b.new("f32", 64, 9, values=uniform(-10, 10)) for _ in range(2))
    return b.op("swiglu_oai", one, other, 1.702, limit)


def activations() -> Iterator[Case]:
    for name in UNARY:
        for kind in ("f32", "f16"):
            every = kind == "f32" and name in (
                "silu",
                "gelu",
                "gelu_quick",
                "gelu_erf",
                "sigmoid",
                "tanh",
                "relu",
                "exp",
            )
            bound = GELU if "gelu" in name or kind == "f16" else 1e-7
            step = ((name,),)
            yield case(
                "activation", f"{name} {kind}", chain, kind, (130, 5, 3), step, tolerance=bound, every=every
            )
    for name in GATES:
        for kind in ("f32", "f16"):
            for split, swapped in ((True, False), (False, False), (False, True)):
                words = f"{name} {kind}{' split' if split else ''}{' swapped' if swapped else ''}"
                bound = GELU if "geglu" in name or kind == "f16" else 1e-7
                every = kind == "f32" and name in ("swiglu", "geglu") and not swapped
                arguments = (name, kind, split, swapped)
                yield case("activation", words, gate, *arguments, tolerance=bound, every=every)
    yield case("activation", "swiglu_oai", swiglu_oai, 7.0)


# Products with weights, and the shapes that a prompt and a token give them.

PROMPTS = (1, 2, 8, 9, 32, 129)


def mul_mat(b: Build, kind: str, n: int, m: int, k: int, right: str = "f32", prec: int = 0) -> Tensor:
    result = b.op("mul_mat", b.new(kind, k, m), b.new(right, k, n))
    if prec:
        b.set("mul_mat_set_prec", result, prec)
    return result


def batched(b: Build, kind: str, n: int, heads: int, groups: int, permuted: bool) -> Tensor:
    """Keys of `heads` heads against queries of `groups` times as many, as attention has them."""
    if not permuted:
        return b.op("mul_mat", b.new(kind, 64, 96, heads), b.new("f32", 64, n, heads * groups))
    keys = b.op("permute", b.new(kind, 64, heads, 96), 0, 2, 1, 3)
    queries = b.op("permute", b.new("f32", 64, heads * groups, n), 0, 2, 1, 3)
    return b.op("mul_mat", keys, queries)


def products() -> Iterator[Case]:
    for kind in MODEL_TYPES + OTHER_TYPES:
        for n in PROMPTS:
            for m, k in ((64, 256), (130, 512), (48, 2048)):
                every = kind in MODEL_TYPES and (m == 130 if n in (1, 9, 32) else m == 64)
                name = f"mul_mat {kind} {m}x{k} n={n}"
                yield case("mul_mat", name, mul_mat, kind, n, m, k, tolerance=MATRIX, every=every)
    for kind in ("f32", "f16", "bf16"):
        for n in (1, 9, 129):
            for odd in (False, True):
                m, k = (33, 127) if odd else (64, 512)
                name = f"mul_mat {kind} {m}x{k} n={n}, exact sums"
                every = n == 9
                arguments = (kind, n, m, k, "f32", PREC_F32)
                yield case("mul_mat", name, mul_mat, *arguments, tolerance=MATRIX, every=every)
    for n in (1, 9):
        yield case("mul_mat", f"mul_mat f16,f16 n={n}", mul_mat, "f16", n, 64, 256, "f16", tolerance=MATRIX)
    for kind in ("f16", "f32", "q8_0", "bf16"):
        for n in (1, 9, 40):
            for groups in (1, 3):
                for permuted in (False, True):
                    words = f"mul_mat {kind} heads n={n} x{groups}{' permuted' if permuted else ''}"
                    every = kind in ("f16", "q8_0") and n != 40 and groups == 3
                    arguments = (kind, n, 2, groups, permuted)
                    yield case("mul_mat", words, batched, *arguments, tolerance=MATRIX, every=every)


def mul_mat_id(b: Build, kind: str, n: int, used: int, each: bool) -> Tensor:
    """`used` of 8 experts a token, the same input for all of a token's experts or one of each."""
    experts = b.new(kind, 256, 96, 8)
    ids = b.new("i32", used, n, values=distinct(8))
    return b.op("mul_mat_id", experts, b.new("f32", 256, used if each else 1, n), ids)


def experts() -> Iterator[Case]:
    for kind in MODEL_TYPES:
        for n in PROMPTS:
            for used, each in ((2, False), (4, True)):
                every = kind in ("q4_0", "q8_0", "f16", "q4_K", "q6_K") and n in (1, 9, 32) and not each
                name = f"mul_mat_id {kind} n={n} used={used}{' each' if each else ''}"
                arguments = (kind, n, used, each)
                yield case("mul_mat_id", name, mul_mat_id, *arguments, tolerance=MATRIX, every=every)


# Copies and layouts.


def copy(b: Build, source: str, target: str) -> Tensor:
    return b.op("cpy", b.new(source, 256, 3, 2), b.new(target, 256, 3, 2))


def permuted_copy(b: Build, kind: str, axes: tuple[int, ...]) -> Tensor:
    return b.op("cont", b.op("permute", b.new(kind, 33, 5, 7, 2), *axes))


def view_copy(b: Build, kind: str) -> Tensor:
    """Part of each row, written into part of another tensor."""
    source = b.new(kind, 100, 9)
    part = b.op("view_2d", source, 64, 9, source.nb[1], 12 * source.nb[0])
    return b.op("cont", part)


def concat(b: Build, kind: str, dimension: int) -> Tensor:
    left, right = [40, 5, 3, 2], [40, 5, 3, 2]
    right[dimension] += 7
    return b.op("concat", b.new(kind, *left), b.new(kind, *right), dimension)


def repeated(b: Build, kind: str) -> Tensor:
    return b.op("repeat", b.new(kind, 10, 1, 4, 1), b.new(kind, 20, 3, 4, 2))


def copies() -> Iterator[Case]:
    floats, blocks = ("f32", "f16", "bf16"), ("q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "iq4_nl")
    for source in floats + blocks:
        for target in floats + blocks:
            if source in blocks and target != "f32" and source != target:
                continue
            bound = ONE_STEP_OFF if target in blocks and source != target else 1e-7
            every = not {source, target} & {"q4_1", "q5_0", "q5_1", "iq4_nl"}
            yield case(
                "copy", f"cpy {source} -> {target}", copy, source, target, tolerance=bound, every=every
            )
    for kind in ("f32", "f16", "bf16"):
        for axes in ((1, 0, 2, 3), (0, 2, 1, 3), (2, 1, 0, 3), (1, 2, 0, 3)):
            yield case(
                "copy", f"cont {kind} permuted {axes}", permuted_copy, kind, axes, every=kind != "bf16"
            )
        yield case("copy", f"cont of a view {kind}", view_copy, kind)
    yield case("copy", "cpy i32 -> f32", copy, "i32", "f32", every=False)
    for dimension in range(4):
        yield case("copy", f"concat {dimension}", concat, "f32", dimension)
        yield case("copy", f"concat {dimension} i32", concat, "i32", dimension, every=False)
    for kind in ("f32", "f16"):
        yield case("copy", f"repeat {kind}", repeated, kind, every=kind == "f32")


# Parts of whole models, where ggml fuses several operations into one kernel.


def feed_forward(b: Build, kind: str, n: int, name: str, biased: bool) -> Tensor:
    tokens = b.op("mul", b.op("rms_norm", b.new("f32", 256, n), 1e-6), b.new("f32", 256))
    up, gated = (b.op("mul_mat", b.new(kind, 256, 512), tokens) for _ in range(2))
    if biased:
        up, gated = (b.op("add", part, b.new("f32", 512)) for part in (up, gated))
    hidden = b.op(f"{name}_split", gated, up)
    return b.op("mul_mat", b.new(kind, 512, 256), hidden)


def biased_query(b: Build, kind: str, n: int, mode: int) -> Tensor:
    """qwen2's: a product, a bias, heads, positions, and rows of the cache."""
    product = b.op("add", b.op("mul_mat", b.new(kind, 256, 128), b.new("f32", 256, n)), b.new("f32", 128))
    heads = b.op("reshape_3d", product, 64, 2, n)
    positions = b.new("i32", n, values=integers(512))
    turned = b.op("rope_ext", heads, positions, None, 64, mode, 512, 1e6, 1.0, 0.0, 1.0, 32.0, 1.0)
    cache = b.new("f16", 128, 40)
    flat = b.op("view_2d", turned, 128, n, turned.nb[2], 0)
    return b.op("set_rows", cache, flat, b.new("i64", n, values=distinct(40)))


def blocks() -> Iterator[Case]:
    for kind in ("q8_0", "q4_0", "q4_K", "q6_K", "f16", "bf16", "f32"):
        for n in (1, 2, 9):
            for name in ("swiglu", "geglu"):
                for biased in (False, True):
                    every = kind in ("q8_0", "q4_K", "f16", "bf16") and not biased and n != 2
                    words = f"feed forward {kind} n={n} {name}{' biased' if biased else ''}"
                    arguments = (kind, n, name, biased)
                    yield case("block", words, feed_forward, *arguments, tolerance=BLOCK, every=every)
            for word, mode in (("normal", NORMAL), ("neox", NEOX)):
                every = kind in ("q8_0", "f16") and n != 2
                words = f"query into cache {kind} n={n} {word}"
                yield case("block", words, biased_query, kind, n, mode, tolerance=MATRIX, every=every)


GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "rows": rows, "norm": norms, "arithmetic": arithmetic, "activation": activations, "mul_mat": products,
    "mul_mat_id": experts, "copy": copies, "block": blocks,
}  # fmt: skip
