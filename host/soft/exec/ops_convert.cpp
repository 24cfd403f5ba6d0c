// cvt between all scalar types.
#include "lanes.hpp"
#include "rounding.hpp"
#include "select.hpp"

#include <algorithm>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

using u8 = std::uint8_t;
using s8 = std::int8_t;
using u16 = std::uint16_t;
using s16 = std::int16_t;
using u32 = std::uint32_t;
using s32 = std::int32_t;
using u64 = std::uint64_t;
using s64 = std::int64_t;

template <class T> constexpr bool is_half = std::is_same_v<T, f16> || std::is_same_v<T, bf16>;

/// The value of a float operand, exactly, in float or double.
template <class S> inline auto widen(S x) {
    if constexpr (is_half<S>)
        return to_float(x);
    else
        return x;
}

template <class F> inline F to_whole(F x, s64 mode) {
    switch (mode & round_bits) {
    case nearest:
        return std::nearbyint(x);
    case zero:
        return std::trunc(x);
    case down:
        return std::floor(x);
    default:
        return std::ceil(x);
    }
}

/// Float to integer saturates. NaN becomes 0, or of 64 bits to or from the highest bit alone. Source: PTX
/// ISA, cvt.
template <class D, class F> inline D clamp_whole(F x) {
    constexpr auto low = static_cast<F>(std::numeric_limits<D>::min());
    // The largest integer may round up to a power of two in F: >= keeps that out of the cast.
    constexpr auto high = static_cast<F>(std::numeric_limits<D>::max());
    if (x != x)
        return sizeof(F) == 8 || sizeof(D) == 8
                   ? static_cast<D>(std::make_unsigned_t<D>(1) << (8 * sizeof(D) - 1))
                   : 0;
    if (x <= low)
        return std::numeric_limits<D>::min();
    if (x >= high)
        return std::numeric_limits<D>::max();
    return static_cast<D>(x);
}

/// Moves a result that was rounded to nearest to the one the mode asks for; `exact` is what it stands for.
template <class F, class E> inline F directed(F rounded, E exact, s64 mode) {
    E back = static_cast<E>(rounded);
    bool above = back > exact, below = back < exact;
    bool lower = (mode & round_bits) == down                ? above
                 : (mode & round_bits) == zero && exact > 0 ? above
                                                            : false;
    bool raise = (mode & round_bits) == up ? below : (mode & round_bits) == zero && exact < 0 ? below : false;
    if (lower)
        return std::nextafter(rounded, -std::numeric_limits<F>::infinity());
    if (raise)
        return std::nextafter(rounded, std::numeric_limits<F>::infinity());
    return rounded;
}

template <class H> inline H directed_half(float exact, s64 mode) {
    H nearest_half = from_float<H>(exact);
    float back = to_float(nearest_half);
    bool wants_down = (mode & round_bits) == down || ((mode & round_bits) == zero && exact > 0);
    bool wants_up = (mode & round_bits) == up || ((mode & round_bits) == zero && exact < 0);
    // The bits of a float of one sign count its magnitudes upwards.
    u16 sign = nearest_half.bits & 0x8000, magnitude = nearest_half.bits & 0x7fff;
    if (wants_down && back > exact)
        magnitude = static_cast<u16>(sign ? magnitude + 1 : magnitude - 1);
    else if (wants_up && back < exact)
        magnitude = static_cast<u16>(sign ? magnitude - 1 : magnitude + 1);
    return {static_cast<u16>(sign | magnitude)};
}

