// mma.m8n8k4 of f16: four products at once, each of the eight lanes 4q to 4q + 3 and 16 + 4q to 19 + 4q.
//
// Source of the fragment layouts: PTX ISA, "Matrix Fragments for mma.m8n8k4 with .f16 floating point type".
// With t = lane % 4 and u = 4 for the upper sixteen lanes, else 0:
//   A, element i:            row t + u, column i (.row); row i % 4 + u, column t (.col)
//   B, element i:            row t, column i + u (.row); row i, column t + u (.col)
//   C and D of f16, element i: row t + u, column i
//   C and D of f32, element i: row (t & 1) + (i & 2) + u, column (i & 4) + (t & 2) + (i & 1)
#include "lanes.hpp"
#include "select.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;

constexpr unsigned quads = 4, size = 8, depth = 4;

struct Place {
    unsigned row, column;
};

inline unsigned upper(unsigned lane) {
    return lane < 16 ? 0 : 4;
}

inline unsigned quad_of(unsigned lane) {
    return lane % 16 / 4;
}

inline Place place_of_a(unsigned lane, unsigned i, bool rows) {
    const unsigned t = lane % 4;
    return rows ? Place{t + upper(lane), i} : Place{i + upper(lane), t};
}

inline Place place_of_b(unsigned lane, unsigned i, bool rows) {
    const unsigned t = lane % 4;
    return rows ? Place{t, i + upper(lane)} : Place{i, t + upper(lane)};
}

template <bool Half> inline Place place_of_sum(unsigned lane, unsigned i) {
    const unsigned t = lane % 4;
    if constexpr (Half)
        return {t + upper(lane), i};
    else
        return {(t & 1) + (i & 2) + upper(lane), (i & 4) + (t & 2) + (i & 1)};
}

inline float half_at(Warp &w, const u32 *list, unsigned lane, unsigned i) {
    return to_float(f16{static_cast<u16>(w.slot<u32>(list[i / 2])[lane] >> (16 * (i % 2)))});
}

/// Operands in op.list: D, A, B, C. Rows: of A, of B; Half: packed f16 instead of f32 in C, in D.
template <bool RowsA, bool RowsB, bool HalfC, bool HalfD> void multiply_quads(Warp &w, const Op &op) {
    constexpr unsigned d_registers = HalfD ? 4 : 8;
    const u32 *d_list = w.list(op), *a_list = d_list + d_registers, *b_list = a_list + 2,
              *c_list = b_list + 2;
    float a[quads][size][depth], b[quads][depth][size], sum[quads][size][size];
    for (unsigned lane = 0; lane < lanes; ++lane) {
        const unsigned quad = quad_of(lane);
        for (unsigned i = 0; i < depth; ++i) {
            const Place left = place_of_a(lane, i, RowsA), right = place_of_b(lane, i, RowsB);
            a[quad][left.row][left.column] = half_at(w, a_list, lane, i);
            b[quad][right.row][right.column] = half_at(w, b_list, lane, i);
        }
        for (unsigned i = 0; i < size; ++i) {
            const Place place = place_of_sum<HalfC>(lane, i);
            sum[quad][place.row][place.column] =
                HalfC ? half_at(w, c_list, lane, i) : std::bit_cast<float>(w.slot<u32>(c_list[i])[lane]);
        }
    }
    for (unsigned quad = 0; quad < quads; ++quad)
        for (unsigned row = 0; row < size; ++row)
            for (unsigned k = 0; k < depth; ++k)
                for (unsigned column = 0; column < size; ++column)
                    sum[quad][row][column] += a[quad][row][k] * b[quad][k][column];
    each_lane(w.exec, [&](unsigned lane) {
        for (unsigned i = 0; i < size; ++i) {
            const Place place = place_of_sum<HalfD>(lane, i);
            const float value = sum[quad_of(lane)][place.row][place.column];
            if constexpr (HalfD) {
                u32 &word = w.slot<u32>(d_list[i / 2])[lane];
                const u32 bits = half_of(value).bits;
                word = i % 2 ? (word & 0xffff) | bits << 16 : bits;
            } else {
                w.slot<u32>(d_list[i])[lane] = std::bit_cast<u32>(value);
            }
        }
    });
}

template <bool RowsA, bool RowsB> Handler choose_sums(const Instruction &in, bool half_c, bool half_d) {
    if (half_d && !half_c)
        not_implemented(in, "a sum of f16 from one of f32");
    if (half_d)
        return multiply_quads<RowsA, RowsB, true, true>;
    return half_c ? multiply_quads<RowsA, RowsB, true, false> : multiply_quads<RowsA, RowsB, false, false>;
}

} // namespace

Handler choose_quad_mma(const Instruction &in) {
    const Type d = in.type(3), a = in.type(2), b = in.type(1), c = in.type(0);
    const auto is_sum = [](Type type) { return type == Type::f16 || type == Type::f32; };
    if (a != Type::f16 || b != Type::f16 || !is_sum(c) || !is_sum(d) || in.modifiers.size() < 5)
        not_implemented(in);
    const bool rows_a = in.modifiers[3] == "row", rows_b = in.modifiers[4] == "row";
    const bool half_c = c == Type::f16, half_d = d == Type::f16;
    if (rows_a)
        return rows_b ? choose_sums<true, true>(in, half_c, half_d)
                      : choose_sums<true, false>(in, half_c, half_d);
    return rows_b ? choose_sums<false, true>(in, half_c, half_d)
                  : choose_sums<false, false>(in, half_c, half_d);
}

} // namespace soft
