// mma in the forms that few programs have: 4-bit and single-bit factors, 8-bit floats, f64, sums that
// saturate.
//
// Source of the fragment layouts: PTX ISA, "Matrix Fragments for mma.m8n8k4 with .f64" to those for
// mma.m16n8k256. All follow the one rule that ops_matrix.cpp states.
#include "lanes.hpp"
#include "rounds.hpp"
#include "select.hpp"
#include "small_float.hpp"

#include <algorithm>
#include <array>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

constexpr unsigned columns = 8; // of B, C and D

/// What a product is like; packed into Op::immediate.
struct Product {
    u16 m, k;
    std::uint8_t bits;                                             // of an element of a factor
    std::uint8_t round;                                            // of Rounds
    bool signed_a : 1, signed_b : 1, saturates : 1, exclusive : 1; // exclusive: xor of single bits, else and
    std::uint8_t unused;
};
static_assert(sizeof(Product) == 8);

/// Calls take(register, lane, element, row, column) for all of a factor: of A, or of B transposed.
template <class F> void each_place(unsigned rows, unsigned k, unsigned per_register, F take) {
    const unsigned registers = rows / 8 * k / (4 * per_register), step = rows / 8;
    for (unsigned r = 0; r < registers; ++r)
        for (unsigned lane = 0; lane < lanes; ++lane)
            for (unsigned e = 0; e < per_register; ++e)
                take(r, lane, e, lane / 4 + 8 * (r % step), (r / step * 4 + lane % 4) * per_register + e);
}

struct Lists {
    const u32 *d, *a, *b, *c;

    Lists(Warp &w, const Op &op, const Product &product, unsigned per_register, unsigned sums) {
        d = w.list(op);
        a = d + sums;
        b = a + product.m / 8 * product.k / (4 * per_register);
        c = b + product.k / (4 * per_register);
    }
};

/// Where element i of a lane's sums lies.
inline unsigned place_of_sum(unsigned lane, unsigned i) {
    return (lane / 4 + 8 * (i / 2)) * columns + 2 * (lane % 4) + i % 2;
}

s32 whole_number(u32 word, unsigned e, unsigned bits, bool is_signed) {
    const u32 part = word >> (e * bits) & ((1u << bits) - 1);
    return is_signed && part >> (bits - 1) ? static_cast<s32>(part) - (1 << bits) : static_cast<s32>(part);
}

/// Sums of whole numbers, given the exact sum of products of each place.
template <class F> void add_whole(Warp &w, const Product &product, const Lists &lists, F products) {
    for (unsigned i = 0; i < product.m / 4u; ++i) {
        const u32 *c = w.slot<u32>(lists.c[i]);
        u32 *d = w.slot<u32>(lists.d[i]);
        u32 results[lanes];
        for (unsigned lane = 0; lane < lanes; ++lane) {
            const unsigned place = place_of_sum(lane, i);
            s64 total = static_cast<s32>(c[lane]) + products(place / columns, place % columns);
            if (product.saturates)
                total =
                    std::clamp<s64>(total, std::numeric_limits<s32>::min(), std::numeric_limits<s32>::max());
            results[lane] = static_cast<u32>(total);
        }
        each_lane(w.exec, [&](unsigned lane) { d[lane] = results[lane]; });
    }
}

void multiply_integers(Warp &w, const Op &op) {
    constexpr unsigned most = 64; // of k
    const auto product = std::bit_cast<Product>(op.immediate);
    const unsigned per_register = 32u / product.bits;
    const Lists lists(w, op, product, per_register, product.m / 4u);
    s32 a[16][most], b[columns][most];
    each_place(product.m, product.k, per_register,
               [&](unsigned r, unsigned lane, unsigned e, unsigned row, unsigned column) {
                   a[row][column] =
                       whole_number(w.slot<u32>(lists.a[r])[lane], e, product.bits, product.signed_a);
               });
    each_place(columns, product.k, per_register,
               [&](unsigned r, unsigned lane, unsigned e, unsigned row, unsigned column) {
                   b[row][column] =
                       whole_number(w.slot<u32>(lists.b[r])[lane], e, product.bits, product.signed_b);
               });
    add_whole(w, product, lists, [&](unsigned row, unsigned column) {
        s64 sum = 0;
        for (unsigned k = 0; k < product.k; ++k)
            sum += a[row][k] * b[column][k];
        return sum;
    });
}

