// The modes of instructions: rounding, flushing, saturation, clamping to zero, comparisons that combine.
#include <algorithm>
#include <cfenv>
#include <cmath>

#include "reference.hpp"
#include "rows.hpp"

using namespace soft_test;

namespace {

std::vector<Row> rows;

float flush(float x) {
    return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}

struct Mode {
    const char *name;
    int mode;
};
const Mode modes[] = {{"rn", FE_TONEAREST}, {"rz", FE_TOWARDZERO}, {"rm", FE_DOWNWARD}, {"rp", FE_UPWARD}};

/// Computes under a rounding mode of the processor's.
template <class T, class F> auto rounded(int mode, F compute, bool ftz = false, bool sat = false) {
    return [=](u64 a, u64 b, u64 c) {
        T x = value_of<T>(a), y = value_of<T>(b), z = value_of<T>(c);
        if constexpr (sizeof(T) == 4)
            if (ftz)
                x = flush(x), y = flush(y), z = flush(z);
        std::fesetround(mode);
        volatile T p = x, q = y, s = z;
        volatile T r = compute(p, q, s);
        std::fesetround(FE_TONEAREST);
        T result = r;
        if constexpr (sizeof(T) == 4) {
            if (ftz)
                result = flush(result);
            if (sat)
                result = std::isnan(result) || result <= 0 ? 0.0f : std::min(result, 1.0f);
        }
        return bits_of<T>(result);
    };
}

template <class F> void add_rounded(const std::string &name, unsigned sources, F compute) {
    const bool arithmetic = sources > 1 && name != "div";
    for (const Mode &mode : modes) {
        for (bool ftz : {false, true})
            for (bool sat : {false, true})
                if (!sat || arithmetic)
                    rows.push_back(
                        {name + "." + mode.name + (ftz ? ".ftz" : "") + (sat ? ".sat" : "") + ".f32",
                         std::string(sources + 1, 'F'), rounded<float>(mode.mode, compute, ftz, sat)});
        rows.push_back({name + "." + mode.name + ".f64", std::string(sources + 1, 'D'),
                        rounded<double>(mode.mode, compute)});
    }
}

void add_every_rounding() {
    add_rounded("add", 2, [](auto a, auto b, auto) { return a + b; });
    add_rounded("sub", 2, [](auto a, auto b, auto) { return a - b; });
    add_rounded("mul", 2, [](auto a, auto b, auto) { return a * b; });
    add_rounded("fma", 3, [](auto a, auto b, auto c) { return std::fma(a, b, c); });
    add_rounded("mad", 3, [](auto a, auto b, auto c) { return std::fma(a, b, c); });
    add_rounded("div", 2, [](auto a, auto b, auto) { return a / b; });
    add_rounded("rcp", 1, [](auto a, auto, auto) { return decltype(a)(1) / a; });
    add_rounded("sqrt", 1, [](auto a, auto, auto) { return std::sqrt(a); });
}

template <class T> T least(T a, T b) {
    return std::isnan(a) ? b : std::isnan(b) ? a : a == b ? (std::signbit(a) ? a : b) : std::min(a, b);
}
template <class T> T most(T a, T b) {
    return std::isnan(a) ? b : std::isnan(b) ? a : a == b ? (std::signbit(a) ? b : a) : std::max(a, b);
}

void add_doubles() {
    auto row = [](const char *name, const char *kinds, auto compute, double tolerance = 0) {
        rows.push_back({name, kinds,
                        [compute](u64 a, u64 b, u64) {
                            return bits_of<double>(compute(value_of<double>(a), value_of<double>(b)));
                        },
                        tolerance});
    };
    row("min.f64", "DDD", [](double a, double b) { return least(a, b); });
    row("max.f64", "DDD", [](double a, double b) { return most(a, b); });
    row("abs.f64", "DD", [](double a, double) { return std::abs(a); });
    row("neg.f64", "DD", [](double a, double) { return -a; });
    row("copysign.f64", "DDD", [](double a, double b) { return std::copysign(b, a); });
    row("rsqrt.approx.f64", "DD", [](double a, double) { return 1 / std::sqrt(a); }, 1e-9);
    // Of the upper word, into the upper word: 20 bits of fraction.
    auto coarse = [](auto of) {
        return [of](u64 a, u64, u64) {
            const double x = value_of<double>(a & 0xffffffff00000000);
            const double r = of(std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0, x) : x);
            return bits_of(std::fpclassify(r) == FP_SUBNORMAL ? std::copysign(0.0, r) : r) &
                   0xffffffff00000000;
        };
    };
    rows.push_back({"rcp.approx.ftz.f64", "DD", coarse([](double x) { return 1 / x; })});
    rows.push_back({"rsqrt.approx.ftz.f64", "DD", coarse([](double x) { return 1 / std::sqrt(x); })});
}

