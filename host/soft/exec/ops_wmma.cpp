// wmma: fragments of matrices loaded, multiplied and stored by a whole warp.
//
// The layout of fragments is the implementation's own. Here element n (row-major) of a matrix of 16-bit
// elements is half n % 2 of register n / 64 of lane (n / 2) % 32; of 8-bit ones, byte n % 4 of register n /
// 128 of lane (n / 4) % 32; of 32- and 64-bit ones, register n / 32 of lane n % 32. What the registers hold
// beyond the matrix is not looked at. Fragments of 4-bit and single-bit elements, and the sums that go with
// them, lie as those of mma do.
#include "lanes.hpp"
#include "rounds.hpp"
#include "select.hpp"

#include <algorithm>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

/// Element n of a fragment whose elements have the bits of a T.
template <class T> inline T &element_at(Warp &w, const u32 *list, unsigned n) {
    constexpr unsigned parts = sizeof(T) >= 4 ? 1 : 4 / sizeof(T); // of a register
    auto *lane = w.slot<word_t<T>>(list[n / (parts * lanes)]) + (n / parts) % lanes;
    return reinterpret_cast<T *>(lane)[n % parts];
}

/// The host's address of what a fragment's matrix has at that address of its space, of so many bytes.
template <bool Shared> u64 place_of(Warp &w, const Op &op, u64 where, unsigned bytes) {
    if (where % bytes != 0)
        raise(w, op, FaultKind::misaligned_address, 0, "matrix is not aligned to its elements");
    if constexpr (Shared) {
        if (where + bytes > w.block->shared_size || where + bytes < bytes)
            raise(w, op, FaultKind::illegal_address, 0, "matrix lies beyond shared memory");
        where += reinterpret_cast<u64>(w.block->shared);
    }
    return where;
}

u64 base_of(Warp &w, const Op &op) {
    return op.flags & wide_address ? w.slot<u64>(op.a)[0] + static_cast<u64>(op.immediate)
                                   : static_cast<u32>(w.slot<u32>(op.a)[0] + static_cast<u32>(op.immediate));
}

/// op.count registers; op.c = rows << 16 | columns; op.b = slot of the stride (in elements).
template <bool Shared, bool Columns, class T, bool Store> void move_fragment(Warp &w, const Op &op) {
    unsigned rows = op.c >> 16, columns = op.c & 0xffff;
    const u64 base = base_of(w, op);
    u64 stride = op.flags & has_predicate ? w.slot<u32>(op.b)[0] : (Columns ? rows : columns);
    for (unsigned r = 0; r < rows; ++r)
        for (unsigned c = 0; c < columns; ++c) {
            T *in_memory = reinterpret_cast<T *>(place_of<Shared>(
                w, op, base + (Columns ? c * stride + r : r * stride + c) * sizeof(T), sizeof(T)));
            T &in_fragment = element_at<T>(w, w.list(op), r * columns + c);
            if constexpr (Store)
                *in_memory = in_fragment;
            else
                in_fragment = *in_memory;
        }
}

/// A factor of elements below a byte: 4 words to a row of A or column of B. op.c = rows << 16 | columns.
template <bool Shared> void load_words(Warp &w, const Op &op) {
    const unsigned k = std::max(op.c >> 16, op.c & 0xffff), bits = 128 / k;
    const u64 base = base_of(w, op), stride = op.flags & has_predicate ? w.slot<u32>(op.b)[0] : k;
    u32 *d = w.slot<u32>(w.list(op)[0]);
    for (unsigned i = 0; i < lanes; ++i)
        d[i] = *reinterpret_cast<const u32 *>(
            place_of<Shared>(w, op, base + i / 4 * stride * bits / 8 + 4 * (i % 4), 4));
}

/// The 8 x 8 sums of such factors.
template <bool Shared, bool Columns, bool Store> void move_sums(Warp &w, const Op &op) {
    const u64 base = base_of(w, op), stride = op.flags & has_predicate ? w.slot<u32>(op.b)[0] : 8;
    for (unsigned i = 0; i < lanes; ++i)
        for (unsigned e = 0; e < 2; ++e) {
            const unsigned row = i / 4, column = 2 * (i % 4) + e;
            u32 *in_memory = reinterpret_cast<u32 *>(place_of<Shared>(
                w, op, base + 4 * (Columns ? column * stride + row : row * stride + column), 4));
            u32 &in_fragment = w.slot<u32>(w.list(op)[e])[i];
            if constexpr (Store)
                *in_memory = in_fragment;
            else
                in_fragment = *in_memory;
        }
}

