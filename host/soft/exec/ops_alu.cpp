// Integer, logic, float and predicate arithmetic: all instructions with one result and values in.
#include "select.hpp"
#include "lanes.hpp"

#include <map>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

template <class T> constexpr Type type_of() {
    if constexpr (std::is_same_v<T, u16>)
        return Type::u16;
    else if constexpr (std::is_same_v<T, s16>)
        return Type::s16;
    else if constexpr (std::is_same_v<T, u32>)
        return Type::u32;
    else if constexpr (std::is_same_v<T, s32>)
        return Type::s32;
    else if constexpr (std::is_same_v<T, u64>)
        return Type::u64;
    else if constexpr (std::is_same_v<T, s64>)
        return Type::s64;
    else if constexpr (std::is_same_v<T, f16>)
        return Type::f16;
    else if constexpr (std::is_same_v<T, bf16>)
        return Type::bf16;
    else if constexpr (std::is_same_v<T, float>)
        return Type::f32;
    else if constexpr (std::is_same_v<T, double>)
        return Type::f64;
    else
        static_assert(!sizeof(T), "no PTX type");
}

template <class D, class A, auto F> Choice one() { return {unary<D, A, F>, type_of<D>(), {type_of<A>()}, 0, 0}; }
template <class D, class A, class B, auto F> Choice two() {
    return {binary<D, A, B, F>, type_of<D>(), {type_of<A>(), type_of<B>()}, 0, 0};
}
template <class D, class A, class B, class C, auto F> Choice three() {
    return {ternary<D, A, B, C, F>, type_of<D>(), {type_of<A>(), type_of<B>(), type_of<C>()}, 0, 0};
}

template <class T> struct of {
    using type = T;
};

/// Calls make(of<T>) with the integer type the instruction ends in.
template <class M> Choice integer(const Instruction &in, Type type, M make) {
    switch (type) {
    case Type::u16:
    case Type::b16:
        return make(of<u16>());
    case Type::s16:
        return make(of<s16>());
    case Type::u32:
    case Type::b32:
        return make(of<u32>());
    case Type::s32:
        return make(of<s32>());
    case Type::u64:
    case Type::b64:
        return make(of<u64>());
    case Type::s64:
        return make(of<s64>());
    default:
        not_implemented(in);
    }
}

template <class T> using wider = std::conditional_t<
    sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, s32, u32>, std::conditional_t<std::is_signed_v<T>, s64, u64>>;
template <class T> using u_ = std::make_unsigned_t<T>;

template <class T> inline T high_product(T a, T b) {
    if constexpr (sizeof(T) == 8)
        return static_cast<T>((static_cast<std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>(a) * b) >> 64);
    else
        return static_cast<T>((static_cast<wider<T>>(a) * static_cast<wider<T>>(b)) >> (8 * sizeof(T)));
}
template <class T> inline T low_product(T a, T b) {
    return static_cast<T>(static_cast<u64>(a) * static_cast<u64>(b));
}
template <> inline u32 low_product(u32 a, u32 b) { return a * b; }
template <> inline s32 low_product(s32 a, s32 b) { return static_cast<s32>(static_cast<u32>(a) * static_cast<u32>(b)); }

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

template <class T> inline T add_wrapping(T a, T b) { return static_cast<T>(static_cast<u_<T>>(a) + static_cast<u_<T>>(b)); }
template <class T> inline T sub_wrapping(T a, T b) { return static_cast<T>(static_cast<u_<T>>(a) - static_cast<u_<T>>(b)); }
template <class T> inline T clamp_to(s64 wide) {
    return static_cast<T>(wide < std::numeric_limits<T>::min() ? std::numeric_limits<T>::min()
                          : wide > std::numeric_limits<T>::max() ? std::numeric_limits<T>::max() : wide);
}

// ---- floats -------------------------------------------------------------------------------------------

enum class FloatOp { add, sub, mul, fma, min, max, abs, neg };

