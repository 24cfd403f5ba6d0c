// Matrix operations of a whole warp: mma, ldmatrix, stmatrix, movmatrix.
//
// Source of the fragment layouts: PTX ISA, "Warp Level Matrix Multiply-Accumulate Instructions". With
// g = lane / 4, t = lane % 4 and E elements in a register, all shapes of mma used here follow one rule:
//   A, register r, element e: row g + 8 * (r & 1) (M 16) or g (M 8), column t * E + e + 4 * E * (r >> 1)
//   B, register r, element e: row t * E + e + 4 * E * r, column g
//   C, element i of a lane:   row g + 8 * (i >> 1), column 2 * t + (i & 1)
// A sum over k has no order, so that columns of A and rows of B are kept in the order they come in.
#include "lanes.hpp"
#include "select.hpp"

#include <algorithm>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s32 = std::int32_t;

/// The e-th element of a register as what it is summed up in.
template <class T, class Sum> inline Sum element(u32 word, unsigned e) {
    if constexpr (std::is_same_v<T, std::int8_t>)
        return static_cast<std::int8_t>(word >> (8 * e));
    else if constexpr (std::is_same_v<T, std::uint8_t>)
        return static_cast<Sum>((word >> (8 * e)) & 0xff);
    else if constexpr (std::is_same_v<T, float>)
        return std::bit_cast<float>(word & 0xffffe000); // tf32: 10 bits of fraction count
    else
        return to_float(T{static_cast<u16>(word >> (16 * e))});
}

template <class T> constexpr unsigned per_register = std::is_same_v<T, float> ? 1 : sizeof(T) == 1 ? 4 : 2;

#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

/// The words of a B register, of lane 4 * g + t, as rows of t.
inline void transpose_words(const u32 *word, u32 (*rows)[8]) {
    auto load = [&](unsigned at) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(word + at)); };
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i low01 = _mm256_unpacklo_epi32(load(0), load(8)),
            low23 = _mm256_unpacklo_epi32(load(16), load(24)),
            high01 = _mm256_unpackhi_epi32(load(0), load(8)),
            high23 = _mm256_unpackhi_epi32(load(16), load(24));
    const __m256i mixed[4] = {_mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
                              _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)};
    for (unsigned t = 0; t < 4; ++t)
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(rows[t]),
                            _mm256_permutevar8x32_epi32(mixed[t], order));
}

/// Bytes of each word at even (or odd) places, as pairs of 16-bit numbers.
template <class T, bool Odd> inline __m256i byte_pairs(__m256i words) {
    if constexpr (!Odd)
        words = _mm256_slli_epi16(words, 8);
    return std::is_signed_v<T> ? _mm256_srai_epi16(words, 8) : _mm256_srli_epi16(words, 8);
}

/// A row of 8 words as floats: K in their order, 8 * E of them.
template <class T> inline void expand_row(const u32 *words, float *to) {
    const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(words));
    if constexpr (std::is_same_v<T, f16>) {
        _mm256_storeu_ps(to, _mm256_cvtph_ps(_mm256_castsi256_si128(all)));
        _mm256_storeu_ps(to + 8, _mm256_cvtph_ps(_mm256_extracti128_si256(all, 1)));
    } else {
        for (unsigned i = 0; i < 8 * per_register<T>; ++i)
            to[i] = element<T, float>(words[i / per_register<T>], i % per_register<T>);
    }
}

/// The e-th elements of 8 words.
template <class T> inline __m256 expand_column(__m256i words, unsigned e) {
    if constexpr (std::is_same_v<T, float>)
        return _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(static_cast<int>(0xffffe000))));
    else if constexpr (std::is_same_v<T, bf16>)
        return _mm256_castsi256_ps(
            e == 0 ? _mm256_slli_epi32(words, 16)
                   : _mm256_and_si256(words, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
    else {
        __m256i halves =
            e == 0 ? _mm256_and_si256(words, _mm256_set1_epi32(0xffff)) : _mm256_srli_epi32(words, 16);
        __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(halves, halves), 0x08);
        return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
    }
}