/// What an element of a factor is summed up as.
template <class T, class Sum> inline Sum value_at(Warp &w, const u32 *list, unsigned n) {
    if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
        return to_float(T{element_at<u16>(w, list, n)});
    else if constexpr (std::is_same_v<T, float>)
        return std::bit_cast<float>(element_at<u32>(w, list, n) &
                                    0xffffe000); // tf32: 10 bits of fraction count
    else if constexpr (std::is_same_v<T, double>)
        return std::bit_cast<double>(element_at<u64>(w, list, n));
    else
        return static_cast<T>(element_at<u8>(w, list, n));
}

/// Registers of a fragment of so many elements; f16 factors have twice as many as they need.
template <class T> constexpr unsigned registers_of(unsigned elements) {
    return std::is_same_v<T, f16> ? 8 : elements * sizeof(T) / (sizeof(word_t<T>) * lanes);
}

/// In Op::immediate of a product: sums of whole numbers end at their bounds; else how sums of f64 round.
constexpr s64 saturating_sums = 8;

/// D = A x B + C; the operands in op.list in the order D, A, B, C. op.c = rows << 16 | columns.
template <class T, class Sum, unsigned K, bool HalfC, bool HalfD>
void multiply_fragments(Warp &w, const Op &op) {
    using Word = word_t<Sum>;
    using Total = std::conditional_t<std::is_same_v<Sum, s32>, s64, Sum>; // of whole numbers exact
    const unsigned m = op.c >> 16, n = op.c & 0xffff;
    const u32 *d = w.list(op), *a = d + (HalfD ? 4 : m * n / lanes), *b = a + registers_of<T>(m * K),
              *c = b + registers_of<T>(K * n);
    Total total[32 * 32];
    Sum left[32 * K], right[K * 32];
    for (unsigned i = 0; i < m * K; ++i)
        left[i] = value_at<T, Sum>(w, a, i);
    for (unsigned i = 0; i < K * n; ++i)
        right[i] = value_at<T, Sum>(w, b, i);
    for (unsigned i = 0; i < m * n; ++i) {
        if constexpr (HalfC)
            total[i] = to_float(f16{element_at<u16>(w, c, i)});
        else
            total[i] = std::bit_cast<Sum>(element_at<Word>(w, c, i));
    }
    if constexpr (std::is_same_v<Sum, double>) {
        const Rounds rounds(static_cast<int>(op.immediate & 3));
        for (unsigned i = 0; i < m * n; ++i) {
            // volatile: the arithmetic must stay between the two changes of the rounding mode
            volatile double sum = total[i];
            for (unsigned k = 0; k < K; ++k) {
                volatile double x = left[i / n * K + k];
                sum = std::fma(x, right[k * n + i % n], sum);
            }
            total[i] = sum;
        }
    } else {
        for (unsigned r = 0; r < m; ++r)
            for (unsigned i = 0; i < K; ++i)
                for (unsigned s = 0; s < n; ++s)
                    total[r * n + s] += left[r * K + i] * right[i * n + s];
    }
    for (unsigned i = 0; i < m * n; ++i) {
        if constexpr (HalfD) {
            element_at<u16>(w, d, i) = half_of(total[i]).bits;
        } else if constexpr (std::is_same_v<Sum, s32>) {
            if (op.immediate & saturating_sums)
                total[i] = std::clamp<s64>(total[i], std::numeric_limits<s32>::min(),
                                           std::numeric_limits<s32>::max());
            element_at<u32>(w, d, i) = static_cast<u32>(total[i]);
        } else {
            element_at<Word>(w, d, i) = std::bit_cast<Word>(total[i]);
        }
    }
}