template <FloatOp O, class T> inline T float_op(T a, T b, T c) {
    switch (O) {
    case FloatOp::add: return a + b;
    case FloatOp::sub: return a - b;
    case FloatOp::mul: return a * b;
    case FloatOp::fma: return std::fma(a, b, c);
    case FloatOp::min: return float_min(a, b);
    case FloatOp::max: return float_max(a, b);
    case FloatOp::abs: return std::abs(a);
    case FloatOp::neg: return -a;
    }
    __builtin_unreachable();
}

/// .f32 with .ftz and .sat
template <FloatOp O, bool Ftz, bool Sat> Choice f32_op() {
    constexpr auto apply = [](float a, float b, float c) {
        if constexpr (Ftz) {
            a = flush(a);
            b = flush(b);
            c = flush(c);
        }
        float r = float_op<O>(a, b, c);
        if constexpr (Ftz)
            r = flush(r);
        if constexpr (Sat)
            r = saturate(r);
        return r;
    };
    if constexpr (O == FloatOp::fma)
        return three<float, float, float, float, apply>();
    else if constexpr (O == FloatOp::abs || O == FloatOp::neg)
        return one<float, float, [](float a) { return decltype(apply){}(a, 0, 0); }>();
    else
        return two<float, float, float, [](float a, float b) { return decltype(apply){}(a, b, 0); }>();
}

template <FloatOp O> Choice f64_op() {
    if constexpr (O == FloatOp::fma)
        return three<double, double, double, double, [](double a, double b, double c) { return std::fma(a, b, c); }>();
    else if constexpr (O == FloatOp::abs || O == FloatOp::neg)
        return one<double, double, [](double a) { return float_op<O, double>(a, 0, 0); }>();
    else
        return two<double, double, double, [](double a, double b) { return float_op<O, double>(a, b, 0); }>();
}

/// One 16-bit operation, rounded once. Sum, difference and product of two are exact enough in float for
/// a second rounding to do no harm (24 >= 2 * 11 + 2 bits); the fused one goes through double.
template <FloatOp O, class H> inline H half_op(H a, H b, H c) {
    if constexpr (O == FloatOp::abs)
        return {static_cast<u16>(a.bits & 0x7fff)};
    else if constexpr (O == FloatOp::neg)
        return {static_cast<u16>(a.bits ^ 0x8000)};
    else if constexpr (O == FloatOp::fma)
        return from_float<H>(odd_float(static_cast<double>(to_float(a)) * to_float(b) + to_float(c)));
    else
        return from_float<H>(float_op<O, float>(to_float(a), to_float(b), 0));
}

template <FloatOp O, class H, bool Sat, bool Relu> inline H half_post(H a, H b, H c) {
    H r = half_op<O, H>(a, b, c);
    if constexpr (Sat || Relu) {
        float f = to_float(r);
        f = f > 0 ? f : 0.0f;
        if constexpr (Sat)
            f = f < 1 ? f : 1.0f;
        r = from_float<H>(f);
    }
    return r;
}

template <FloatOp O, class H, bool Sat, bool Relu> Choice half_choice(bool packed) {
    constexpr auto both = [](u32 a, u32 b, u32 c) {
        auto low = half_post<O, H, Sat, Relu>({static_cast<u16>(a)}, {static_cast<u16>(b)}, {static_cast<u16>(c)});
        auto high = half_post<O, H, Sat, Relu>({static_cast<u16>(a >> 16)}, {static_cast<u16>(b >> 16)}, {static_cast<u16>(c >> 16)});
        return static_cast<u32>(low.bits) | static_cast<u32>(high.bits) << 16;
    };
    if constexpr (O == FloatOp::fma) {
        if (packed)
            return three<u32, u32, u32, u32, both>();
        return three<H, H, H, H, [](H a, H b, H c) { return half_post<O, H, Sat, Relu>(a, b, c); }>();
    } else if constexpr (O == FloatOp::abs || O == FloatOp::neg) {
        if (packed)
            return one<u32, u32, [](u32 a) { return decltype(both){}(a, 0, 0); }>();
        return one<H, H, [](H a) { return half_post<O, H, Sat, Relu>(a, {0}, {0}); }>();
    } else {
        if (packed)
            return two<u32, u32, u32, [](u32 a, u32 b) { return decltype(both){}(a, b, 0); }>();
        return two<H, H, H, [](H a, H b) { return half_post<O, H, Sat, Relu>(a, b, {0}); }>();
    }
}