/// D = A x B + C. Operands in op.list: D, A, B, C. HalfC: C and D are packed f16, else 32-bit. Rows are
/// kept as words of E elements, as they come.
template <unsigned M, unsigned K, class TA, class TB, class Sum, bool HalfC>
void multiply(Warp &w, const Op &op) {
    constexpr unsigned E = per_register<TA>, words = K / E; // of a row of A
    constexpr unsigned a_registers = M / 8 * K / (4 * E), b_registers = K / (4 * E);
    constexpr unsigned c_elements = M / 4, c_registers = HalfC ? c_elements / 2 : c_elements;
    constexpr bool whole = std::is_same_v<Sum, s32>;
    const u32 *list = w.list(op);
    const u32 *d_list = list, *a_list = d_list + c_registers, *b_list = a_list + a_registers,
              *c_list = b_list + b_registers;
    alignas(64) u32 a[M][words < 8 ? 8 : words] = {}, b[words][8], c[M][8];
    for (unsigned r = 0; r < a_registers; ++r) {
        const u32 *word = w.slot<u32>(a_list[r]);
        const unsigned row = M == 16 ? 8 * (r & 1) : 0, column = (M == 16 ? r >> 1 : r) * 4;
        for (unsigned g = 0; g < 8; ++g)
            std::memcpy(&a[row + g][column], word + 4 * g, 16);
    }
    for (unsigned r = 0; r < b_registers; ++r)
        transpose_words(w.slot<u32>(b_list[r]), b + 4 * r);
    auto quad = [](const u32 *at) { return _mm_loadu_si128(reinterpret_cast<const __m128i *>(at)); };
    auto put = [](u32 *at, __m128i value) { _mm_storeu_si128(reinterpret_cast<__m128i *>(at), value); };
    for (unsigned m = 0; m < M; ++m) {
        if constexpr (HalfC) {
            _mm256_storeu_ps(reinterpret_cast<float *>(c[m]),
                             _mm256_cvtph_ps(quad(w.slot<u32>(c_list[m / 8]) + 4 * (m % 8))));
        } else {
            __m128i even = quad(w.slot<u32>(c_list[m / 8 * 2]) + 4 * (m % 8)),
                    odd = quad(w.slot<u32>(c_list[m / 8 * 2 + 1]) + 4 * (m % 8));
            put(c[m], _mm_unpacklo_epi32(even, odd));
            put(c[m] + 4, _mm_unpackhi_epi32(even, odd));
        }
    }
    if constexpr (whole) {
        alignas(64) u32 a_even[M][words], a_odd[M][words];
        for (unsigned at = 0; at < M * words; at += 8) {
            __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(&a[at / words][at % words]));
            if constexpr (words < 8) // two rows at once
                all = _mm256_set_m128i(quad(a[at / words + 1]), quad(a[at / words]));
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(&a_even[0][0] + at), byte_pairs<TA, false>(all));
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(&a_odd[0][0] + at), byte_pairs<TA, true>(all));
        }
        __m256i b_even[words], b_odd[words];
        for (unsigned k = 0; k < words; ++k) {
            __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(b[k]));
            b_even[k] = byte_pairs<TB, false>(all);
            b_odd[k] = byte_pairs<TB, true>(all);
        }
        for (unsigned m = 0; m < M; ++m) {
            __m256i even = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(c[m])),
                    odd = _mm256_setzero_si256();
            for (unsigned k = 0; k < words; ++k) {
                __m256i left = _mm256_set1_epi32(static_cast<int>(a_even[m][k])),
                        right = _mm256_set1_epi32(static_cast<int>(a_odd[m][k]));
                even = _mm256_add_epi32(even, _mm256_madd_epi16(left, b_even[k]));
                odd = _mm256_add_epi32(odd, _mm256_madd_epi16(right, b_odd[k]));
            }
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(c[m]), _mm256_add_epi32(even, odd));
        }
    } else {
        alignas(64) float left[M][8 * E];
        __m256 right[K];
        for (unsigned m = 0; m < M; ++m)
            expand_row<TA>(a[m], left[m]);
        for (unsigned k = 0; k < K; ++k)
            right[k] =
                expand_column<TB>(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(b[k / E])), k % E);
        for (unsigned m = 0; m < M; m += 4) { // four rows at once: their sums do not wait for one another
            __m256 total[4];
            for (unsigned i = 0; i < 4; ++i)
                total[i] = _mm256_loadu_ps(reinterpret_cast<const float *>(c[m + i]));
            for (unsigned k = 0; k < K; ++k)
                for (unsigned i = 0; i < 4; ++i)
                    total[i] = _mm256_fmadd_ps(_mm256_set1_ps(left[m + i][k]), right[k], total[i]);
            for (unsigned i = 0; i < 4; ++i)
                _mm256_storeu_ps(reinterpret_cast<float *>(c[m + i]), total[i]);
        }
    }
    alignas(64) u32 d[c_registers][lanes];
    for (unsigned m = 0; m < M; ++m) {
        if constexpr (HalfC) {
            put(&d[m / 8][4 * (m % 8)],
                _mm256_cvtps_ph(_mm256_loadu_ps(reinterpret_cast<const float *>(c[m])),
                                _MM_FROUND_TO_NEAREST_INT));
        } else {
            __m128 low = _mm_castsi128_ps(quad(c[m])), high = _mm_castsi128_ps(quad(c[m] + 4));
            put(&d[m / 8 * 2][4 * (m % 8)], _mm_castps_si128(_mm_shuffle_ps(low, high, 0x88)));
            put(&d[m / 8 * 2 + 1][4 * (m % 8)], _mm_castps_si128(_mm_shuffle_ps(low, high, 0xdd)));
        }
    }
    for (unsigned r = 0; r < c_registers; ++r) {
        u32 *word = w.slot<u32>(d_list[r]);
        if (w.exec == all_lanes)
            std::memcpy(word, d[r], sizeof d[r]);
        else
            each_lane(w.exec, [&](unsigned lane) { word[lane] = d[r][lane]; });
    }
}

