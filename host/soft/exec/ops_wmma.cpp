// wmma: fragments of matrices loaded, multiplied and stored by a whole warp.
//
// The layout of wmma fragments is the implementation's own. Here element n (row-major) of a 16-bit
// matrix is half n % 2 of register n / 64 of lane (n / 2) % 32; of a 32-bit one, register n / 32 of lane
// n % 32. What the registers hold beyond the matrix is not looked at.
#include "lanes.hpp"
#include "select.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline u16 &half_at(Warp &w, const u32 *list, unsigned n) {
    return reinterpret_cast<u16 *>(w.slot<u32>(list[n / 64]) + (n / 2) % lanes)[n % 2];
}
inline u32 &word_at(Warp &w, const u32 *list, unsigned n) {
    return w.slot<u32>(list[n / 32])[n % lanes];
}

/// op.count registers; op.c = rows << 16 | columns; op.b = slot of the stride (in elements).
template <bool Shared, bool Columns, class T, bool Store> void move_fragment(Warp &w, const Op &op) {
    unsigned rows = op.c >> 16, columns = op.c & 0xffff;
    u64 base = op.flags & wide_address
                   ? w.slot<u64>(op.a)[0] + static_cast<u64>(op.immediate)
                   : static_cast<u32>(w.slot<u32>(op.a)[0] + static_cast<u32>(op.immediate));
    u64 stride = op.flags & has_predicate ? w.slot<u32>(op.b)[0] : (Columns ? rows : columns);
    for (unsigned r = 0; r < rows; ++r)
        for (unsigned c = 0; c < columns; ++c) {
            u64 where = base + (Columns ? c * stride + r : r * stride + c) * sizeof(T);
            if constexpr (Shared) {
                if (where + sizeof(T) > w.block->shared_size || where + sizeof(T) < sizeof(T))
                    raise(w, op, FaultKind::illegal_address, 0, "matrix lies beyond shared memory");
                where += reinterpret_cast<u64>(w.block->shared);
            }
            unsigned n = r * columns + c;
            T *in_memory = reinterpret_cast<T *>(where);
            if constexpr (sizeof(T) == 2)
                Store ? void(*in_memory = half_at(w, w.list(op), n))
                      : void(half_at(w, w.list(op), n) = *in_memory);
            else
                Store ? void(*in_memory = word_at(w, w.list(op), n))
                      : void(word_at(w, w.list(op), n) = *in_memory);
        }
}

template <bool HalfC, bool HalfD> void multiply_fragments(Warp &w, const Op &op) {
    unsigned m = op.c >> 16, n = op.c & 0xffff;
    constexpr unsigned k = 16;
    const u32 *d = w.list(op), *a = d + (HalfD ? 4 : 8), *b = a + 8, *c = b + 8;
    float total[32 * 32], left[32 * k], right[k * 32];
    for (unsigned i = 0; i < m * k; ++i)
        left[i] = to_float(f16{half_at(w, a, i)});
    for (unsigned i = 0; i < k * n; ++i)
        right[i] = to_float(f16{half_at(w, b, i)});
    for (unsigned i = 0; i < m * n; ++i)
        total[i] = HalfC ? to_float(f16{half_at(w, c, i)}) : std::bit_cast<float>(word_at(w, c, i));
    for (unsigned r = 0; r < m; ++r)
        for (unsigned i = 0; i < k; ++i)
            for (unsigned s = 0; s < n; ++s)
                total[r * n + s] += left[r * k + i] * right[i * n + s];
    for (unsigned i = 0; i < m * n; ++i) {
        if constexpr (HalfD)
            half_at(w, d, i) = half_of(total[i]).bits;
        else
            word_at(w, d, i) = std::bit_cast<u32>(total[i]);
    }
}

template <class T, bool Store> Handler fragment_mover(bool shared, bool columns) {
    if (shared)
        return columns ? move_fragment<true, true, T, Store> : move_fragment<true, false, T, Store>;
    return columns ? move_fragment<false, true, T, Store> : move_fragment<false, false, T, Store>;
}

} // namespace

Handler choose_wmma(const Instruction &in) {
    bool shared = in.has("shared");
    if (in.modifiers.front() == "mma") {
        Type c = in.type(0), d = in.type(1);
        // How the matrices lay in memory is the loads' business: fragments are alike whatever it was.
        if ((c != Type::f16 && c != Type::f32) || (d != Type::f16 && d != Type::f32))
            not_implemented(in);
        if (c == Type::f16)
            return d == Type::f16 ? multiply_fragments<true, true> : multiply_fragments<true, false>;
        return d == Type::f16 ? multiply_fragments<false, true> : multiply_fragments<false, false>;
    }
    bool columns = in.has("col"), store = in.modifiers.front() == "store";
    switch (in.type()) {
    case Type::f16:
        return store ? fragment_mover<u16, true>(shared, columns)
                     : fragment_mover<u16, false>(shared, columns);
    case Type::f32:
        return store ? fragment_mover<u32, true>(shared, columns)
                     : fragment_mover<u32, false>(shared, columns);
    default:
        not_implemented(in);
    }
}

} // namespace soft