template <FloatOp O, class H> Choice half_modes(const Instruction &in, bool packed) {
    if (in.has("sat"))
        return half_choice<O, H, true, false>(packed);
    if (in.has("relu"))
        return half_choice<O, H, false, true>(packed);
    return half_choice<O, H, false, false>(packed);
}

template <FloatOp O> Choice float_choice(const Instruction &in, Type type) {
    if (in.has("NaN") || in.has("xorsign"))
        not_implemented(in);
    if (in.has("rz") || in.has("rm") || in.has("rp"))
        return directed_choice(in);
    switch (type) {
    case Type::f32:
        if (in.has("ftz"))
            return in.has("sat") ? f32_op<O, true, true>() : f32_op<O, true, false>();
        return in.has("sat") ? f32_op<O, false, true>() : f32_op<O, false, false>();
    case Type::f64:
        return f64_op<O>();
    case Type::f16:
    case Type::f16x2:
        return half_modes<O, f16>(in, type == Type::f16x2);
    case Type::bf16:
    case Type::bf16x2:
        return half_modes<O, bf16>(in, type == Type::bf16x2);
    default:
        not_implemented(in);
    }
}

template <FloatOp O, class M> Choice arithmetic(const Instruction &in, M integers) {
    Type type = in.type();
    if (ptx::is_float(type))
        return float_choice<O>(in, type);
    return integer(in, type, integers);
}

/// 2^x within 2 ulp for all x; vectorises, unlike a call of exp2f.
inline float exp2_approx(float x) {
    float clamped = x < -150.0f ? -150.0f : (x > 129.0f ? 129.0f : x);
    float whole = std::floor(clamped + 0.5f);
    float t = clamped - whole; // in [-0.5, 0.5]
    float p = 1.5403530e-4f;   // minimax of 2^t, degree 6
    p = p * t + 1.3333558e-3f;
    p = p * t + 9.6181291e-3f;
    p = p * t + 5.5504109e-2f;
    p = p * t + 2.4022651e-1f;
    p = p * t + 6.9314718e-1f;
    p = p * t + 1.0f;
    // Scaled in two steps, so that subnormal results and 2^128 come out right.
    auto n = static_cast<s32>(whole);
    s32 half = n >> 1;
    float first = std::bit_cast<float>(static_cast<u32>(half + 127) << 23);
    float second = std::bit_cast<float>(static_cast<u32>(n - half + 127) << 23);
    float r = p * first * second;
    return x != x ? x : r;
}

template <auto F> Choice approximate(const Instruction &in) {
    if (in.type() != Type::f32)
        not_implemented(in);
    if (in.has("ftz"))
        return one<float, float, [](float a) { return flush(F(flush(a))); }>();
    return one<float, float, F>();
}

template <auto F, auto F64> Choice root(const Instruction &in) {
    if (in.type() == Type::f64)
        return one<double, double, F64>();
    return approximate<F>(in);
}

// ---- comparisons --------------------------------------------------------------------------------------

enum CompareFlag : u16 { combine_and = 64, combine_or = 128, combine_xor = 256, writes_word = 512, writes_float = 1024 };

template <class T, auto F> void compare(Warp &w, const Op &op) {
    const auto *a = w.slot<word_t<T>>(op.a);
    const auto *b = w.slot<word_t<T>>(op.b);
    alignas(64) u32 truth[lanes];
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i)
        truth[i] = F(from_word<T>(a[i]), from_word<T>(b[i])) ? ~0u : 0u;
    u32 yes = mask_of(truth), no = ~yes;
    if (op.flags & has_predicate) {
        u32 with = w.predicates[op.predicate];
        if (op.flags & predicate_negated)
            with = ~with;
        if (op.flags & combine_and)
            yes &= with, no &= with;
        else if (op.flags & combine_or)
            yes |= with, no |= with;
        else
            yes ^= with, no ^= with;
    }
    if (op.flags & (writes_word | writes_float)) {
        u32 one = op.flags & writes_float ? 0x3f800000 : ~0u;
        u32 *d = w.slot<u32>(op.dst);
        each_lane(w.exec, [&](unsigned i) { d[i] = (yes >> i) & 1 ? one : 0; });
        return;
    }
    w.write_predicate(op.dst, yes);
    if (op.c != 0) // p|q: 0 is never a second result's number, predicate 0 being reserved
        w.write_predicate(op.c, no);
}

