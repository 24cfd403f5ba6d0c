// Sums of more bits than a register has: add.cc, addc, sub.cc, subc, mad.cc, madc. The carry of each lane is
// 0 or 1 in the value that Op::predicate names.
#include "choose.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

constexpr s64 takes = 1, leaves = 2; // the carry; in Op::immediate
enum class Extended { sum, difference, low, high };

template <Extended E, class T> void extended_lanes(Warp &w, const Op &op) {
    using Wide = std::conditional_t<sizeof(T) == 4, u64, unsigned __int128>;
    constexpr unsigned bits = 8 * sizeof(T);
    T *d = w.slot<T>(op.dst);
    const T *a = w.slot<T>(op.a), *b = w.slot<T>(op.b), *c = w.slot<T>(op.c);
    u32 *carry = w.slot<u32>(op.predicate);
    each_lane(w.exec, [&](unsigned i) {
        const Wide in = op.immediate & takes ? carry[i] & 1 : 0;
        Wide sum;
        if constexpr (E == Extended::sum)
            sum = Wide{a[i]} + b[i] + in;
        else if constexpr (E == Extended::difference)
            sum = Wide{a[i]} - b[i] - in; // what was borrowed stands in all higher bits
        else {
            const Wide product = Wide{a[i]} * b[i];
            sum = Wide{static_cast<T>(E == Extended::high ? product >> bits : product)} + c[i] + in;
        }
        d[i] = static_cast<T>(sum);
        if (op.immediate & leaves)
            carry[i] = static_cast<u32>(sum >> bits) & 1;
    });
}

/// The upper half of a signed product differs from that of an unsigned one.
template <class T> void signed_high_lanes(Warp &w, const Op &op) {
    using Wide = std::conditional_t<sizeof(T) == 4, u64, unsigned __int128>;
    using Signed = std::conditional_t<sizeof(T) == 4, s64, __int128>;
    constexpr unsigned bits = 8 * sizeof(T);
    T *d = w.slot<T>(op.dst);
    const T *a = w.slot<T>(op.a), *b = w.slot<T>(op.b), *c = w.slot<T>(op.c);
    u32 *carry = w.slot<u32>(op.predicate);
    each_lane(w.exec, [&](unsigned i) {
        using S = std::make_signed_t<T>;
        const Signed product = Signed{static_cast<S>(a[i])} * Signed{static_cast<S>(b[i])};
        const Wide sum =
            Wide{static_cast<T>(product >> bits)} + c[i] + (op.immediate & takes ? carry[i] & 1 : 0);
        d[i] = static_cast<T>(sum);
        if (op.immediate & leaves)
            carry[i] = static_cast<u32>(sum >> bits) & 1;
    });
}

template <class T> Choice extended_of(const Instruction &in, bool is_signed, s64 carry) {
    const Type type = type_of<T>();
    const std::string_view name = in.opcode;
    if (name == "add" || name == "addc")
        return {extended_lanes<Extended::sum, T>, type, {type, type}, 0, carry};
    if (name == "sub" || name == "subc")
        return {extended_lanes<Extended::difference, T>, type, {type, type}, 0, carry};
    Handler run = in.has("lo")    ? extended_lanes<Extended::low, T>
                  : !in.has("hi") ? nullptr
                  : is_signed     ? signed_high_lanes<T>
                                  : extended_lanes<Extended::high, T>;
    if (!run || (name != "mad" && name != "madc"))
        not_implemented(in);
    return {run, type, {type, type, type}, 0, carry};
}

} // namespace

Choice choose_extended(const Instruction &in) {
    const s64 carry = (in.opcode.back() == 'c' ? takes : 0) | (in.has("cc") ? leaves : 0);
    switch (in.type()) {
    case Type::u32:
    case Type::b32:
        return extended_of<u32>(in, false, carry);
    case Type::s32:
        return extended_of<u32>(in, true, carry);
    case Type::u64:
    case Type::b64:
        return extended_of<u64>(in, false, carry);
    case Type::s64:
        return extended_of<u64>(in, true, carry);
    default:
        not_implemented(in);
    }
}

} // namespace soft