/// The ISA gives approximations a largest error; what is flushed before and after is so here.
void add_approximations() {
    auto row = [](const std::string &name, double tolerance, auto compute, unsigned sources = 1) {
        for (bool ftz : {false, true})
            rows.push_back({name + (ftz ? ".ftz.f32" : ".f32"), std::string(sources + 1, 'F'),
                            [=](u64 a, u64 b, u64) {
                                float x = value_of<float>(a), y = value_of<float>(b);
                                if (ftz)
                                    return bits_of(flush(static_cast<float>(compute(flush(x), flush(y)))));
                                return bits_of(static_cast<float>(compute(x, y)));
                            },
                            tolerance});
    };
    row("ex2.approx", 2.5e-7, [](float a, float) { return std::exp2(a); });
    row("lg2.approx", 2.5e-7, [](float a, float) { return std::log2(a); });
    row("sin.approx", 1e-6, [](float a, float) { return std::sin(a); });
    row("cos.approx", 1e-6, [](float a, float) { return std::cos(a); });
    row("rcp.approx", 1.2e-7, [](float a, float) { return 1 / a; });
    row("sqrt.approx", 1.2e-7, [](float a, float) { return std::sqrt(a); });
    row("rsqrt.approx", 2.5e-7, [](float a, float) { return 1 / std::sqrt(a); });
    row("div.approx", 2.5e-7, [](float a, float b) { return a / b; }, 2);
    row("div.full", 2.5e-7, [](float a, float b) { return a / b; }, 2);
    for (auto [name, function] : {std::pair{"tanh.approx.f16", +[](double x) { return std::tanh(x); }},
                                  {"ex2.approx.f16", +[](double x) { return std::exp2(x); }}})
        rows.push_back(
            {name, "HH",
             [function = function](u64 a, u64, u64) { return Half16::of(function(number_of('H', a))); },
             2e-3});
    rows.push_back({"ex2.approx.f16x2", "PP",
                    [](u64 a, u64, u64) {
                        return Half16::of(std::exp2(number_of('H', a & 0xffff))) |
                               Half16::of(std::exp2(number_of('H', a >> 16))) << 16;
                    },
                    2e-3});
}

/// Of halves, sums and products saturate to [0, 1], and relu takes what is below 0 to 0.
template <class Half> void add_half_modes(const std::string &type, char kind) {
    using Wide = __float128;
    auto add = [&](const std::string &name, unsigned sources, auto compute, bool sat) {
        rows.push_back(
            {name + "." + type, std::string(sources + 1, kind), [=](u64 a, u64 b, u64 c) -> u64 {
                 const double x = number_of(kind, a), y = number_of(kind, b), z = number_of(kind, c);
                 const double plain = compute(x, y, z);
                 const u64 one = Half::of(1.0);
                 if (std::isnan(plain))
                     return sat ? 0 : Half::of(plain);
                 if (plain <= 0)
                     return 0;
                 if (std::isinf(plain))
                     return sat ? one : Half::of(plain);
                 const u64 exact = Half::of(
                     compute(static_cast<Wide>(x), static_cast<Wide>(y), static_cast<Wide>(z)), false);
                 return sat && exact > one ? one : exact;
             }});
    };
    if (kind == 'H')
        for (auto [name, subtract] : {std::pair{"add.sat", false}, {"sub.sat", true}})
            add(
                name, 2, [subtract = subtract](auto a, auto b, auto) { return subtract ? a - b : a + b; },
                true);
    if (kind == 'H')
        add("mul.sat", 2, [](auto a, auto b, auto) { return a * b; }, true);
    if (kind == 'H')
        add("fma.rn.sat", 3, [](auto a, auto b, auto c) { return fused(a, b, c); }, true);
    add("fma.rn.relu", 3, [](auto a, auto b, auto c) { return fused(a, b, c); }, false);
}