template <class T> inline auto comparable(T x) {
    if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
        return to_float(x);
    else
        return x;
}

template <class T, bool Ftz> Handler comparison(const Instruction &in, std::string_view name) {
    constexpr auto load = [](T x) {
        auto value = comparable(x);
        if constexpr (Ftz)
            return flush(value);
        else
            return value;
    };
#define SHIMBENCH_COMPARE(text, expression)                                                                            \
    if (name == text)                                                                                                  \
        return compare<T, [](T x, T y) { auto a = decltype(load){}(x), b = decltype(load){}(y); return (expression); }>;
    SHIMBENCH_COMPARE("eq", a == b)
    SHIMBENCH_COMPARE("lt", a < b)
    SHIMBENCH_COMPARE("le", a <= b)
    SHIMBENCH_COMPARE("gt", a > b)
    SHIMBENCH_COMPARE("ge", a >= b)
    if constexpr (std::is_integral_v<T>) {
        SHIMBENCH_COMPARE("ne", a != b)
        SHIMBENCH_COMPARE("lo", static_cast<u_<T>>(a) < static_cast<u_<T>>(b))
        SHIMBENCH_COMPARE("ls", static_cast<u_<T>>(a) <= static_cast<u_<T>>(b))
        SHIMBENCH_COMPARE("hi", static_cast<u_<T>>(a) > static_cast<u_<T>>(b))
        SHIMBENCH_COMPARE("hs", static_cast<u_<T>>(a) >= static_cast<u_<T>>(b))
    } else {
        // ne is false for NaN, neu true: the u forms hold when an operand is not a number.
        SHIMBENCH_COMPARE("ne", a < b || a > b)
        SHIMBENCH_COMPARE("equ", !(a < b || a > b))
        SHIMBENCH_COMPARE("neu", !(a == b))
        SHIMBENCH_COMPARE("ltu", !(a >= b))
        SHIMBENCH_COMPARE("leu", !(a > b))
        SHIMBENCH_COMPARE("gtu", !(a <= b))
        SHIMBENCH_COMPARE("geu", !(a < b))
        SHIMBENCH_COMPARE("num", a == a && b == b)
        SHIMBENCH_COMPARE("nan", a != a || b != b)
    }
#undef SHIMBENCH_COMPARE
    not_implemented(in);
}

Handler comparison_of(const Instruction &in, Type type) {
    const std::string &name = in.modifiers.front();
    switch (type) {
    case Type::b16:
    case Type::u16: return comparison<u16, false>(in, name);
    case Type::s16: return comparison<s16, false>(in, name);
    case Type::b32:
    case Type::u32: return comparison<u32, false>(in, name);
    case Type::s32: return comparison<s32, false>(in, name);
    case Type::b64:
    case Type::u64: return comparison<u64, false>(in, name);
    case Type::s64: return comparison<s64, false>(in, name);
    case Type::f16: return comparison<f16, false>(in, name);
    case Type::bf16: return comparison<bf16, false>(in, name);
    case Type::f32: return in.has("ftz") ? comparison<float, true>(in, name) : comparison<float, false>(in, name);
    case Type::f64: return comparison<double, false>(in, name);
    default: not_implemented(in);
    }
}

u16 combination(const Instruction &in) {
    return in.has("and") ? combine_and : in.has("or") ? combine_or : in.has("xor") ? combine_xor : 0;
}