#else

/// D = A x B + C. Operands in op.list: D, A, B, C. HalfC: C and D are packed f16, else 32-bit.
template <unsigned M, unsigned K, class TA, class TB, class Sum, bool HalfC>
void multiply(Warp &w, const Op &op) {
    constexpr unsigned N = 8, E = per_register<TA>;
    constexpr unsigned a_registers = M / 8 * K / (4 * E), b_registers = K / (4 * E);
    constexpr unsigned c_elements = M / 4, c_registers = HalfC ? c_elements / 2 : c_elements;
    const u32 *list = w.list(op);
    const u32 *d_list = list, *a_list = d_list + c_registers, *b_list = a_list + a_registers,
              *c_list = b_list + b_registers;
    alignas(64) Sum a[M][K], b[K][N], c[M][N];
    for (unsigned r = 0; r < a_registers; ++r) {
        const u32 *word = w.slot<u32>(a_list[r]);
        const unsigned row = M == 16 ? 8 * (r & 1) : 0, block = (M == 16 ? r >> 1 : r) * 4 * E;
        for (unsigned e = 0; e < E; ++e) {
            alignas(64) Sum values[lanes];
#pragma GCC ivdep
            for (unsigned i = 0; i < lanes; ++i)
                values[i] = element<TA, Sum>(word[i], e);
            for (unsigned g = 0; g < 8; ++g)
                std::memcpy(&a[row + g][block + 4 * e], values + 4 * g, 4 * sizeof(Sum));
        }
    }
    for (unsigned r = 0; r < b_registers; ++r) {
        const u32 *word = w.slot<u32>(b_list[r]);
        for (unsigned e = 0; e < E; ++e) {
            alignas(64) Sum values[lanes];
#pragma GCC ivdep
            for (unsigned i = 0; i < lanes; ++i)
                values[i] = element<TB, Sum>(word[i], e);
            for (unsigned t = 0; t < 4; ++t)
                for (unsigned g = 0; g < 8; ++g)
                    b[r * 4 * E + 4 * e + t][g] = values[4 * g + t];
        }
    }
    for (unsigned i = 0; i < c_elements; ++i) {
        const u32 *word = w.slot<u32>(c_list[HalfC ? i / 2 : i]);
        for (unsigned lane = 0; lane < lanes; ++lane) {
            Sum value;
            if constexpr (HalfC)
                value = to_float(f16{static_cast<u16>(word[lane] >> (16 * (i & 1)))});
            else
                value = std::bit_cast<Sum>(word[lane]);
            c[lane / 4 + 8 * (i >> 1)][2 * (lane % 4) + (i & 1)] = value;
        }
    }
    for (unsigned m = 0; m < M; ++m) {
        Sum total[N];
        for (unsigned n = 0; n < N; ++n)
            total[n] = c[m][n];
        for (unsigned k = 0; k < K; ++k)
#pragma GCC ivdep
            for (unsigned n = 0; n < N; ++n)
                total[n] += a[m][k] * b[k][n];
        for (unsigned n = 0; n < N; ++n)
            c[m][n] = total[n];
    }
    for (unsigned r = 0; r < c_registers; ++r) {
        u32 *word = w.slot<u32>(d_list[r]);
        each_lane(w.exec, [&](unsigned lane) {
            if constexpr (HalfC) {
                const Sum *pair = &c[lane / 4 + 8 * r][2 * (lane % 4)];
                word[lane] = static_cast<u32>(half_of(pair[0]).bits) | static_cast<u32>(half_of(pair[1]).bits)
                                                                           << 16;
            } else {
                word[lane] = std::bit_cast<u32>(c[lane / 4 + 8 * (r >> 1)][2 * (lane % 4) + (r & 1)]);
            }
        });
    }
}

