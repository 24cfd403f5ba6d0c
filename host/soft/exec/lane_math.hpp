// Scalar arithmetic as PTX defines it, one function an operation; the handlers apply them to lanes.
// Everything here is inline and free of branches where that lets the compiler use vectors.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace soft {

/// 16-bit floats travel as their bits; arithmetic happens in float or double.
struct f16 {
    std::uint16_t bits;
};
struct bf16 {
    std::uint16_t bits;
};

inline float to_float(f16 x) {
    return static_cast<float>(std::bit_cast<_Float16>(x.bits));
}
inline float to_float(bf16 x) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
inline float to_float(float x) {
    return x;
}
inline double to_float(double x) {
    return x;
}

inline f16 half_of(float x) {
    return {std::bit_cast<std::uint16_t>(static_cast<_Float16>(x))};
}

/// To bfloat16, to nearest even; NaN stays a quiet NaN.
inline bf16 bfloat_of(float x) {
    auto bits = std::bit_cast<std::uint32_t>(x);
    std::uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return {static_cast<std::uint16_t>(x != x ? 0x7fff : rounded)};
}

/// A double as the float between which and it no other lies, its last bit set when it is not exact
/// (round to odd): rounding that to 16 bits gives what rounding the double at once would. What is beyond
/// the largest float becomes that, whose last bit is set, so that all ways of rounding go on from it.
inline float odd_float(double x) {
    float f = static_cast<float>(x);
    auto bits = std::bit_cast<std::uint32_t>(f);
    double back = f;
    bool inexact = back != x && x == x;
    bool towards_zero = std::abs(back) > std::abs(x);
    std::uint32_t odd = (bits & 1) ? bits : towards_zero ? bits - 1 : bits + 1;
    return std::bit_cast<float>(inexact ? odd : bits);
}

/// a + b as a double rounded to odd.
inline double odd_sum(double a, double b) {
    double sum = a + b, of_b = sum - a;
    double lost =
        (a - (sum - of_b)) + (b - of_b); // Knuth's two-sum; no number where the sum is no finite one
    auto bits = std::bit_cast<std::uint64_t>(sum);
    bool inexact = lost > 0 || lost < 0, towards_zero = (lost > 0) != (sum > 0);
    std::uint64_t odd = (bits & 1) ? bits : towards_zero ? bits - 1 : bits + 1;
    return std::bit_cast<double>(inexact ? odd : bits);
}

/// An integer as a double rounded to odd.
template <class T> inline double odd_double(T x) {
    if constexpr (sizeof(T) < 8)
        return static_cast<double>(x);
    else // both halves are exact
        return odd_sum(static_cast<double>(x & ~T(0xffffffff)), static_cast<double>(x & T(0xffffffff)));
}

template <class T> inline T from_float(float x) {
    if constexpr (std::is_same_v<T, f16>)
        return half_of(x);
    else if constexpr (std::is_same_v<T, bf16>)
        return bfloat_of(x);
    else
        return static_cast<T>(x);
}

/// A subnormal float becomes a zero of its sign (.ftz).
inline float flush(float x) {
    auto bits = std::bit_cast<std::uint32_t>(x);
    return std::bit_cast<float>((bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits);
}

template <class T> inline T saturate(T x) {
    return x > T(0) ? (x < T(1) ? x : T(1)) : T(0);
}

/// PTX min and max: a NaN loses against a number, and -0 is below +0.
template <class T> inline T float_min(T a, T b) {
    T less = a < b ? a : (b < a ? b : (std::signbit(a) ? a : b));
    return a != a ? b : (b != b ? a : less);
}
template <class T> inline T float_max(T a, T b) {
    T more = a > b ? a : (b > a ? b : (std::signbit(a) ? b : a));
    return a != a ? b : (b != b ? a : more);
}

inline std::uint32_t shift_left(std::uint32_t a, std::uint32_t n) {
    return n > 31 ? 0 : a << (n & 31);
}
inline std::uint64_t shift_left(std::uint64_t a, std::uint32_t n) {
    return n > 63 ? 0 : a << (n & 63);
}

/// Source: PTX ISA, prmt: selects bytes of {b, a}; the sign of a byte is spread where bit 3 is set.
inline std::uint32_t permute(std::uint32_t a, std::uint32_t b, std::uint32_t selector) {
    std::uint64_t both = (static_cast<std::uint64_t>(b) << 32) | a;
    std::uint32_t result = 0;
    for (unsigned i = 0; i < 4; ++i) {
        unsigned choice = (selector >> (4 * i)) & 0xf;
        auto byte = static_cast<std::uint32_t>((both >> (8 * (choice & 7))) & 0xff);
        std::uint32_t spread = (byte & 0x80) ? 0xff : 0;
        result |= ((choice & 8) ? spread : byte) << (8 * i);
    }
    return result;
}

} // namespace soft