Choice choose_setp(const Instruction &in) {
    Type type = in.type();
    Choice choice{comparison_of(in, type), Type::pred, {type, type}, combination(in), 0};
    if (choice.flags)
        choice.sources[2] = Type::pred;
    return choice;
}

Choice choose_set(const Instruction &in) {
    Type result = in.type(1), type = in.type();
    if (ptx::size_of(result) != 4)
        not_implemented(in);
    auto flags = static_cast<u16>(combination(in) | (result == Type::f32 ? writes_float : writes_word));
    Choice choice{comparison_of(in, type), result, {type, type}, flags, 0};
    if (combination(in))
        choice.sources[2] = Type::pred;
    return choice;
}

template <class T> void select_lanes(Warp &w, const Op &op) {
    T *d = w.slot<T>(op.dst);
    const T *a = w.slot<T>(op.a), *b = w.slot<T>(op.b);
    u32 first = w.predicates[op.predicate];
    if (op.flags & predicate_negated)
        first = ~first;
    const u32 exec = w.exec;
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i) {
        T chosen = (first >> i) & 1 ? a[i] : b[i];
        d[i] = (exec >> i) & 1 ? chosen : d[i];
    }
}

enum class Logic { and_, or_, xor_, not_, mov };
template <Logic L> void predicate_logic(Warp &w, const Op &op) {
    u32 a = w.predicates[op.a], b = L == Logic::not_ || L == Logic::mov ? 0 : w.predicates[op.b];
    if (op.flags & a_negated)
        a = ~a;
    if (op.flags & b_negated)
        b = ~b;
    w.write_predicate(op.dst, L == Logic::and_ ? a & b : L == Logic::or_ ? a | b : L == Logic::xor_ ? a ^ b
                              : L == Logic::not_ ? ~a : a);
}

template <Logic L, auto F> Choice logic(const Instruction &in) {
    if (in.type() == Type::pred)
        return {predicate_logic<L>, Type::pred, {Type::pred, L == Logic::not_ ? Type::none : Type::pred}, 0, 0};
    if constexpr (L == Logic::not_)
        return integer(in, in.type(), []<class T>(of<T>) { return one<T, T, [](T a) { return static_cast<T>(~a); }>(); });
    else
        return integer(in, in.type(), []<class T>(of<T>) { return two<T, T, T, [](T a, T b) { return static_cast<T>(F(a, b)); }>(); });
}

Choice choose_mul(const Instruction &in) {
    Type type = in.type();
    if (ptx::is_float(type))
        return float_choice<FloatOp::mul>(in, type);
    if (in.has("wide"))
        return integer(in, type, [&]<class T>(of<T>) -> Choice {
            if constexpr (sizeof(T) == 8)
                not_implemented(in);
            else
                return two<wider<T>, T, T, [](T a, T b) { return static_cast<wider<T>>(static_cast<wider<T>>(a) * static_cast<wider<T>>(b)); }>();
        });
    if (in.has("hi"))
        return integer(in, type, []<class T>(of<T>) { return two<T, T, T, high_product<T>>(); });
    return integer(in, type, []<class T>(of<T>) { return two<T, T, T, low_product<T>>(); });
}

Choice choose_mad(const Instruction &in) {
    Type type = in.type();
    if (ptx::is_float(type))
        return float_choice<FloatOp::fma>(in, type);
    if (in.has("cc"))
        not_implemented(in);
    if (in.has("wide"))
        return integer(in, type, [&]<class T>(of<T>) -> Choice {
            if constexpr (sizeof(T) == 8)
                not_implemented(in);
            else
                return three<wider<T>, T, T, wider<T>, [](T a, T b, wider<T> c) {
                    return add_wrapping<wider<T>>(static_cast<wider<T>>(static_cast<wider<T>>(a) * static_cast<wider<T>>(b)), c);
                }>();
        });
    if (in.has("hi"))
        return integer(in, type, []<class T>(of<T>) {
            return three<T, T, T, T, [](T a, T b, T c) { return add_wrapping<T>(high_product<T>(a, b), c); }>();
        });
    return integer(in, type, []<class T>(of<T>) {
        return three<T, T, T, T, [](T a, T b, T c) { return add_wrapping<T>(low_product<T>(a, b), c); }>();
    });
}