#endif

template <unsigned M, unsigned K> Handler integer_multiply(const Instruction &in) {
    bool a = in.type(2) == Type::s8, b = in.type(1) == Type::s8;
    if (a)
        return b ? multiply<M, K, std::int8_t, std::int8_t, s32, false>
                 : multiply<M, K, std::int8_t, std::uint8_t, s32, false>;
    return b ? multiply<M, K, std::uint8_t, std::int8_t, s32, false>
             : multiply<M, K, std::uint8_t, std::uint8_t, s32, false>;
}

Handler choose_mma(const Instruction &in) {
    if (is_rare_mma(in))
        return choose_rare_mma(in);
    if (in.has("m8n8k4"))
        return choose_quad_mma(in);
    if (!in.has("row") || !in.has("col") || in.modifiers.size() < 4)
        not_implemented(in);
    Type d = in.type(3), a = in.type(2), b = in.type(1), c = in.type(0);
    bool bytes = (a == Type::s8 || a == Type::u8) && (b == Type::s8 || b == Type::u8);
    if (bytes && d == Type::s32 && c == Type::s32) {
        if (in.has("m16n8k32"))
            return integer_multiply<16, 32>(in);
        if (in.has("m16n8k16"))
            return integer_multiply<16, 16>(in);
        if (in.has("m8n8k16"))
            return integer_multiply<8, 16>(in);
    }
    if (a == Type::f16 && b == Type::f16 && d == c) {
        if (in.has("m16n8k16"))
            return c == Type::f16 ? multiply<16, 16, f16, f16, float, true>
                                  : multiply<16, 16, f16, f16, float, false>;
        if (in.has("m16n8k8"))
            return c == Type::f16 ? multiply<16, 8, f16, f16, float, true>
                                  : multiply<16, 8, f16, f16, float, false>;
    }
    if (a == Type::bf16 && b == Type::bf16 && d == Type::f32 && c == Type::f32) {
        if (in.has("m16n8k16"))
            return multiply<16, 16, bf16, bf16, float, false>;
        if (in.has("m16n8k8"))
            return multiply<16, 8, bf16, bf16, float, false>;
    }
    if (a == Type::tf32 && b == Type::tf32 && d == Type::f32 && c == Type::f32) {
        if (in.has("m16n8k8"))
            return multiply<16, 8, float, float, float, false>;
        if (in.has("m16n8k4"))
            return multiply<16, 4, float, float, float, false>;
    }
    not_implemented(in);
}

// ---- ldmatrix, stmatrix, movmatrix --------------------------------------------------------------------

