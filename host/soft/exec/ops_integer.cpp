// Integer and bitwise arithmetic, and the way from an instruction to whoever performs it.
#include "choose.hpp"

#include <set>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

template <class T>
using wider = std::conditional_t<sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, s32, u32>,
                                 std::conditional_t<std::is_signed_v<T>, s64, u64>>;

template <class T> inline T high_product(T a, T b) {
    if constexpr (sizeof(T) == 8)
        return static_cast<T>(
            (static_cast<std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>(a) * b) >> 64);
    else
        return static_cast<T>((static_cast<wider<T>>(a) * static_cast<wider<T>>(b)) >> (8 * sizeof(T)));
}
template <class T> inline T low_product(T a, T b) {
    return static_cast<T>(static_cast<u64>(a) * static_cast<u64>(b));
}
template <> inline u32 low_product(u32 a, u32 b) {
    return a * b;
}
template <> inline s32 low_product(s32 a, s32 b) {
    return static_cast<s32>(static_cast<u32>(a) * static_cast<u32>(b));
}

// Division by zero gives all ones on the device; INT_MIN / -1 must not trap here.
template <class T> inline T quotient(T a, T b) {
    if (b == 0)
        return static_cast<T>(~T(0));
    if constexpr (std::is_signed_v<T>)
        if (b == -1)
            return static_cast<T>(0 - static_cast<u64>(a));
    return static_cast<T>(a / b);
}
template <class T> inline T remainder_of(T a, T b) {
    if (b == 0)
        return a;
    if constexpr (std::is_signed_v<T>)
        if (b == -1)
            return 0;
    return static_cast<T>(a % b);
}

template <class T> inline T add_wrapping(T a, T b) {
    return static_cast<T>(static_cast<u_<T>>(a) + static_cast<u_<T>>(b));
}
template <class T> inline T sub_wrapping(T a, T b) {
    return static_cast<T>(static_cast<u_<T>>(a) - static_cast<u_<T>>(b));
}
template <class T> inline T clamp_to(s64 wide) {
    return static_cast<T>(wide < std::numeric_limits<T>::min()   ? std::numeric_limits<T>::min()
                          : wide > std::numeric_limits<T>::max() ? std::numeric_limits<T>::max()
                                                                 : wide);
}

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

Choice choose_mul(const Instruction &in) {
    Type type = in.type();
    if (in.has("wide"))
        return integer(in, type, [&]<class T>(of<T>) -> Choice {
            if constexpr (sizeof(T) == 8)
                not_implemented(in);
            else
                return two<wider<T>, T, T, [](T a, T b) {
                    return static_cast<wider<T>>(static_cast<wider<T>>(a) * static_cast<wider<T>>(b));
                }>();
        });
    if (in.has("hi"))
        return integer(in, type, []<class T>(of<T>) { return two<T, T, T, high_product<T>>(); });
    return integer(in, type, []<class T>(of<T>) { return two<T, T, T, low_product<T>>(); });
}

Choice choose_mad(const Instruction &in) {
    Type type = in.type();
    if (in.has("cc"))
        not_implemented(in);
    if (in.has("wide"))
        return integer(in, type, [&]<class T>(of<T>) -> Choice {
            if constexpr (sizeof(T) == 8)
                not_implemented(in);
            else
                return three<wider<T>, T, T, wider<T>, [](T a, T b, wider<T> c) {
                    return add_wrapping<wider<T>>(
                        static_cast<wider<T>>(static_cast<wider<T>>(a) * static_cast<wider<T>>(b)), c);
                }>();
        });
    if (in.has("hi"))
        return integer(in, type, []<class T>(of<T>) {
            return three<T, T, T, T,
                         [](T a, T b, T c) { return add_wrapping<T>(high_product<T>(a, b), c); }>();
        });
    return integer(in, type, []<class T>(of<T>) {
        return three<T, T, T, T, [](T a, T b, T c) { return add_wrapping<T>(low_product<T>(a, b), c); }>();
    });
}

