// Logic, shifts, fields of bits and bytes: what takes integers for their bits.
#include "choose.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

enum class Logic { and_, or_, xor_, not_ };
template <Logic L, auto F> Choice logic(const Instruction &in) {
    if constexpr (L == Logic::not_)
        return integer(in, in.type(),
                       []<class T>(of<T>) { return one<T, T, [](T a) { return static_cast<T>(~a); }>(); });
    else
        return integer(in, in.type(), []<class T>(of<T>) {
            return two<T, T, T, [](T a, T b) { return static_cast<T>(F(a, b)); }>();
        });
}

Choice choose_shift_left(const Instruction &in) {
    return integer(in, in.type(), []<class T>(of<T>) {
        return two<T, T, u32, [](T a, u32 n) {
            return static_cast<T>(n >= 8 * sizeof(T) ? 0 : static_cast<u64>(a) << (n & 63));
        }>();
    });
}
Choice choose_shift_right(const Instruction &in) {
    return integer(in, in.type(), []<class T>(of<T>) {
        return two<T, T, u32, [](T a, u32 n) {
            constexpr u32 last = 8 * sizeof(T) - 1;
            if constexpr (std::is_signed_v<T>)
                return static_cast<T>(a >> (n > last ? last : n));
            else
                return static_cast<T>(n > last ? T(0) : static_cast<T>(a >> (n & last)));
        }>();
    });
}

Choice choose_shf(const Instruction &in) {
    bool clamp = in.has("clamp");
    if (in.has("l"))
        return clamp ? three<u32, u32, u32, u32,
                             [](u32 a, u32 b, u32 c) {
                                 c = (c > 32) ? 32 : c;
                                 return static_cast<u32>((((static_cast<u64>(b) << 32) | a) << c) >> 32);
                             }>()
                     : three<u32, u32, u32, u32, [](u32 a, u32 b, u32 c) {
                           return static_cast<u32>((((static_cast<u64>(b) << 32) | a) << (c & 31)) >> 32);
                       }>();
    return clamp ? three<u32, u32, u32, u32,
                         [](u32 a, u32 b, u32 c) {
                             c = (c > 32) ? 32 : c;
                             return static_cast<u32>(((static_cast<u64>(b) << 32) | a) >> c);
                         }>()
                 : three<u32, u32, u32, u32, [](u32 a, u32 b, u32 c) {
                       return static_cast<u32>(((static_cast<u64>(b) << 32) | a) >> (c & 31));
                   }>();
}

template <class T> inline T extract(T a, u32 position, u32 length) {
    constexpr u32 width = 8 * sizeof(T);
    position &= 0xff;
    length &= 0xff;
    // The sign is the field's top bit, or the value's when the field reaches beyond it.
    u32 top = position + length - 1 > width - 1 ? width - 1 : position + length - 1;
    bool sign = std::is_signed_v<T> && length != 0 && ((static_cast<u_<T>>(a) >> top) & 1);
    u_<T> field = position >= width ? 0 : static_cast<u_<T>>(static_cast<u_<T>>(a) >> position);
    if (length == 0)
        return 0;
    u32 kept = position >= width ? 0 : (length > width - position ? width - position : length);
    if (kept < width) {
        u_<T> mask = static_cast<u_<T>>((static_cast<u_<T>>(1) << kept) - 1);
        field = static_cast<u_<T>>((field & mask) | (sign ? static_cast<u_<T>>(~mask) : 0));
    }
    return static_cast<T>(field);
}

template <class T> inline T insert(T a, T b, u32 position, u32 length) {
    constexpr u32 width = 8 * sizeof(T);
    position &= 0xff;
    length &= 0xff;
    if (position >= width || length == 0)
        return b;
    u32 kept = length > width - position ? width - position : length;
    T mask = kept >= width ? ~T(0) : static_cast<T>(((T(1) << kept) - 1) << position);
    return static_cast<T>((b & ~mask) | ((a << position) & mask));
}

template <class T> void insert_lanes(Warp &w, const Op &op) {
    T *d = w.slot<T>(op.dst);
    const T *a = w.slot<T>(op.a), *b = w.slot<T>(op.b);
    const u32 *position = w.slot<u32>(op.c), *length = w.slot<u32>(op.predicate);
    each_lane(w.exec, [&](unsigned i) { d[i] = insert<T>(a[i], b[i], position[i], length[i]); });
}

