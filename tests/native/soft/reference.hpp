// 16-bit floats by exact arithmetic: what a number rounds to, straight from the definition.
#pragma once

#include <cmath>
#include <cstdint>

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

} // namespace soft_test