/// The host address of a row of 16 bytes, named by one lane.
inline u64 row_address(Warp &w, const Op &op, unsigned lane, bool shared) {
    u64 where = op.flags & wide_address
                    ? w.slot<u64>(op.a)[lane] + static_cast<u64>(op.immediate)
                    : static_cast<u32>(w.slot<u32>(op.a)[lane] + static_cast<u32>(op.immediate));
    if (where & 15)
        raise(w, op, FaultKind::misaligned_address, lane, "matrix row is not aligned to 16 bytes");
    if (shared) {
        if (where + 16 > w.block->shared_size || where + 16 < 16)
            raise(w, op, FaultKind::illegal_address, lane, "matrix row lies beyond shared memory");
        where += reinterpret_cast<u64>(w.block->shared);
    }
    return where;
}

template <bool Shared, bool Transposed> void load_matrices(Warp &w, const Op &op) {
    for (unsigned m = 0; m < op.count; ++m) {
        alignas(64) u16 rows[8][8];
        for (unsigned r = 0; r < 8; ++r)
            std::memcpy(rows[r], reinterpret_cast<const void *>(row_address(w, op, 8 * m + r, Shared)), 16);
        u32 *d = w.slot<u32>(w.list(op)[m]);
        if constexpr (!Transposed) { // lane 4 * g + t has elements 2 * t and 2 * t + 1 of row g: as they lie
            std::memcpy(d, rows, sizeof rows);
        } else {
            for (unsigned i = 0; i < lanes; ++i) {
                unsigned g = i / 4, t = 2 * (i % 4);
                d[i] = static_cast<u32>(rows[t][g]) | static_cast<u32>(rows[t + 1][g]) << 16;
            }
        }
    }
}

template <bool Shared, bool Transposed> void store_matrices(Warp &w, const Op &op) {
    for (unsigned m = 0; m < op.count; ++m) {
        u16 rows[8][8];
        const u32 *s = w.slot<u32>(w.list(op)[m]);
        for (unsigned i = 0; i < lanes; ++i) {
            unsigned g = i / 4, t = 2 * (i % 4);
            (Transposed ? rows[t][g] : rows[g][t]) = static_cast<u16>(s[i]);
            (Transposed ? rows[t + 1][g] : rows[g][t + 1]) = static_cast<u16>(s[i] >> 16);
        }
        for (unsigned r = 0; r < 8; ++r)
            std::memcpy(reinterpret_cast<void *>(row_address(w, op, 8 * m + r, Shared)), rows[r], 16);
    }
}

void transpose_matrix(Warp &w, const Op &op) {
    u16 rows[8][8];
    const u32 *a = w.slot<u32>(op.a);
    for (unsigned i = 0; i < lanes; ++i) {
        rows[i / 4][2 * (i % 4)] = static_cast<u16>(a[i]);
        rows[i / 4][2 * (i % 4) + 1] = static_cast<u16>(a[i] >> 16);
    }
    u32 *d = w.slot<u32>(op.dst);
    for (unsigned i = 0; i < lanes; ++i)
        d[i] = static_cast<u32>(rows[2 * (i % 4)][i / 4]) | static_cast<u32>(rows[2 * (i % 4) + 1][i / 4])
                                                                << 16;
}

} // namespace

Handler choose_matrix_load(bool shared, bool transposed) {
    if (shared)
        return transposed ? load_matrices<true, true> : load_matrices<true, false>;
    return transposed ? load_matrices<false, true> : load_matrices<false, false>;
}

Handler choose_matrix(const Instruction &in) {
    if (in.opcode == "mma")
        return choose_mma(in);
    bool shared = in.has("shared"), transposed = in.has("trans");
    if (in.opcode == "movmatrix")
        return transpose_matrix;
    if (in.opcode == "wmma")
        return choose_wmma(in);
    if (in.type() != Type::b16 || !in.has("m8n8"))
        not_implemented(in);
    if (in.opcode == "ldmatrix")
        return choose_matrix_load(shared, transposed);
    if (in.opcode == "stmatrix") {
        if (shared)
            return transposed ? store_matrices<true, true> : store_matrices<true, false>;
        return transposed ? store_matrices<false, true> : store_matrices<false, false>;
    }
    not_implemented(in);
}

} // namespace soft