template <class D, class S> inline D convert(S source, s64 mode) {
    if constexpr (std::is_integral_v<S> && std::is_integral_v<D>) {
        if (!(mode & saturating))
            return static_cast<D>(source);
        auto wide = static_cast<__int128>(source);
        __int128 low = std::numeric_limits<D>::min(), high = std::numeric_limits<D>::max();
        return static_cast<D>(wide < low ? low : wide > high ? high : wide);
    } else if constexpr (std::is_integral_v<D>) {
        auto x = widen(source);
        if constexpr (std::is_same_v<S, float>)
            if (mode & flushing)
                x = flush(x);
        return clamp_whole<D>(to_whole(x, mode));
    } else if constexpr (std::is_integral_v<S>) {
        if constexpr (is_half<D>) {
            // More bits than a float has: round to odd first, then once to 16 bits.
            float f = sizeof(S) <= 2 ? static_cast<float>(source) : odd_float(odd_double(source));
            return directed_half<D>(f, mode);
        } else {
            D rounded = static_cast<D>(source);
            if ((mode & round_bits) == nearest)
                return rounded;
            return directed(rounded, static_cast<long double>(source), mode);
        }
    } else {
        auto x = widen(source);
        if constexpr (std::is_same_v<S, float>)
            if (mode & flushing)
                x = flush(x);
        if (mode & whole)
            x = to_whole(x, mode);
        if (mode & saturating)
            x = saturate(x);
        if (mode & relu)
            x = x > 0 || x != x ? x : 0; // what is no number stays none
        if constexpr (is_half<D>) {
            constexpr float largest = std::is_same_v<D, f16> ? 65504 : 0x1.fep127f;
            if (mode & finite && x == x)
                x = std::clamp<decltype(x)>(x, -largest, largest);
            float f = sizeof(x) == 8 ? odd_float(x) : static_cast<float>(x);
            return (mode & whole) || (mode & round_bits) == nearest ? from_float<D>(f)
                                                                    : directed_half<D>(f, mode);
        } else {
            D rounded = static_cast<D>(x);
            if (!(mode & whole) && (mode & round_bits) != nearest && sizeof(D) < sizeof(x))
                rounded = directed(rounded, x, mode);
            if constexpr (std::is_same_v<D, float>)
                if (mode & flushing)
                    rounded = flush(rounded);
            return rounded;
        }
    }
}

/// What a register holds of a D: signed integers are extended to its width.
template <class D>
using held = std::conditional_t<std::is_integral_v<D> && std::is_signed_v<D> && sizeof(D) < 4, s32, D>;

template <class D, class S, s64 Fixed> void convert_fixed(Warp &w, const Op &op) {
    unary<held<D>, S, [](S x) -> held<D> { return convert<D, S>(x, Fixed); }>(w, op);
}
template <class D, class S> void convert_any(Warp &w, const Op &op) {
    auto *d = w.slot<word_t<D>>(op.dst);
    const auto *a = w.slot<word_t<S>>(op.a);
    each_lane(w.exec,
              [&](unsigned i) { d[i] = to_word<held<D>>(convert<D, S>(from_word<S>(a[i]), op.immediate)); });
}

template <class D, class S> Handler conversion(s64 mode) {
    if (mode == 0)
        return convert_fixed<D, S, 0>;
    if constexpr (std::is_same_v<S, float> && std::is_same_v<D, s32>)
        if (mode == (zero | whole | flushing))
            return convert_fixed<D, S, zero | whole | flushing>;
    return convert_any<D, S>;
}

template <class S> Handler from(const Instruction &in, Type to, s64 mode) {
    switch (to) {
    case Type::b8:
    case Type::u8:
        return conversion<u8, S>(mode);
    case Type::s8:
        return conversion<s8, S>(mode);
    case Type::b16:
    case Type::u16:
        return conversion<u16, S>(mode);
    case Type::s16:
        return conversion<s16, S>(mode);
    case Type::b32:
    case Type::u32:
        return conversion<u32, S>(mode);
    case Type::s32:
        return conversion<s32, S>(mode);
    case Type::b64:
    case Type::u64:
        return conversion<u64, S>(mode);
    case Type::s64:
        return conversion<s64, S>(mode);
    case Type::f16:
        return conversion<f16, S>(mode);
    case Type::bf16:
        return conversion<bf16, S>(mode);
    case Type::f32:
        return conversion<float, S>(mode);
    case Type::f64:
        return conversion<double, S>(mode);
    default:
        not_implemented(in);
    }
}

