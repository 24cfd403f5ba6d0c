// Floating-point arithmetic: f32, f64, f16, bf16 and their pairs.
#include "choose.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

enum class FloatOp { add, sub, mul, fma, min, max, abs, neg };

template <FloatOp O, class T> inline T float_op(T a, T b, T c) {
    switch (O) {
    case FloatOp::add:
        return a + b;
    case FloatOp::sub:
        return a - b;
    case FloatOp::mul:
        return a * b;
    case FloatOp::fma:
        return std::fma(a, b, c);
    case FloatOp::min:
        return float_min(a, b);
    case FloatOp::max:
        return float_max(a, b);
    case FloatOp::abs:
        return std::abs(a);
    case FloatOp::neg:
        return -a;
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
        return three<double, double, double, double,
                     [](double a, double b, double c) { return std::fma(a, b, c); }>();
    else if constexpr (O == FloatOp::abs || O == FloatOp::neg)
        return one<double, double, [](double a) { return float_op<O, double>(a, 0, 0); }>();
    else
        return two<double, double, double, [](double a, double b) { return float_op<O, double>(a, b, 0); }>();
}

/// One 16-bit operation, rounded once. Sum, difference and product of two are exact enough in float for
/// a second rounding to do no harm (24 >= 2 * 11 + 2 bits). The fused one goes through double, which holds
/// what decides about an f16, but not the sum of two bf16 that lie far apart.
template <FloatOp O, class H> inline H half_op(H a, H b, H c) {
    if constexpr (O == FloatOp::abs)
        return {static_cast<u16>(a.bits & 0x7fff)};
    else if constexpr (O == FloatOp::neg)
        return {static_cast<u16>(a.bits ^ 0x8000)};
    else if constexpr (O == FloatOp::fma)
        return from_float<H>(odd_float(
            std::is_same_v<H, bf16> ? odd_sum(static_cast<double>(to_float(a)) * to_float(b), to_float(c))
                                    : static_cast<double>(to_float(a)) * to_float(b) + to_float(c)));
    else
        return from_float<H>(float_op<O, float>(to_float(a), to_float(b), 0));
}

template <FloatOp O, class H, bool Sat, bool Relu> inline H half_post(H a, H b, H c) {
    H r = half_op<O, H>(a, b, c);
    if constexpr (Sat || Relu) {
        float f = to_float(r);
        f = f > 0 || (Relu && f != f) ? f : 0.0f; // relu leaves what is no number
        if constexpr (Sat)
            f = f < 1 ? f : 1.0f;
        r = from_float<H>(f);
    }
    return r;
}

template <FloatOp O, class H, bool Sat, bool Relu> Choice half_choice(bool packed) {
    constexpr auto both = [](u32 a, u32 b, u32 c) {
        auto low =
            half_post<O, H, Sat, Relu>({static_cast<u16>(a)}, {static_cast<u16>(b)}, {static_cast<u16>(c)});
        auto high = half_post<O, H, Sat, Relu>({static_cast<u16>(a >> 16)}, {static_cast<u16>(b >> 16)},
                                               {static_cast<u16>(c >> 16)});
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
        return choose_extreme(in);
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

/// The same of 16-bit floats and of pairs of them. Flushed are a bf16's subnormal numbers.
template <auto F, bool Flushes = false> Choice half_function(const Instruction &in) {
    constexpr auto half = []<class H>(H a) -> H {
        H r = from_float<H>(F(to_float(a)));
        if (Flushes && (r.bits & 0x7f80) == 0)
            r.bits &= 0x8000;
        return r;
    };
    constexpr auto pair = []<class H>(u32 a, H) {
        const u32 low = decltype(half){}(H{static_cast<u16>(a)}).bits,
                  high = decltype(half){}(H{static_cast<u16>(a >> 16)}).bits;
        return low | high << 16;
    };
    switch (in.type()) {
    case Type::f16:
        return one<f16, f16, half>();
    case Type::bf16:
        return one<bf16, bf16, half>();
    case Type::f16x2:
        return one<u32, u32, [](u32 a) { return decltype(pair){}(a, f16{}); }>();
    case Type::bf16x2:
        return one<u32, u32, [](u32 a) { return decltype(pair){}(a, bf16{}); }>();
    default:
        not_implemented(in);
    }
}

/// .approx.ftz.f64: of the upper word, into the upper word. Source: PTX ISA, rcp.approx.ftz.f64.
template <auto F> inline double coarse(double a) {
    auto upper = [](double x) {
        u64 bits = std::bit_cast<u64>(x) & 0xffffffff00000000;
        return std::bit_cast<double>((bits & 0x7ff0000000000000) == 0 ? bits & 0x8000000000000000 : bits);
    };
    const double x = upper(a);
    return x != x ? std::bit_cast<double>(u64{0x7fffffff00000000}) : upper(F(x));
}

template <auto F, auto F64> Choice root(const Instruction &in) {
    if (in.has("rz") || in.has("rm") || in.has("rp"))
        return directed_choice(in);
    if (in.type() == Type::f64)
        return in.has("ftz") ? one<double, double, coarse<F64>>() : one<double, double, F64>();
    return approximate<F>(in);
}

Choice choose_division(const Instruction &in) {
    if (in.has("rz") || in.has("rm") || in.has("rp"))
        return directed_choice(in);
    if (in.type() == Type::f64)
        return two<double, double, double, [](double a, double b) { return a / b; }>();
    if (in.type() != Type::f32)
        not_implemented(in);
    if (in.has("ftz"))
        return two<float, float, float, [](float a, float b) { return flush(flush(a) / flush(b)); }>();
    return two<float, float, float, [](float a, float b) { return a / b; }>();
}

template <FloatOp O> Choice choose_arithmetic(const Instruction &in) {
    return float_choice<O>(in, in.type());
}

const std::map<std::string_view, Selector> &table() {
    static const std::map<std::string_view, Selector> rows = {
        {"add", choose_arithmetic<FloatOp::add>},
        {"sub", choose_arithmetic<FloatOp::sub>},
        {"mul", choose_arithmetic<FloatOp::mul>},
        {"fma", choose_arithmetic<FloatOp::fma>},
        {"mad", choose_arithmetic<FloatOp::fma>},
        {"min", choose_arithmetic<FloatOp::min>},
        {"max", choose_arithmetic<FloatOp::max>},
        {"abs", choose_arithmetic<FloatOp::abs>},
        {"neg", choose_arithmetic<FloatOp::neg>},
        {"div", choose_division},
        {"copysign",
         [](const Instruction &in) {
             return in.type() == Type::f64
                        ? two<double, double, double,
                              [](double a, double b) { return std::copysign(b, a); }>()
                        : two<float, float, float, [](float a, float b) { return std::copysign(b, a); }>();
         }},
        {"ex2",
         [](const Instruction &in) -> Choice {
             if (in.type() == Type::f32)
                 return approximate<exp2_approx>(in);
             return in.has("ftz") ? half_function<exp2_approx, true>(in) : half_function<exp2_approx>(in);
         }},
        {"lg2", approximate<[](float a) { return std::log2(a); }>},
        {"sin", approximate<[](float a) { return std::sin(a); }>},
        {"cos", approximate<[](float a) { return std::cos(a); }>},
        {"tanh",
         [](const Instruction &in) -> Choice {
             constexpr auto tanh = [](float a) { return std::tanh(a); };
             return in.type() == Type::f32 ? approximate<tanh>(in) : half_function<tanh>(in);
         }},
        {"rcp", root<[](float a) { return 1.0f / a; }, [](double a) { return 1.0 / a; }>},
        {"sqrt", root<[](float a) { return std::sqrt(a); }, [](double a) { return std::sqrt(a); }>},
        {"rsqrt",
         root<[](float a) { return 1.0f / std::sqrt(a); }, [](double a) { return 1.0 / std::sqrt(a); }>},
    };
    return rows;
}

} // namespace

Choice choose_float(const Instruction &in) {
    return choose_from(table(), in);
}

} // namespace soft
