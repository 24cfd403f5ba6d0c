// 8-bit floats, and the numbers that they stand for.
//
// e4m3 has no infinity: of its patterns only 0x7f and 0xff are no numbers. e5m2 is the upper half of an f16.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace soft {

struct e4m3 {
    static constexpr int fraction = 3, least = -6; // bits of fraction, exponent of the smallest normal number
    static constexpr std::uint32_t largest = 0x7e;
};
struct e5m2 {
    static constexpr int fraction = 2, least = -14;
    static constexpr std::uint32_t largest = 0x7b;
};

template <class S> inline float value_of(std::uint32_t bits) {
    const std::uint32_t magnitude = bits & 0x7f;
    float value;
    if (std::is_same_v<S, e4m3> ? magnitude == 0x7f : magnitude > 0x7c)
        return std::bit_cast<float>(0x7fffffffu);
    if (std::is_same_v<S, e5m2> && magnitude == 0x7c)
        value = std::numeric_limits<float>::infinity();
    else if (const std::uint32_t exponent = magnitude >> S::fraction; exponent == 0)
        value = std::ldexp(static_cast<float>(magnitude), S::least - S::fraction);
    else
        value = std::ldexp(static_cast<float>((magnitude & ((1u << S::fraction) - 1)) | 1u << S::fraction),
                           static_cast<int>(exponent) - 1 + S::least - S::fraction);
    return bits & 0x80 ? -value : value;
}

} // namespace soft