void add_conversions() {
    rows.push_back({"cvt.rna.tf32.f32", "rF", [](u64 a, u64, u64) -> u64 {
                        const double x = number_of('F', a);
                        if (!std::isfinite(x) || x == 0)
                            return a;
                        // 11 bits of a normal number's fraction; a subnormal one has its last place at
                        // 2^-136.
                        const int place = std::max(std::ilogb(x), -126) - 10;
                        const double whole = std::ldexp(x, -place);
                        return bits_of(static_cast<float>(std::ldexp(std::round(whole), place)));
                    }});
    for (auto [mode, name] : {std::pair{Rounding::nearest, "rn"}, {Rounding::zero, "rz"}}) {
        for (bool relu : {false, true}) {
            const std::string relu_name = relu ? ".relu" : "";
            auto low = [relu](u64 bits, bool nan) { return relu && !nan && bits & 0x8000 ? 0 : bits; };
            rows.push_back({std::string("cvt.") + name + relu_name + ".f16x2.f32", "PFF",
                            [=, mode = mode](u64 a, u64 b, u64) {
                                const double x = number_of('F', a), y = number_of('F', b);
                                return low(Half16::of(y, mode), std::isnan(y)) |
                                       low(Half16::of(x, mode), std::isnan(x)) << 16;
                            }});
            rows.push_back({std::string("cvt.") + name + relu_name + ".bf16x2.f32", "QFF",
                            [=, mode = mode](u64 a, u64 b, u64) {
                                const double x = number_of('F', a), y = number_of('F', b);
                                return low(Bfloat16::of(y, mode), std::isnan(y)) |
                                       low(Bfloat16::of(x, mode), std::isnan(x)) << 16;
                            }});
        }
    }
    for (auto [name, way] : {std::pair{"rmi", +[](float x) { return std::floor(x); }},
                             {"rpi", +[](float x) { return std::ceil(x); }},
                             {"rzi", +[](float x) { return std::trunc(x); }},
                             {"rni", +[](float x) { return std::nearbyint(x); }}})
        rows.push_back({std::string("cvt.") + name + ".ftz.f32.f32", "FF", [way = way](u64 a, u64, u64) {
                            return bits_of(flush(way(flush(value_of<float>(a)))));
                        }});
    rows.push_back({"cvt.ftz.f64.f32", "DF",
                    [](u64 a, u64, u64) { return bits_of(static_cast<double>(flush(value_of<float>(a)))); }});
    rows.push_back({"cvt.rn.ftz.f32.f64", "FD",
                    [](u64 a, u64, u64) { return bits_of(flush(static_cast<float>(value_of<double>(a)))); }});
}

