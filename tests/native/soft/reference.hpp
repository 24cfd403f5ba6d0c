// 16-bit and 8-bit floats by exact arithmetic: what a number rounds to, straight from the definition.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

namespace soft_test {

enum class Rounding { nearest, zero, down, up };

/// A binary format of 16 bits with `Fraction` bits of fraction and normal numbers from 2^Least up.
template <int Fraction, int Least> struct Small {
    using Wide = __float128;

    static std::uint64_t of(Wide exact, bool negative, Rounding rounding = Rounding::nearest) {
        const std::uint64_t sign = negative ? 0x8000 : 0, infinity = ((1 << (15 - Fraction)) - 1) << Fraction;
        Wide magnitude = exact < 0 ? -exact : exact;
        int exponent = Least;
        Wide unit = power(Least - Fraction); // of the last place
        while (magnitude >= unit * power(Fraction + 1)) {
            unit *= 2;
            if (++exponent > 1 - Least)
                return sign | (rounds_away(rounding, negative) ? infinity : infinity - 1);
        }
        auto whole = static_cast<std::int64_t>(magnitude / unit);
        const Wide rest = magnitude - static_cast<Wide>(whole) * unit;
        if (rounding == Rounding::nearest)
            whole += rest * 2 > unit || (rest * 2 == unit && (whole & 1));
        else
            whole += rest > 0 && rounds_away(rounding, negative);
        // A carry out of the fraction moves into the exponent by itself, up to infinity.
        auto bits =
            static_cast<std::uint64_t>(whole) + (static_cast<std::uint64_t>(exponent - Least) << Fraction);
        return sign | bits;
    }
    /// A double, NaN and infinities too.
    static std::uint64_t of(double x, Rounding rounding = Rounding::nearest) {
        const std::uint64_t infinity = ((1 << (15 - Fraction)) - 1) << Fraction;
        if (std::isnan(x))
            return 0x7fff;
        if (std::isinf(x))
            return (x < 0 ? 0x8000 : 0) | infinity;
        return of(static_cast<Wide>(x), std::signbit(x), rounding);
    }

  private:
    static Wide power(int exponent) {
        Wide result = 1;
        for (; exponent > 0; --exponent)
            result *= 2;
        for (; exponent < 0; ++exponent)
            result /= 2;
        return result;
    }
    static bool rounds_away(Rounding rounding, bool negative) {
        return rounding == Rounding::nearest || (rounding == Rounding::up && !negative) ||
               (rounding == Rounding::down && negative);
    }
};
using Half16 = Small<10, -14>;
using Bfloat16 = Small<7, -126>;

/// a * b + c of numbers of at most 56 bits, as far as a rounding to less than 112 needs to know it: of what
/// is lost the last place says only on which side of the sum it lies.
inline double fused(double a, double b, double c) {
    return a * b + c;
}
inline __float128 fused(__float128 a, __float128 b, __float128 c) {
    const __float128 product = a * b, sum = product + c, of_c = sum - product;
    const __float128 lost = (product - (sum - of_c)) + (c - of_c); // Knuth's two-sum
    __float128 place = sum < 0 ? -sum : sum;
    for (int i = 0; i < 112; ++i)
        place /= 2;
    return lost > 0 ? sum + place : lost < 0 ? sum - place : sum;
}

/// An 8-bit format by its definition.
struct SmallFormat {
    const char *pair; // what two of them are called
    int fraction, bias;
    std::uint64_t largest; // pattern of the largest number

    std::string name() const { return std::string(pair).substr(0, 4); }
    double number(std::uint64_t pattern) const {
        const std::uint64_t magnitude = pattern & 0x7f;
        if (magnitude > largest)
            return name() == "e5m2" && magnitude == 0x7c ? (pattern & 0x80 ? -INFINITY : INFINITY) : NAN;
        const auto exponent = static_cast<int>(magnitude >> fraction);
        const auto rest = static_cast<double>(magnitude & ((1u << fraction) - 1)),
                   one = std::ldexp(1, fraction);
        const double size =
            exponent == 0 ? std::ldexp(rest / one, 1 - bias) : std::ldexp(1 + rest / one, exponent - bias);
        return pattern & 0x80 ? -size : size;
    }
    /// The pattern of the nearest number, of two as near the even one; beyond the largest, the largest.
    std::uint64_t nearest(double x) const {
        if (std::isnan(x))
            return 0x7f;
        const double size = std::min(std::abs(x), number(largest));
        std::uint64_t best = 0;
        for (std::uint64_t pattern = 1; pattern <= largest; ++pattern) {
            const double now = std::abs(number(pattern) - size), before = std::abs(number(best) - size);
            if (now < before || (now == before && pattern % 2 == 0))
                best = pattern;
        }
        return best | (std::signbit(x) ? 0x80 : 0);
    }
    std::uint64_t nearest_pair(double high, double low) const { return nearest(high) << 8 | nearest(low); }
};
inline constexpr SmallFormat small_formats[] = {{"e4m3x2", 3, 7, 0x7e}, {"e5m2x2", 2, 15, 0x7b}};

} // namespace soft_test