template <class T, bool Store> Handler fragment_mover(bool shared, bool columns) {
    if (shared)
        return columns ? move_fragment<true, true, T, Store> : move_fragment<true, false, T, Store>;
    return columns ? move_fragment<false, true, T, Store> : move_fragment<false, false, T, Store>;
}

template <class T> Handler mover_of(const Instruction &in) {
    const bool shared = in.has("shared"), columns = in.has("col");
    return in.modifiers.front() == "store" ? fragment_mover<T, true>(shared, columns)
                                           : fragment_mover<T, false>(shared, columns);
}

/// How the matrices lay in memory is the loads' business: fragments are alike whatever it was.
Handler multiplier_of(const Instruction &in) {
    const Type c = in.type(0), a = in.type(2), b = in.type(1), d = in.type(3);
    if (a == Type::none) { // factors of f16 are not named
        const Type result = in.type(1);
        if (in.has("satfinite") || (c != Type::f16 && c != Type::f32) ||
            (result != Type::f16 && result != Type::f32))
            not_implemented(in);
        if (c == Type::f16)
            return result == Type::f16 ? multiply_fragments<f16, float, 16, true, true>
                                       : multiply_fragments<f16, float, 16, true, false>;
        return result == Type::f16 ? multiply_fragments<f16, float, 16, false, true>
                                   : multiply_fragments<f16, float, 16, false, false>;
    }
    if (a != b || c != d || (in.has("satfinite") && c != Type::s32))
        not_implemented(in);
    if (a == Type::bf16 && c == Type::f32)
        return multiply_fragments<bf16, float, 16, false, false>;
    if (a == Type::tf32 && c == Type::f32)
        return multiply_fragments<float, float, 8, false, false>;
    if (a == Type::s8 && c == Type::s32)
        return multiply_fragments<s8, s32, 16, false, false>;
    if (a == Type::u8 && c == Type::s32)
        return multiply_fragments<u8, s32, 16, false, false>;
    if (a == Type::f64 && c == Type::f64)
        return multiply_fragments<double, double, 4, false, false>;
    not_implemented(in);
}

bool is_below_a_byte(const Instruction &in) {
    return in.has("m8n8k32") || in.has("m8n8k128");
}

Handler mover_below_a_byte(const Instruction &in) {
    const bool shared = in.has("shared"), columns = in.has("col");
    const Type type = in.type();
    if (type == (in.has("m8n8k32") ? Type::s4 : Type::b1) || (in.has("m8n8k32") && type == Type::u4)) {
        if (columns != in.has("b")) // A by rows, B by columns
            not_implemented(in);
        return shared ? load_words<true> : load_words<false>;
    }
    if (type != Type::s32)
        not_implemented(in);
    if (in.modifiers.front() == "store") {
        if (shared)
            return columns ? move_sums<true, true, true> : move_sums<true, false, true>;
        return columns ? move_sums<false, true, true> : move_sums<false, false, true>;
    }
    if (shared)
        return columns ? move_sums<true, true, false> : move_sums<true, false, false>;
    return columns ? move_sums<false, true, false> : move_sums<false, false, false>;
}

} // namespace

std::int64_t wmma_form(const Instruction &in) {
    if (is_below_a_byte(in))
        return rare_mma_form(in);
    return (in.has("satfinite") ? saturating_sums : 0) | (in.has("rz")   ? 1
                                                          : in.has("rm") ? 2
                                                          : in.has("rp") ? 3
                                                                         : 0);
}

Handler choose_wmma(const Instruction &in) {
    const std::string what = in.modifiers.empty() ? "" : in.modifiers.front();
    if (what != "mma" && what != "load" && what != "store")
        not_implemented(in);
    const bool multiplies = what == "mma";
    if (is_below_a_byte(in))
        return multiplies ? choose_rare_mma(in) : mover_below_a_byte(in);
    if (multiplies)
        return multiplier_of(in);
    switch (in.type()) {
    case Type::s8:
    case Type::u8:
        return mover_of<u8>(in);
    case Type::f16:
    case Type::bf16:
        return mover_of<u16>(in);
    case Type::f32:
    case Type::tf32:
    case Type::s32:
        return mover_of<u32>(in);
    case Type::f64:
        return mover_of<u64>(in);
    default:
        not_implemented(in);
    }
}

} // namespace soft