void add_integers() {
    for (auto [type, kind] :
         {std::pair{"u16", 'h'}, {"s16", 'h'}, {"u32", 'r'}, {"s32", 'r'}, {"u64", 'd'}, {"s64", 'd'}}) {
        const unsigned bits = 8 * bytes_of(kind);
        const bool is_signed = type[0] == 's';
        auto value = [=](u64 a) -> __int128 {
            const u64 cut = bits == 64 ? a : a & ((1ull << bits) - 1);
            return is_signed && cut >> (bits - 1)
                       ? static_cast<__int128>(cut) - (static_cast<__int128>(1) << bits)
                       : static_cast<__int128>(cut);
        };
        rows.push_back({std::string("sad.") + type, std::string(4, kind), [=](u64 a, u64 b, u64 c) {
                            const __int128 difference = value(a) - value(b);
                            return static_cast<u64>((difference < 0 ? -difference : difference) + value(c));
                        }});
        rows.push_back({std::string("mad.lo.") + type, std::string(4, kind),
                        [](u64 a, u64 b, u64 c) { return a * b + c; }});
        rows.push_back({std::string("mad.hi.") + type, std::string(4, kind), [=](u64 a, u64 b, u64 c) {
                            if (is_signed)
                                return static_cast<u64>((value(a) * value(b)) >> bits) + c;
                            return static_cast<u64>((static_cast<unsigned __int128>(value(a)) *
                                                     static_cast<unsigned __int128>(value(b))) >>
                                                    bits) +
                                   c;
                        }});
        if (bits < 64) {
            const char wide = bits == 16 ? 'r' : 'd';
            rows.push_back({std::string("mad.wide.") + type,
                            {wide, kind, kind, wide},
                            [=](u64 a, u64 b, u64 c) { return static_cast<u64>(value(a) * value(b)) + c; }});
            rows.push_back({std::string("mul.wide.") + type, {wide, kind, kind}, [=](u64 a, u64 b, u64) {
                                return static_cast<u64>(value(a) * value(b));
                            }});
        }
        if (is_signed) {
            rows.push_back({std::string("abs.") + type, {kind, kind}, [=](u64 a, u64, u64) {
                                return static_cast<u64>(value(a) < 0 ? -value(a) : value(a));
                            }});
        }
        if (bits >= 32)
            for (bool shift : {false, true})
                rows.push_back({std::string("bfind") + (shift ? ".shiftamt." : ".") + type,
                                {'r', kind},
                                [=](u64 a, u64, u64) -> u64 {
                                    const __int128 x = value(a) < 0 ? ~value(a) : value(a);
                                    for (int place = static_cast<int>(bits) - 1; place >= 0; --place)
                                        if ((x >> place) & 1)
                                            return static_cast<u64>(shift ? static_cast<int>(bits) - 1 - place
                                                                          : place);
                                    return 0xffffffff;
                                }});
    }
    rows.push_back({"sub.sat.s32", "rrr", [](u64 a, u64 b, u64) {
                        const s64 difference = s64(static_cast<s32>(a)) - static_cast<s32>(b);
                        return static_cast<u64>(std::clamp<s64>(difference, INT32_MIN, INT32_MAX));
                    }});
    rows.push_back({"brev.b64", "dd", [](u64 a, u64, u64) {
                        u64 r = 0;
                        for (int i = 0; i < 64; ++i)
                            r = r << 1 | ((a >> i) & 1);
                        return r;
                    }});
    // PTX ISA 9.7.1.18: a mask of b ones from bit a on.
    auto mask = [](bool wrap) {
        return [=](u64 a, u64 b, u64) -> u64 {
            if (wrap)
                a &= 31, b &= 31;
            u64 bits = 0;
            for (u64 i = 0; i < 32; ++i)
                bits |= (i >= a && i < a + std::min<u64>(b, 32) ? 1ull : 0) << i;
            return bits;
        };
    };
    rows.push_back({"bmsk.clamp.b32", "rss", mask(false)});
    rows.push_back({"bmsk.wrap.b32", "rss", mask(true)});
}

template <class T> bool holds(const std::string &op, T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
        const bool unordered = std::isnan(a) || std::isnan(b);
        if (op == "num" || op == "nan")
            return unordered == (op == "nan");
        if (unordered)
            return op.size() == 3;
    }
    const std::string base = op == "lo"   ? "lt"
                             : op == "ls" ? "le"
                             : op == "hi" ? "gt"
                             : op == "hs" ? "ge"
                                          : op.substr(0, 2);
    return base == "eq"   ? a == b
           : base == "ne" ? a != b
           : base == "lt" ? a < b
           : base == "le" ? a <= b
           : base == "gt" ? a > b
                          : a >= b;
}