/// Bits that are set in both, or in one only, are counted.
void multiply_bits(Warp &w, const Op &op) {
    constexpr unsigned most = 256 / 32;
    const auto product = std::bit_cast<Product>(op.immediate);
    const Lists lists(w, op, product, 32, product.m / 4u);
    u32 a[16][most], b[columns][most];
    each_place(product.m, product.k / 32, 1,
               [&](unsigned r, unsigned lane, unsigned, unsigned row, unsigned word) {
                   a[row][word] = w.slot<u32>(lists.a[r])[lane];
               });
    each_place(columns, product.k / 32, 1,
               [&](unsigned r, unsigned lane, unsigned, unsigned row, unsigned word) {
                   b[row][word] = w.slot<u32>(lists.b[r])[lane];
               });
    add_whole(w, product, lists, [&](unsigned row, unsigned column) {
        s64 sum = 0;
        for (unsigned i = 0; i < product.k / 32; ++i)
            sum += std::popcount(product.exclusive ? a[row][i] ^ b[column][i] : a[row][i] & b[column][i]);
        return sum;
    });
}

/// 8-bit floats, whose products a float holds exactly. Half: C and D are packed f16, else f32.
template <class A, class B, bool Half> void multiply_small_floats(Warp &w, const Op &op) {
    constexpr unsigned most = 32; // of k
    const auto product = std::bit_cast<Product>(op.immediate);
    const Lists lists(w, op, product, 4, Half ? product.m / 8u : product.m / 4u);
    float a[16][most], b[columns][most], sums[16 * columns];
    each_place(product.m, product.k, 4,
               [&](unsigned r, unsigned lane, unsigned e, unsigned row, unsigned column) {
                   a[row][column] = value_of<A>(w.slot<u32>(lists.a[r])[lane] >> (8 * e) & 0xff);
               });
    each_place(columns, product.k, 4,
               [&](unsigned r, unsigned lane, unsigned e, unsigned row, unsigned column) {
                   b[row][column] = value_of<B>(w.slot<u32>(lists.b[r])[lane] >> (8 * e) & 0xff);
               });
    for (unsigned i = 0; i < product.m / 4u; ++i)
        for (unsigned lane = 0; lane < lanes; ++lane) {
            const u32 word = w.slot<u32>(lists.c[Half ? i / 2 : i])[lane];
            float &sum = sums[place_of_sum(lane, i)];
            sum = Half ? to_float(f16{static_cast<u16>(word >> (16 * (i % 2)))}) : std::bit_cast<float>(word);
        }
    for (unsigned row = 0; row < product.m; ++row)
        for (unsigned column = 0; column < columns; ++column)
            for (unsigned k = 0; k < product.k; ++k)
                sums[row * columns + column] += a[row][k] * b[column][k];
    each_lane(w.exec, [&](unsigned lane) {
        for (unsigned i = 0; i < product.m / 4u; ++i) {
            const float sum = sums[place_of_sum(lane, i)];
            u32 &word = w.slot<u32>(lists.d[Half ? i / 2 : i])[lane];
            if constexpr (Half)
                word =
                    i % 2 ? (word & 0xffff) | static_cast<u32>(half_of(sum).bits) << 16 : half_of(sum).bits;
            else
                word = std::bit_cast<u32>(sum);
        }
    });
}

void multiply_doubles(Warp &w, const Op &op) {
    constexpr unsigned most = 16; // of k
    const auto product = std::bit_cast<Product>(op.immediate);
    const Lists lists(w, op, product, 1, product.m / 4u);
    double a[16][most], b[columns][most], sums[16 * columns];
    each_place(product.m, product.k, 1,
               [&](unsigned r, unsigned lane, unsigned, unsigned row, unsigned column) {
                   a[row][column] = w.slot<double>(lists.a[r])[lane];
               });
    each_place(columns, product.k, 1,
               [&](unsigned r, unsigned lane, unsigned, unsigned row, unsigned column) {
                   b[row][column] = w.slot<double>(lists.b[r])[lane];
               });
    for (unsigned i = 0; i < product.m / 4u; ++i)
        for (unsigned lane = 0; lane < lanes; ++lane)
            sums[place_of_sum(lane, i)] = w.slot<double>(lists.c[i])[lane];
    {
        const Rounds rounds(product.round);
        for (unsigned row = 0; row < product.m; ++row)
            for (unsigned column = 0; column < columns; ++column) {
                // volatile: the arithmetic must stay between the two changes of the rounding mode
                volatile double sum = sums[row * columns + column];
                for (unsigned k = 0; k < product.k; ++k) {
                    volatile double left = a[row][k];
                    sum = std::fma(left, b[column][k], sum);
                }
                sums[row * columns + column] = sum;
            }
    }
    each_lane(w.exec, [&](unsigned lane) {
        for (unsigned i = 0; i < product.m / 4u; ++i)
            w.slot<double>(lists.d[i])[lane] = sums[place_of_sum(lane, i)];
    });
}