template <bool Add> Choice choose_sum(const Instruction &in) {
    if (in.has("cc"))
        not_implemented(in);
    if (in.type() == Type::s32 && in.has("sat"))
        return two<s32, s32, s32, [](s32 a, s32 b) { return clamp_to<s32>(Add ? s64(a) + b : s64(a) - b); }>();
    return arithmetic<Add ? FloatOp::add : FloatOp::sub>(in, []<class T>(of<T>) {
        return Add ? two<T, T, T, add_wrapping<T>>() : two<T, T, T, sub_wrapping<T>>();
    });
}

Choice choose_div(const Instruction &in) {
    Type type = in.type();
    if (type == Type::f64)
        return two<double, double, double, [](double a, double b) { return a / b; }>();
    if (type == Type::f32) {
        if (in.has("rz") || in.has("rm") || in.has("rp"))
            return directed_choice(in);
        if (in.has("ftz"))
            return two<float, float, float, [](float a, float b) { return flush(flush(a) / flush(b)); }>();
        return two<float, float, float, [](float a, float b) { return a / b; }>();
    }
    return integer(in, type, []<class T>(of<T>) { return two<T, T, T, quotient<T>>(); });
}

Choice choose_shift_left(const Instruction &in) {
    return integer(in, in.type(), []<class T>(of<T>) {
        return two<T, T, u32, [](T a, u32 n) { return static_cast<T>(n >= 8 * sizeof(T) ? 0 : static_cast<u64>(a) << (n & 63)); }>();
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
        return clamp ? three<u32, u32, u32, u32, [](u32 a, u32 b, u32 c) { c = (c > 32) ? 32 : c; return static_cast<u32>((((static_cast<u64>(b) << 32) | a) << c) >> 32); }>()
                     : three<u32, u32, u32, u32, [](u32 a, u32 b, u32 c) { return static_cast<u32>((((static_cast<u64>(b) << 32) | a) << (c & 31)) >> 32); }>();
    return clamp ? three<u32, u32, u32, u32, [](u32 a, u32 b, u32 c) { c = (c > 32) ? 32 : c; return static_cast<u32>(((static_cast<u64>(b) << 32) | a) >> c); }>()
                 : three<u32, u32, u32, u32, [](u32 a, u32 b, u32 c) { return static_cast<u32>(((static_cast<u64>(b) << 32) | a) >> (c & 31)); }>();
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
        return two<u32, u32, u32, [](u32 a, u32 b) { a &= 31; b &= 31; u32 m = (1u << b) - 1; return m << a; }>();
    return two<u32, u32, u32, [](u32 a, u32 b) {
        u32 ones = b >= 32 ? ~0u : (1u << b) - 1;
        return a >= 32 ? 0u : ones << a;
    }>();
}

// lop3's truth table is the fourth operand, known when the kernel is lowered.
void lop3_lanes(Warp &w, const Op &op) {
    u32 *d = w.slot<u32>(op.dst);
    const u32 *a = w.slot<u32>(op.a), *b = w.slot<u32>(op.b), *c = w.slot<u32>(op.c), *t = w.slot<u32>(op.predicate);
    const u32 exec = w.exec;
    const u32 table = t[0];
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i) {
        u32 r = 0;
        for (unsigned k = 0; k < 8; ++k)
            r |= (table >> k) & 1 ? (k & 4 ? a[i] : ~a[i]) & (k & 2 ? b[i] : ~b[i]) & (k & 1 ? c[i] : ~c[i]) : 0;
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
    return a ? (b ? dot4<true, true>() : dot4<true, false>()) : (b ? dot4<false, true>() : dot4<false, false>());
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

Choice choose_min(const Instruction &in) {
    return arithmetic<FloatOp::min>(in, []<class T>(of<T>) { return two<T, T, T, [](T a, T b) { return a < b ? a : b; }>(); });
}
Choice choose_max(const Instruction &in) {
    return arithmetic<FloatOp::max>(in, []<class T>(of<T>) { return two<T, T, T, [](T a, T b) { return (a > b) ? a : b; }>(); });
}
Choice choose_abs(const Instruction &in) {
    return arithmetic<FloatOp::abs>(in, []<class T>(of<T>) { return one<T, T, [](T a) { return static_cast<T>(static_cast<s64>(a) < 0 ? 0 - static_cast<u64>(a) : static_cast<u64>(a)); }>(); });
}
Choice choose_neg(const Instruction &in) {
    return arithmetic<FloatOp::neg>(in, []<class T>(of<T>) { return one<T, T, [](T a) { return static_cast<T>(0 - static_cast<u64>(a)); }>(); });
}
Choice choose_fma(const Instruction &in) { return float_choice<FloatOp::fma>(in, in.type()); }

Choice choose_selp(const Instruction &in) {
    Type type = in.type();
    bool wide = ptx::size_of(type) == 8;
    return {wide ? select_lanes<u64> : select_lanes<u32>, type, {type, type, Type::pred}, 0, 0};
}

Choice choose_mov(const Instruction &in) {
    Type type = in.type();
    if (type == Type::pred)
        return {predicate_logic<Logic::mov>, Type::pred, {Type::pred}, 0, 0};
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
            return bits == 0 ? ~0u : static_cast<u32>(8 * sizeof(T) - 1) - static_cast<u32>(std::countl_zero(bits));
        };
        if (shift)
            return one<u32, T, [](T a) { u32 t = decltype(top){}(a); return t == ~0u ? t : static_cast<u32>(8 * sizeof(T) - 1) - t; }>();
        return one<u32, T, top>();
    });
}