template <class T>
void add_comparisons(const std::string &type, char kind, std::initializer_list<const char *> ops) {
    for (std::string op : ops) {
        auto compare = [=](u64 a, u64 b) {
            if constexpr (std::is_same_v<T, float>)
                return holds(op, static_cast<float>(number_of(kind, a)),
                             static_cast<float>(number_of(kind, b)));
            else
                return holds(op, value_of<T>(a), value_of<T>(b));
        };
        rows.push_back({"setp." + op + "." + type, {'p', kind, kind}, [=](u64 a, u64 b, u64) {
                            return u64(compare(a, b));
                        }});
        if (kind == 'H' || kind == 'B' || kind == 'h')
            continue;
        rows.push_back({"set." + op + ".u32." + type, {'r', kind, kind}, [=](u64 a, u64 b, u64) {
                            return compare(a, b) ? 0xffffffffull : 0;
                        }});
        rows.push_back({"set." + op + ".f32." + type, {'F', kind, kind}, [=](u64 a, u64 b, u64) {
                            return compare(a, b) ? 0x3f800000ull : 0;
                        }});
    }
}

void add_all_comparisons() {
    add_comparisons<u16>("u16", 'h', {"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"});
    add_comparisons<u32>("u32", 'r', {"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"});
    add_comparisons<s32>("s32", 'r', {"eq", "ne", "lt", "le", "gt", "ge"});
    add_comparisons<u64>("u64", 'd', {"lt", "le", "lo", "ls", "hi", "hs"});
    add_comparisons<s64>("s64", 'd', {"lt", "ge"});
    add_comparisons<u16>("b16", 'h', {"eq", "ne"});
    add_comparisons<u32>("b32", 'r', {"eq", "ne"});
    add_comparisons<u64>("b64", 'd', {"eq", "ne"});
    add_comparisons<float>(
        "f32", 'F',
        {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"});
    add_comparisons<double>("f64", 'D', {"eq", "ltu", "num", "nan"});
    add_comparisons<float>(
        "bf16", 'B',
        {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"});
    rows.push_back({"set.gt.ftz.u32.f32", "rFF", [](u64 a, u64 b, u64) {
                        return flush(value_of<float>(a)) > flush(value_of<float>(b)) ? 0xffffffffull : 0;
                    }});
    for (auto [name, kind] : {std::pair{"f32", 'F'}, {"f64", 'D'}}) {
        auto add = [name = name, kind = kind](const char *what, auto test) {
            rows.push_back({std::string("testp.") + what + "." + name, {'p', kind}, [=](u64 a, u64, u64) {
                                return u64(kind == 'F' ? test(value_of<float>(a))
                                                       : test(value_of<double>(a)));
                            }});
        };
        add("finite", [](auto x) { return std::isfinite(x); });
        add("infinite", [](auto x) { return std::isinf(x); });
        add("number", [](auto x) { return !std::isnan(x); });
        add("notanumber", [](auto x) { return std::isnan(x); });
        add("normal", [](auto x) { return x == 0 || std::fpclassify(x) == FP_NORMAL; }); // zeros are, to PTX
        add("subnormal", [](auto x) { return std::fpclassify(x) == FP_SUBNORMAL; });
    }
}

/// A comparison's result goes with a predicate: setp p|q has both ways, set the first.
bool comparisons_combine() {
    bool good = true;
    for (std::string with : {"and", "or", "xor"})
        for (bool negated : {false, true}) {
            auto words = words_of("mov.u32 %r2, 0; and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1;\n"
                                  "setp.lt." +
                                      with + ".u32 %p2|%p3, %r1, 16, " + (negated ? "!" : "") +
                                      "%p1;\n"
                                      "@%p2 add.s32 %r2, %r2, 1; @%p3 add.s32 %r2, %r2, 2;\n"
                                      "set.lt." +
                                      with + ".u32.u32 %r4, %r1, 16, " + (negated ? "!" : "") +
                                      "%p1; and.b32 %r4, %r4, 4;\n"
                                      "add.s32 %r2, %r2, %r4;",
                                  32);
            for (u32 i = 0; i < 32; ++i) {
                const bool p = (i & 1) != negated, less = i < 16;
                auto both = [&](bool c) { return with == "and" ? c && p : with == "or" ? c || p : c != p; };
                good &= words[i] == (both(less) ? 1u + 4u : 0u) + (both(!less) ? 2u : 0u);
            }
        }
    return good;
}

/// Logic on predicates, choices by one, and fields of 64 bits.
bool predicates_choose() {
    auto words = words_of(
        "and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; setp.lt.u32 %p2, %r1, 16; mov.u32 %r2, 0;\n"
        "and.pred %p3, %p1, %p2; @%p3 add.s32 %r2, %r2, 1; or.pred %p3, %p1, %p2; @%p3 add.s32 %r2, %r2, 2;\n"
        "xor.pred %p3, %p1, %p2; @%p3 add.s32 %r2, %r2, 4; not.pred %p3, %p1; @%p3 add.s32 %r2, %r2, 8;\n"
        "mov.pred %p3, %p2; @%p3 add.s32 %r2, %r2, 16;",
        32);
    bool good = true;
    for (u32 i = 0; i < 32; ++i) {
        const bool a = i & 1, b = i < 16;
        good &= words[i] ==
                (a && b ? 1u : 0) + (a || b ? 2u : 0) + (a != b ? 4u : 0) + (a ? 0u : 8u) + (b ? 16u : 0);
    }
    words = words_of(
        "setp.lt.u32 %p1, %r1, 16; mov.b16 %h1, 300; mov.b16 %h2, 7; selp.b16 %h3, %h1, %h2, %p1; "
        "cvt.u32.u16 %r2, %h3;\n"
        "mov.u64 %rd4, 0x100000001; mov.u64 %rd5, 2; selp.b64 %rd6, %rd4, %rd5, !%p1; shr.u64 %rd7, %rd6, "
        "32;\n"
        "cvt.u32.u64 %r3, %rd7; add.s32 %r2, %r2, %r3; mov.f32 %f1, 0f3F800000; mov.f32 %f2, 0f40000000;\n"
        "selp.f32 %f3, %f1, %f2, %p1; cvt.rzi.u32.f32 %r3, %f3; add.s32 %r2, %r2, %r3;\n"
        "{ .reg .f64 %d<4>; mov.f64 %d1, 0d4010000000000000; mov.f64 %d2, 0d4020000000000000; selp.f64 %d3, "
        "%d1, %d2, %p1;\n"
        "cvt.rzi.u32.f64 %r3, %d3; add.s32 %r2, %r2, %r3; }",
        32);
    for (u32 i = 0; i < 32; ++i)
        good &= words[i] == (i < 16 ? 300u + 0 + 1 + 4 : 7u + 1 + 2 + 8);
    words = words_of("mov.u64 %rd4, 0xff; mov.u64 %rd5, 0; bfi.b64 %rd6, %rd4, %rd5, 30, 4; shr.u64 %rd7, "
                     "%rd6, 30; cvt.u32.u64 %r2, %rd7;",
                     32);
    return good && words[0] == 15;
}

} // namespace

int main() {
    add_every_rounding();
    add_doubles();
    add_approximations();
    add_half_modes<Half16>("f16", 'H');
    add_half_modes<Bfloat16>("bf16", 'B');
    add_conversions();
    add_integers();
    add_all_comparisons();
    EXPECT(comparisons_combine());
    EXPECT(predicates_choose());
    return check_all(rows);
}
