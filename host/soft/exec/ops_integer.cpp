// Integer arithmetic, and the way from an instruction to whoever performs it.
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
    if (in.has("sat") && in.has("hi"))
        return three<s32, s32, s32, s32,
                     [](s32 a, s32 b, s32 c) { return clamp_to<s32>(s64(high_product<s32>(a, b)) + c); }>();
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
    if (in.has("sat"))
        return three<s32, s32, s32, s32, [](s32 a, s32 b, s32 c) {
            return clamp_to<s32>(s64(product24<s32, true>(a, b)) + c);
        }>();
    if (in.type() == Type::s32)
        return in.has("hi") ? product24_of<s32, true, Sum>() : product24_of<s32, false, Sum>();
    if (in.type() != Type::u32)
        not_implemented(in);
    return in.has("hi") ? product24_of<u32, true, Sum>() : product24_of<u32, false, Sum>();
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
    if (bytes != 2 && bytes != 4 && bytes != 8)
        not_implemented(in);
    return bytes == 8 ? slct_of<u64>(in) : bytes == 4 ? slct_of<u32>(in) : slct_of<u16>(in);
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
        {"mov", choose_mov},
        {"sad", choose_sad},
        {"mul24", choose_product24<false>},
        {"mad24", choose_product24<true>},
        {"slct", choose_slct},
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
    if (const Choice choice = choose_bits(in); choice.run != nullptr)
        return choice;
    return choose_from(table(), in);
}

} // namespace soft