Choice choose_bfi(const Instruction &in) {
    bool wide = in.type() == Type::b64;
    Type type = in.type();
    return {wide ? insert_lanes<u64> : insert_lanes<u32>, type, {type, type, Type::u32, Type::u32}, 0, 0};
}

Choice choose_bmsk(const Instruction &in) {
    if (in.has("wrap"))
        return two<u32, u32, u32, [](u32 a, u32 b) {
            a &= 31;
            b &= 31;
            u32 m = (1u << b) - 1;
            return m << a;
        }>();
    return two<u32, u32, u32, [](u32 a, u32 b) {
        u32 ones = b >= 32 ? ~0u : (1u << b) - 1;
        return a >= 32 ? 0u : ones << a;
    }>();
}

// lop3's truth table is the fourth operand, known when the kernel is lowered.
void lop3_lanes(Warp &w, const Op &op) {
    u32 *d = w.slot<u32>(op.dst);
    const u32 *a = w.slot<u32>(op.a), *b = w.slot<u32>(op.b), *c = w.slot<u32>(op.c),
              *t = w.slot<u32>(op.predicate);
    const u32 exec = w.exec;
    const u32 table = t[0];
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i) {
        u32 r = 0;
        for (unsigned k = 0; k < 8; ++k)
            r |= (table >> k) & 1 ? (k & 4 ? a[i] : ~a[i]) & (k & 2 ? b[i] : ~b[i]) & (k & 1 ? c[i] : ~c[i])
                                  : 0;
        d[i] = (exec >> i) & 1 ? r : d[i];
    }
}

Choice choose_lop3(const Instruction &in) {
    if (in.type() != Type::b32 || in.has("or") || in.has("and"))
        not_implemented(in);
    return {lop3_lanes, Type::b32, {Type::b32, Type::b32, Type::b32, Type::b32}, 0, 0};
}

template <bool Wide> Choice choose_count(const Instruction &in, bool leading) {
    using T = std::conditional_t<Wide, u64, u32>;
    (void)in;
    return leading ? one<u32, T, [](T a) { return static_cast<u32>(std::countl_zero(a)); }>()
                   : one<u32, T, [](T a) { return static_cast<u32>(std::popcount(a)); }>();
}

u64 reverse_bits(u64 x, unsigned width) {
    u64 r = 0;
    for (unsigned i = 0; i < width; ++i)
        r |= ((x >> i) & 1) << (width - 1 - i);
    return r;
}

Choice choose_bfind(const Instruction &in) {
    bool shift = in.has("shiftamt");
    return integer(in, in.type(), [&]<class T>(of<T>) -> Choice {
        constexpr auto top = [](T a) -> u32 {
            u_<T> bits = static_cast<u_<T>>(std::is_signed_v<T> && a < 0 ? ~a : a);
            return bits == 0 ? ~0u
                             : static_cast<u32>(8 * sizeof(T) - 1) - static_cast<u32>(std::countl_zero(bits));
        };
        if (shift)
            return one<u32, T, [](T a) {
                u32 t = decltype(top){}(a);
                return t == ~0u ? t : static_cast<u32>(8 * sizeof(T) - 1) - t;
            }>();
        return one<u32, T, top>();
    });
}

/// The lowest b bits of a, extended; b at most 32, or taken modulo 32.
template <class T, bool Wrap> inline T size_extend(T a, u32 b) {
    if (Wrap)
        b &= 31;
    return b == 0    ? T(0)
           : b >= 32 ? a
                     : static_cast<T>(static_cast<T>(static_cast<u32>(a) << (32 - b)) >> (32 - b));
}
Choice choose_szext(const Instruction &in) {
    if (in.type() == Type::s32)
        return in.has("wrap") ? two<s32, s32, u32, size_extend<s32, true>>()
                              : two<s32, s32, u32, size_extend<s32, false>>();
    return in.has("wrap") ? two<u32, u32, u32, size_extend<u32, true>>()
                          : two<u32, u32, u32, size_extend<u32, false>>();
}

