// Conversions from and to pairs of 8-bit floats (e4m3x2, e5m2x2), and cvt.pack.
#include "choose.hpp"
#include "rounding.hpp"
#include "small_float.hpp"

#include <algorithm>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

/// To nearest even; beyond the largest number, that number (.satfinite).
template <class S> inline u32 small_of(float x) {
    const u32 sign = std::bit_cast<u32>(x) >> 24 & 0x80;
    if (x != x)
        return 0x7f;
    const float magnitude = std::abs(x);
    if (magnitude > 1e6f)
        return sign | S::largest;
    // In units of the last place of its own exponent, or of the smallest normal one.
    int exponent = magnitude == 0 ? S::least : std::max(std::ilogb(magnitude), S::least);
    const float units = std::nearbyint(std::ldexp(magnitude, S::fraction - exponent));
    // A carry out of the fraction moves into the exponent by itself.
    const u32 bits = static_cast<u32>(units) + (static_cast<u32>(exponent - S::least) << S::fraction);
    return sign | std::min(bits, S::largest);
}

inline float positive(float x) { // .relu; what is no number stays none
    return x > 0 || x != x ? x : 0;
}

template <class S, bool Relu> Choice from_floats() {
    Choice choice = two<u16, float, float, [](float a, float b) -> u16 {
        if constexpr (Relu)
            a = positive(a), b = positive(b);
        return static_cast<u16>(small_of<S>(a) << 8 | small_of<S>(b));
    }>();
    return choice;
}
template <class S, bool Relu> Choice from_halves() {
    return one<u16, u32, [](u32 a) -> u16 {
        float high = to_float(f16{static_cast<u16>(a >> 16)}), low = to_float(f16{static_cast<u16>(a)});
        if constexpr (Relu)
            high = positive(high), low = positive(low);
        return static_cast<u16>(small_of<S>(high) << 8 | small_of<S>(low));
    }>();
}
template <class S, bool Relu> Choice to_halves() {
    return one<u32, u16, [](u16 a) {
        float high = value_of<S>(a >> 8), low = value_of<S>(a);
        if constexpr (Relu)
            high = positive(high), low = positive(low);
        return u32{half_of(high).bits} << 16 | half_of(low).bits;
    }>();
}

template <class S, bool Relu> Choice small_choice(const Instruction &in, bool narrows) {
    if (!narrows)
        return in.type(1) == Type::f16x2 ? to_halves<S, Relu>() : (not_implemented(in), Choice{});
    if (!in.has("satfinite"))
        not_implemented(in);
    if (in.type() == Type::f32)
        return from_floats<S, Relu>();
    return in.type() == Type::f16x2 ? from_halves<S, Relu>() : (not_implemented(in), Choice{});
}

template <class T> inline u32 clamped(s32 x) {
    const s64 low = std::numeric_limits<T>::min(), high = std::numeric_limits<T>::max();
    return static_cast<std::make_unsigned_t<T>>(static_cast<T>(std::clamp<s64>(x, low, high)));
}
template <class T> Choice pack_two() {
    return two<u32, s32, s32, [](s32 a, s32 b) { return clamped<T>(a) << 16 | clamped<T>(b); }>();
}
template <class T> Choice pack_with() {
    return three<u32, s32, s32, u32,
                 [](s32 a, s32 b, u32 c) { return c << 16 | clamped<T>(a) << 8 | clamped<T>(b); }>();
}
/// The same below a byte.
template <unsigned Bits, bool Signed> Choice pack_parts() {
    return three<u32, s32, s32, u32, [](s32 a, s32 b, u32 c) {
        constexpr s32 high = Signed ? (1 << (Bits - 1)) - 1 : (1 << Bits) - 1, low = Signed ? -high - 1 : 0;
        const auto part = [](s32 x) {
            return static_cast<u32>(x < low ? low : (x > high) ? high : x) & ((1u << Bits) - 1);
        };
        return c << (2 * Bits) | part(a) << Bits | part(b);
    }>();
}

Choice choose_pack_saturated(const Instruction &in) {
    // cvt.pack.sat.u8.s32.b32: what it becomes, what it comes from, and what the rest is filled with
    const bool filled = in.operands.size() == 4;
    const Type to = in.type(filled ? 2 : 1);
    if (!in.has("sat") || in.type(filled ? 1 : 0) != Type::s32)
        not_implemented(in);
    if (filled && to == Type::u8)
        return pack_with<std::uint8_t>();
    if (filled && to == Type::s8)
        return pack_with<std::int8_t>();
    if (filled && (to == Type::u4 || to == Type::s4))
        return to == Type::u4 ? pack_parts<4, false>() : pack_parts<4, true>();
    if (filled && (to == Type::u2 || to == Type::s2))
        return to == Type::u2 ? pack_parts<2, false>() : pack_parts<2, true>();
    if (!filled && to == Type::u16)
        return pack_two<u16>();
    if (!filled && to == Type::s16)
        return pack_two<s16>();
    not_implemented(in);
}

} // namespace

Choice choose_small_float(const Instruction &in) {
    if (in.has("pack"))
        return choose_pack_saturated(in);
    const bool narrows = in.type(1) == Type::e4m3x2 || in.type(1) == Type::e5m2x2;
    const Type small = narrows ? in.type(1) : in.type();
    if (!in.has("rn"))
        not_implemented(in);
    if (small == Type::e4m3x2)
        return in.has("relu") ? small_choice<e4m3, true>(in, narrows)
                              : small_choice<e4m3, false>(in, narrows);
    return in.has("relu") ? small_choice<e5m2, true>(in, narrows) : small_choice<e5m2, false>(in, narrows);
}

} // namespace soft