Choice choose_sad(const Instruction &in) {
    return integer(in, in.type(), []<class T>(of<T>) {
        return three<T, T, T, T, [](T a, T b, T c) { return add_wrapping<T>(c, a < b ? sub_wrapping<T>(b, a) : sub_wrapping<T>(a, b)); }>();
    });
}

Choice choose_testp(const Instruction &in);

using Selector = Choice (*)(const Instruction &);

const std::map<std::string_view, Selector> &table() {
    static const std::map<std::string_view, Selector> rows = {
        {"add", choose_sum<true>},
        {"sub", choose_sum<false>},
        {"mul", choose_mul},
        {"mad", choose_mad},
        {"fma", choose_fma},
        {"div", choose_div},
        {"rem", [](const Instruction &in) { return integer(in, in.type(), []<class T>(of<T>) { return two<T, T, T, remainder_of<T>>(); }); }},
        {"min", choose_min},
        {"max", choose_max},
        {"abs", choose_abs},
        {"neg", choose_neg},
        {"and", logic<Logic::and_, [](auto a, auto b) { return a & b; }>},
        {"or", logic<Logic::or_, [](auto a, auto b) { return a | b; }>},
        {"xor", logic<Logic::xor_, [](auto a, auto b) { return a ^ b; }>},
        {"not", logic<Logic::not_, [](auto a, auto) { return a; }>},
        {"cnot", [](const Instruction &in) { return integer(in, in.type(), []<class T>(of<T>) { return one<T, T, [](T a) { return static_cast<T>(a == 0); }>(); }); }},
        {"shl", choose_shift_left},
        {"shr", choose_shift_right},
        {"shf", choose_shf},
        {"lop3", choose_lop3},
        {"setp", choose_setp},
        {"set", choose_set},
        {"selp", choose_selp},
        {"mov", choose_mov},
        {"cvt", choose_conversion},
        {"prmt", [](const Instruction &in) -> Choice {
             if (in.modifiers.size() != 1)
                 not_implemented(in);
             return three<u32, u32, u32, u32, permute>();
         }},
        {"bfe", [](const Instruction &in) {
             return integer(in, in.type(), []<class T>(of<T>) { return three<T, T, u32, u32, extract<T>>(); });
         }},
        {"bfi", choose_bfi},
        {"bmsk", choose_bmsk},
        {"bfind", choose_bfind},
        {"brev", [](const Instruction &in) {
             return in.type() == Type::b64 ? one<u64, u64, [](u64 a) { return reverse_bits(a, 64); }>()
                                           : one<u32, u32, [](u32 a) { return static_cast<u32>(reverse_bits(a, 32)); }>();
         }},
        {"clz", [](const Instruction &in) { return in.type() == Type::b64 ? choose_count<true>(in, true) : choose_count<false>(in, true); }},
        {"popc", [](const Instruction &in) { return in.type() == Type::b64 ? choose_count<true>(in, false) : choose_count<false>(in, false); }},
        {"sad", choose_sad},
        {"dp4a", choose_dp4a},
        {"dp2a", choose_dp2a},
        {"copysign", [](const Instruction &in) {
             return in.type() == Type::f64 ? two<double, double, double, [](double a, double b) { return std::copysign(b, a); }>()
                                           : two<float, float, float, [](float a, float b) { return std::copysign(b, a); }>();
         }},
        {"ex2", [](const Instruction &in) -> Choice {
             if (in.type() == Type::f16)
                 return one<f16, f16, [](f16 a) { return half_of(exp2_approx(to_float(a))); }>();
             if (in.type() == Type::f16x2)
                 return one<u32, u32, [](u32 a) {
                     u32 low = half_of(exp2_approx(to_float(f16{static_cast<u16>(a)}))).bits;
                     return low | static_cast<u32>(half_of(exp2_approx(to_float(f16{static_cast<u16>(a >> 16)}))).bits) << 16;
                 }>();
             return approximate<exp2_approx>(in);
         }},
        {"lg2", approximate<[](float a) { return std::log2(a); }>},
        {"sin", approximate<[](float a) { return std::sin(a); }>},
        {"cos", approximate<[](float a) { return std::cos(a); }>},
        {"tanh", [](const Instruction &in) -> Choice {
             if (in.type() == Type::f16)
                 return one<f16, f16, [](f16 a) { return half_of(std::tanh(to_float(a))); }>();
             return approximate<[](float a) { return std::tanh(a); }>(in);
         }},
        {"rcp", root<[](float a) { return 1.0f / a; }, [](double a) { return 1.0 / a; }>},
        {"sqrt", root<[](float a) { return std::sqrt(a); }, [](double a) { return std::sqrt(a); }>},
        {"rsqrt", root<[](float a) { return 1.0f / std::sqrt(a); }, [](double a) { return 1.0 / std::sqrt(a); }>},
        {"testp", choose_testp},
    };
    return rows;
}