Handler conversion_between(const Instruction &in, Type to, Type source, s64 mode) {
    switch (source) {
    case Type::b8:
    case Type::u8:
        return from<u8>(in, to, mode);
    case Type::s8:
        return from<s8>(in, to, mode);
    case Type::b16:
    case Type::u16:
        return from<u16>(in, to, mode);
    case Type::s16:
        return from<s16>(in, to, mode);
    case Type::b32:
    case Type::u32:
        return from<u32>(in, to, mode);
    case Type::s32:
        return from<s32>(in, to, mode);
    case Type::b64:
    case Type::u64:
        return from<u64>(in, to, mode);
    case Type::s64:
        return from<s64>(in, to, mode);
    case Type::f16:
        return from<f16>(in, to, mode);
    case Type::bf16:
        return from<bf16>(in, to, mode);
    case Type::f32:
        return from<float>(in, to, mode);
    case Type::f64:
        return from<double>(in, to, mode);
    default:
        not_implemented(in);
    }
}

/// cvt.f16x2.f32 d, a, b: a becomes the upper half, b the lower one.
template <class H> void pack(Warp &w, const Op &op) {
    u32 *d = w.slot<u32>(op.dst);
    const u32 *a = w.slot<u32>(op.a), *b = w.slot<u32>(op.b);
    each_lane(w.exec, [&](unsigned i) {
        u32 high = convert<H, float>(std::bit_cast<float>(a[i]), op.immediate).bits;
        u32 low = convert<H, float>(std::bit_cast<float>(b[i]), op.immediate).bits;
        d[i] = high << 16 | low;
    });
}

/// To tf32: 10 bits of fraction, to nearest with ties away from zero (.rna) or to even (.rn), or cut off
/// (.rz).
enum class Ties : std::uint8_t { away, even, cut };
template <Ties T, bool Relu, bool Finite> u32 tf32_of(u32 bits) {
    const bool none = (bits & 0x7fffffff) > 0x7f800000;
    if (Relu && (none || bits >> 31))
        return none ? 0x7fffffff : 0;
    constexpr u32 largest = 0x7f7fe000;
    if (Finite && !none && (bits & 0x7fffffff) > largest)
        return (bits & 0x80000000) | largest;
    if ((bits & 0x7f800000) == 0x7f800000)
        return bits;
    return (bits + (T == Ties::away ? 0x1000 : T == Ties::even ? 0xfff + (bits >> 13 & 1) : 0)) & ~0x1fffu;
}
template <Ties T> Handler tf32_rounded(const Instruction &in) {
    if (in.has("relu"))
        return in.has("satfinite") ? unary<u32, u32, tf32_of<T, true, true>>
                                   : unary<u32, u32, tf32_of<T, true, false>>;
    return in.has("satfinite") ? unary<u32, u32, tf32_of<T, false, true>>
                               : unary<u32, u32, tf32_of<T, false, false>>;
}

} // namespace

Choice choose_conversion(const Instruction &in) {
    Type source = in.type(), to = in.type(1);
    auto is_small = [](Type type) { return type == Type::e4m3x2 || type == Type::e5m2x2; };
    if (in.has("pack") || is_small(source) || is_small(to))
        return choose_small_float(in);
    Mode mode = mode_of(in);
    if ((to == Type::f16x2 || to == Type::bf16x2) && source == Type::f32)
        return {to == Type::f16x2 ? pack<f16> : pack<bf16>, to, {source, source}, 0, mode};
    if (to == Type::tf32 && source == Type::f32)
        return {in.has("rna")  ? tf32_rounded<Ties::away>(in)
                : in.has("rn") ? tf32_rounded<Ties::even>(in)
                : in.has("rz") ? tf32_rounded<Ties::cut>(in)
                               : (not_implemented(in), nullptr),
                to,
                {source},
                0,
                0};
    return {conversion_between(in, to, source, mode), to, {source}, 0, mode};
}

} // namespace soft
