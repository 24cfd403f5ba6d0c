// min and max whose result is no number when an operand is none (.NaN), or whose sign is the product's
// (.xorsign.abs).
#include "choose.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

constexpr s64 greatest = 1, not_a_number = 2, by_magnitude = 4, flushes = 8; // in Op::immediate

template <class H> inline float single_of(u32 bits) {
    if constexpr (std::is_same_v<H, float>)
        return std::bit_cast<float>(bits);
    else
        return to_float(H{static_cast<u16>(bits)});
}
template <class H> inline u32 bits_of(float x) {
    if constexpr (std::is_same_v<H, float>)
        return std::bit_cast<u32>(x != x ? std::bit_cast<float>(0x7fffffffu) : x);
    else
        return x != x ? 0x7fff : from_float<H>(x).bits;
}

template <class H> inline u32 extreme_of(u32 first, u32 second, s64 mode) {
    float a = single_of<H>(first), b = single_of<H>(second);
    if (mode & flushes)
        a = flush(a), b = flush(b);
    if ((mode & not_a_number) && (a != a || b != b))
        return bits_of<H>(std::numeric_limits<float>::quiet_NaN());
    const bool negative = std::signbit(a) != std::signbit(b);
    if (mode & by_magnitude)
        a = std::abs(a), b = std::abs(b);
    const float r = mode & greatest ? float_max(a, b) : float_min(a, b);
    return bits_of<H>((mode & by_magnitude) && negative ? -r : r);
}

template <class H, bool Packed> void extreme_lanes(Warp &w, const Op &op) {
    u32 *d = w.slot<u32>(op.dst);
    const u32 *a = w.slot<u32>(op.a), *b = w.slot<u32>(op.b);
    each_lane(w.exec, [&](unsigned i) {
        d[i] = extreme_of<H>(a[i], b[i], op.immediate);
        if constexpr (Packed)
            d[i] |= extreme_of<H>(a[i] >> 16, b[i] >> 16, op.immediate) << 16;
    });
}

} // namespace

Choice choose_extreme(const Instruction &in) {
    const Type type = in.type();
    const s64 mode = (in.opcode == "max" ? greatest : 0) | (in.has("NaN") ? not_a_number : 0) |
                     (in.has("xorsign") ? by_magnitude : 0) | (in.has("ftz") ? flushes : 0);
    const Handler run = type == Type::f32      ? extreme_lanes<float, false>
                        : type == Type::f16    ? extreme_lanes<f16, false>
                        : type == Type::f16x2  ? extreme_lanes<f16, true>
                        : type == Type::bf16   ? extreme_lanes<bf16, false>
                        : type == Type::bf16x2 ? extreme_lanes<bf16, true>
                                               : nullptr;
    if (!run || in.operands.size() != 3)
        not_implemented(in);
    return {run, type, {type, type}, 0, mode};
}

} // namespace soft