template <class T, auto F> void test_lanes(Warp &w, const Op &op) {
    const auto *a = w.slot<word_t<T>>(op.a);
    u32 mask = 0;
    for (unsigned i = 0; i < lanes; ++i)
        mask |= static_cast<u32>(F(from_word<T>(a[i]))) << i;
    w.write_predicate(op.dst, mask);
}
template <class T> Handler test_of(const Instruction &in) {
    if (in.has("finite")) return test_lanes<T, [](T a) { return std::isfinite(a); }>;
    if (in.has("infinite")) return test_lanes<T, [](T a) { return std::isinf(a); }>;
    if (in.has("number")) return test_lanes<T, [](T a) { return a == a; }>;
    if (in.has("notanumber")) return test_lanes<T, [](T a) { return a != a; }>;
    if (in.has("normal")) return test_lanes<T, [](T a) { return std::isnormal(a); }>;
    if (in.has("subnormal")) return test_lanes<T, [](T a) { return a != 0 && std::isfinite(a) && !std::isnormal(a); }>;
    not_implemented(in);
}
Choice choose_testp(const Instruction &in) {
    Type type = in.type();
    return {type == Type::f64 ? test_of<double>(in) : test_of<float>(in), Type::pred, {type}, 0, 0};
}

} // namespace

Choice choose_plain(const Instruction &in) {
    auto row = table().find(in.opcode);
    if (row == table().end())
        not_implemented(in);
    return row->second(in);
}

} // namespace soft