template <class A, class B> Handler small_floats(bool half) {
    return half ? multiply_small_floats<A, B, true> : multiply_small_floats<A, B, false>;
}

struct Shape {
    std::string_view name;
    u16 m, k;
};
constexpr std::array<Shape, 11> shapes = {{{"m8n8k4", 8, 4},
                                           {"m8n8k16", 8, 16},
                                           {"m8n8k32", 8, 32},
                                           {"m8n8k128", 8, 128},
                                           {"m16n8k4", 16, 4},
                                           {"m16n8k8", 16, 8},
                                           {"m16n8k16", 16, 16},
                                           {"m16n8k32", 16, 32},
                                           {"m16n8k64", 16, 64},
                                           {"m16n8k128", 16, 128},
                                           {"m16n8k256", 16, 256}}};

bool is_one_of(const Instruction &in, std::initializer_list<std::string_view> names) {
    return std::any_of(names.begin(), names.end(), [&](std::string_view name) { return in.has(name); });
}

bool is_integer_of(Type type, unsigned bits) {
    return bits == 8 ? type == Type::s8 || type == Type::u8 : type == Type::s4 || type == Type::u4;
}

} // namespace

bool is_rare_mma(const Instruction &in) {
    const Type a = in.type(2);
    return in.has("satfinite") || a == Type::f64 || a == Type::b1 || a == Type::s4 || a == Type::u4 ||
           a == Type::e4m3 || a == Type::e5m2;
}

std::int64_t rare_mma_form(const Instruction &in) {
    Product product = {};
    for (const Shape &shape : shapes)
        if (in.has(shape.name))
            product.m = shape.m, product.k = shape.k;
    const Type a = in.type(2), b = in.type(1);
    product.bits = is_integer_of(a, 4) ? 4 : 8;
    product.signed_a = a == Type::s8 || a == Type::s4;
    product.signed_b = b == Type::s8 || b == Type::s4;
    product.saturates = in.has("satfinite");
    product.exclusive = in.has("xor");
    product.round = in.has("rz") ? 1 : in.has("rm") ? 2 : in.has("rp") ? 3 : 0;
    return std::bit_cast<std::int64_t>(product);
}

Handler choose_rare_mma(const Instruction &in) {
    const Type d = in.type(3), a = in.type(2), b = in.type(1), c = in.type(0);
    if (!in.has("row") || !in.has("col") || d != c)
        not_implemented(in);
    if (c == Type::f64 && a == Type::f64 && b == Type::f64 && !in.has("satfinite") &&
        is_one_of(in, {"m8n8k4", "m16n8k4", "m16n8k8", "m16n8k16"}))
        return multiply_doubles;
    if (c == Type::s32) {
        if ((is_integer_of(a, 8) && is_integer_of(b, 8) &&
             is_one_of(in, {"m8n8k16", "m16n8k16", "m16n8k32"})) ||
            (is_integer_of(a, 4) && is_integer_of(b, 4) &&
             is_one_of(in, {"m8n8k32", "m16n8k32", "m16n8k64"})))
            return multiply_integers;
        if (a == Type::b1 && b == Type::b1 && in.has("popc") && is_one_of(in, {"xor", "and"}) &&
            is_one_of(in, {"m8n8k128", "m16n8k128", "m16n8k256"}))
            return multiply_bits;
    }
    if ((c == Type::f16 || c == Type::f32) && is_one_of(in, {"m16n8k16", "m16n8k32"}) &&
        !in.has("satfinite")) {
        const bool half = c == Type::f16;
        if (a == Type::e4m3 && b == Type::e4m3)
            return small_floats<e4m3, e4m3>(half);
        if (a == Type::e4m3 && b == Type::e5m2)
            return small_floats<e4m3, e5m2>(half);
        if (a == Type::e5m2 && b == Type::e4m3)
            return small_floats<e5m2, e4m3>(half);
        if (a == Type::e5m2 && b == Type::e5m2)
            return small_floats<e5m2, e5m2>(half);
    }
    not_implemented(in);
}

} // namespace soft