/// The place of the n-th set bit from `base` on, upwards or, negative, downwards. Source: PTX ISA, fns.
u32 find_nth_set(u32 mask, u32 base, s32 n) {
    if (n == 0)
        return base < 32 && (mask >> base & 1) ? base : ~0u;
    s64 left = n < 0 ? -s64{n} : n;
    for (s64 at = base; at >= 0 && at < 32; at += n < 0 ? -1 : 1)
        if ((mask >> at & 1) && --left == 0)
            return static_cast<u32>(at);
    return ~0u;
}

/// prmt with a mode: which four bytes of {b, a}, by the lower two bits of the selector. Source: PTX ISA,
/// prmt.
Choice choose_permute_mode(const Instruction &in) {
    struct Row {
        std::string_view mode;
        u16 selectors[4];
    };
    static constexpr Row rows[] = {
        {"f4e", {0x3210, 0x4321, 0x5432, 0x6543}}, {"b4e", {0x5670, 0x6701, 0x7012, 0x0123}},
        {"rc8", {0x0000, 0x1111, 0x2222, 0x3333}}, {"ecl", {0x3210, 0x3211, 0x3222, 0x3333}},
        {"ecr", {0x0000, 0x1110, 0x2210, 0x3210}}, {"rc16", {0x1010, 0x3232, 0x1010, 0x3232}}};
    static constexpr auto by_mode = []<std::size_t Mode>(std::integral_constant<std::size_t, Mode>) {
        return three<u32, u32, u32, u32,
                     [](u32 a, u32 b, u32 c) { return permute(a, b, rows[Mode].selectors[c & 3]); }>();
    };
    const std::string_view mode =
        in.modifiers.empty() ? std::string_view() : std::string_view(in.modifiers.back());
    Choice choice;
    [&]<std::size_t... Mode>(std::index_sequence<Mode...>) {
        ((rows[Mode].mode == mode ? void(choice = by_mode(std::integral_constant<std::size_t, Mode>()))
                                  : void()),
         ...);
    }(std::make_index_sequence<std::size(rows)>());
    if (!choice.run)
        not_implemented(in);
    return choice;
}

const std::map<std::string_view, Selector> &table() {
    static const std::map<std::string_view, Selector> rows = {
        {"and", logic<Logic::and_, [](auto a, auto b) { return a & b; }>},
        {"or", logic<Logic::or_, [](auto a, auto b) { return a | b; }>},
        {"xor", logic<Logic::xor_, [](auto a, auto b) { return a ^ b; }>},
        {"not", logic<Logic::not_, [](auto a, auto) { return a; }>},
        {"cnot",
         [](const Instruction &in) {
             return integer(in, in.type(), []<class T>(of<T>) {
                 return one<T, T, [](T a) { return static_cast<T>(a == 0); }>();
             });
         }},
        {"shl", choose_shift_left},
        {"shr", choose_shift_right},
        {"shf", choose_shf},
        {"lop3", choose_lop3},
        {"prmt",
         [](const Instruction &in) -> Choice {
             return in.modifiers.size() == 1 ? three<u32, u32, u32, u32, permute>() : choose_permute_mode(in);
         }},
        {"bfe",
         [](const Instruction &in) {
             return integer(in, in.type(),
                            []<class T>(of<T>) { return three<T, T, u32, u32, extract<T>>(); });
         }},
        {"bfi", choose_bfi},
        {"bmsk", choose_bmsk},
        {"bfind", choose_bfind},
        {"brev",
         [](const Instruction &in) {
             return in.type() == Type::b64
                        ? one<u64, u64, [](u64 a) { return reverse_bits(a, 64); }>()
                        : one<u32, u32, [](u32 a) { return static_cast<u32>(reverse_bits(a, 32)); }>();
         }},
        {"clz",
         [](const Instruction &in) {
             return in.type() == Type::b64 ? choose_count<true>(in, true) : choose_count<false>(in, true);
         }},
        {"popc",
         [](const Instruction &in) {
             return in.type() == Type::b64 ? choose_count<true>(in, false) : choose_count<false>(in, false);
         }},
        {"szext", choose_szext},
        {"fns", [](const Instruction &) { return three<u32, u32, u32, s32, find_nth_set>(); }},
    };
    return rows;
}

} // namespace

Choice choose_bits(const Instruction &in) {
    const auto row = table().find(in.opcode);
    return row == table().end() ? Choice{} : row->second(in);
}

} // namespace soft