template <bool Add> Choice choose_sum(const Instruction &in) {
    if (in.has("cc"))
        not_implemented(in);
    if (in.type() == Type::s32 && in.has("sat"))
        return two<s32, s32, s32,
                   [](s32 a, s32 b) { return clamp_to<s32>(Add ? s64(a) + b : s64(a) - b); }>();
    return integer(in, in.type(), []<class T>(of<T>) {
        return Add ? two<T, T, T, add_wrapping<T>>() : two<T, T, T, sub_wrapping<T>>();
    });
}

Choice choose_div(const Instruction &in) {
    return integer(in, in.type(), []<class T>(of<T>) { return two<T, T, T, quotient<T>>(); });
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

template <bool SignedA, bool SignedB> Choice dot4() {
    return three<u32, u32, u32, u32, [](u32 a, u32 b, u32 c) {
        for (unsigned i = 0; i < 32; i += 8) {
            s32 x = SignedA ? static_cast<std::int8_t>(a >> i) : static_cast<s32>((a >> i) & 0xff);
            s32 y = SignedB ? static_cast<std::int8_t>(b >> i) : static_cast<s32>((b >> i) & 0xff);
            c += static_cast<u32>(x * y);
        }
        return c;
    }>();
}
Choice choose_dp4a(const Instruction &in) {
    bool a = in.type(1) == Type::s32, b = in.type() == Type::s32;
    return a ? (b ? dot4<true, true>() : dot4<true, false>())
             : (b ? dot4<false, true>() : dot4<false, false>());
}

template <bool SignedA, bool SignedB, bool High> Choice dot2() {
    return three<u32, u32, u32, u32, [](u32 a, u32 b, u32 c) {
        for (unsigned i = 0; i < 2; ++i) {
            s32 x = SignedA ? static_cast<s16>(a >> (16 * i)) : static_cast<s32>((a >> (16 * i)) & 0xffff);
            unsigned at = 8 * i + (High ? 16 : 0);
            s32 y = SignedB ? static_cast<std::int8_t>(b >> at) : static_cast<s32>((b >> at) & 0xff);
            c += static_cast<u32>(x * y);
        }
        return c;
    }>();
}
Choice choose_dp2a(const Instruction &in) {
    bool a = in.type(1) == Type::s32, b = in.type() == Type::s32, high = in.has("hi");
    if (high)
        return a ? (b ? dot2<true, true, true>() : dot2<true, false, true>())
                 : (b ? dot2<false, true, true>() : dot2<false, false, true>());
    return a ? (b ? dot2<true, true, false>() : dot2<true, false, false>())
             : (b ? dot2<false, true, false>() : dot2<false, false, false>());
}

template <bool Least> Choice choose_extreme_integer(const Instruction &in) {
    if (in.has("relu")) {
        if (in.type() != Type::s32)
            not_implemented(in);
        return two<s32, s32, s32, [](s32 a, s32 b) {
            const s32 chosen = (a < b) == Least ? a : b;
            return (chosen > 0) ? chosen : 0;
        }>();
    }
    return integer(in, in.type(), []<class T>(of<T>) {
        return two<T, T, T, [](T a, T b) { return Least ? (a < b ? a : b) : (a > b) ? a : b; }>();
    });
}
Choice choose_abs(const Instruction &in) {
    return integer(in, in.type(), []<class T>(of<T>) {
        return one<T, T, [](T a) {
            return static_cast<T>(static_cast<s64>(a) < 0 ? 0 - static_cast<u64>(a) : static_cast<u64>(a));
        }>();
    });
}
Choice choose_neg(const Instruction &in) {
    return integer(in, in.type(), []<class T>(of<T>) {
        return one<T, T, [](T a) { return static_cast<T>(0 - static_cast<u64>(a)); }>();
    });
}
Choice choose_mov(const Instruction &in) {
    Type type = in.type();
    if (ptx::size_of(type) == 8)
        return {unary<u64, u64, [](u64 a) { return a; }>, type, {type}, 0, 0};
    if (ptx::size_of(type) == 16)
        not_implemented(in);
    return {unary<u32, u32, [](u32 a) { return a; }>, type, {type}, 0, 0};
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

Choice choose_sad(const Instruction &in) {
    return integer(in, in.type(), []<class T>(of<T>) {
        return three<T, T, T, T, [](T a, T b, T c) {
            return add_wrapping<T>(c, a < b ? sub_wrapping<T>(b, a) : sub_wrapping<T>(a, b));
        }>();
    });
}

/// The product of the lower 24 bits of each: its lower 32 of 48 bits, or its upper ones.
template <class T, bool High> inline T product24(T a, T b) {
    const s64 x = static_cast<s64>(static_cast<T>(static_cast<u32>(a) << 8) >> 8),
              y = static_cast<s64>(static_cast<T>(static_cast<u32>(b) << 8) >> 8);
    return static_cast<T>((x * y) >> (High ? 16 : 0));
}
template <class T, bool High, bool Sum> Choice product24_of() {
    if constexpr (Sum)
        return three<T, T, T, T,
                     [](T a, T b, T c) { return add_wrapping<T>(product24<T, High>(a, b), c); }>();
    else
        return two<T, T, T, product24<T, High>>();
}
template <bool Sum> Choice choose_product24(const Instruction &in) {
    if (in.type() == Type::s32)
        return in.has("hi") ? product24_of<s32, true, Sum>() : product24_of<s32, false, Sum>();
    if (in.type() != Type::u32)
        not_implemented(in);
    return in.has("hi") ? product24_of<u32, true, Sum>() : product24_of<u32, false, Sum>();
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

/// a where c is not negative, else b.
template <class T> Choice slct_of(const Instruction &in) {
    if (in.type() != Type::f32)
        return three<T, T, T, s32, [](T a, T b, s32 c) { return c >= 0 ? a : b; }>();
    if (in.has("ftz"))
        return three<T, T, T, float, [](T a, T b, float c) { return flush(c) >= 0 ? a : b; }>();
    return three<T, T, T, float, [](T a, T b, float c) { return c >= 0 ? a : b; }>();
}
Choice choose_slct(const Instruction &in) {
    const unsigned bytes = ptx::size_of(in.type(1));
    if (bytes != 4 && bytes != 8)
        not_implemented(in);
    return bytes == 8 ? slct_of<u64>(in) : slct_of<u32>(in);
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
    const std::string_view mode = in.modifiers.back();
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
        {"add", choose_sum<true>},
        {"sub", choose_sum<false>},
        {"mul", choose_mul},
        {"mad", choose_mad},
        {"div", choose_div},
        {"rem",
         [](const Instruction &in) {
             return integer(in, in.type(), []<class T>(of<T>) { return two<T, T, T, remainder_of<T>>(); });
         }},
        {"min", choose_extreme_integer<true>},
        {"max", choose_extreme_integer<false>},
        {"abs", choose_abs},
        {"neg", choose_neg},
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
        {"mov", choose_mov},
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
        {"sad", choose_sad},
        {"mul24", choose_product24<false>},
        {"mad24", choose_product24<true>},
        {"szext", choose_szext},
        {"slct", choose_slct},
        {"fns", [](const Instruction &) { return three<u32, u32, u32, s32, find_nth_set>(); }},
        {"dp4a", choose_dp4a},
        {"dp2a", choose_dp2a},
    };
    return rows;
}

} // namespace

Choice choose_plain(const Instruction &in) {
    static const std::set<std::string_view> by_predicate = {"setp", "set", "selp", "testp"};
    if (by_predicate.contains(in.opcode) || in.type() == Type::pred)
        return choose_comparison(in);
    if (in.opcode == "cvt")
        return choose_conversion(in);
    if (in.opcode.front() == 'v' || in.has("u16x2") || in.has("s16x2"))
        return choose_video(in);
    if (ptx::is_float(in.type()) && in.opcode != "mov" && in.opcode != "slct")
        return choose_float(in);
    return choose_from(table(), in);
}

} // namespace soft
