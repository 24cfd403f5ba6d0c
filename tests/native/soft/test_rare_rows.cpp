// Arithmetic that few programs have: halves without subnormal numbers, conversions that stay finite, tf32 in
// every rounding, logic that goes with a predicate, sums of products that saturate.
#include <algorithm>
#include <climits>

#include "reference.hpp"
#include "rows.hpp"

using namespace soft_test;

namespace {

std::vector<Row> rows;

u64 flushed(u64 half) {
    return (half & 0x7c00) == 0 ? half & 0x8000 : half & 0xffff;
}
bool none(u64 half) {
    return (half & 0x7fff) > 0x7c00;
}
double number(u64 half) {
    return number_of('H', half & 0xffff);
}

/// An operation on halves, by the double that comes of them exactly, as .ftz has it.
using Exact = std::function<u64(u64, u64, u64)>;
void add_flushing(const std::string &name, unsigned sources, const Exact &half) {
    const Exact one = [=](u64 a, u64 b, u64 c) { return flushed(half(flushed(a), flushed(b), flushed(c))); };
    rows.push_back({name + ".f16", std::string(sources + 1, 'H'), one});
    rows.push_back({name + ".f16x2", std::string(sources + 1, 'P'), [=](u64 a, u64 b, u64 c) {
                        return one(a & 0xffff, b & 0xffff, c & 0xffff) | one(a >> 16, b >> 16, c >> 16) << 16;
                    }});
}

/// What a sum or product of two halves rounds to: exactly in a double, then once.
Exact rounded(const std::function<double(double, double, double)> &exact, bool sat = false,
              bool relu = false) {
    return [=](u64 a, u64 b, u64 c) -> u64 {
        const double x = exact(number(a), number(b), number(c));
        if (std::isnan(x))
            return sat ? 0 : 0x7fff;
        if (sat)
            return Half16::of(std::min(1.0, std::max(0.0, x)));
        if (relu && x <= 0)
            return 0;
        return Half16::of(x);
    };
}

void add_halves() {
    auto sum = [](double a, double b, double) { return a + b; };
    auto difference = [](double a, double b, double) { return a - b; };
    auto product = [](double a, double b, double) { return a * b; };
    // Exact in a double but for the smallest beside the largest, where the sticky bits still tell.
    auto both = [](double a, double b, double c) { return static_cast<double>(std::fma(a, b, c)); };
    for (const char *rn : {"", ".rn"}) {
        add_flushing(std::string("add") + rn + ".ftz", 2, rounded(sum));
        add_flushing(std::string("sub") + rn + ".ftz", 2, rounded(difference));
        add_flushing(std::string("mul") + rn + ".ftz", 2, rounded(product));
    }
    add_flushing("add.ftz.sat", 2, rounded(sum, true));
    add_flushing("sub.rn.ftz.sat", 2, rounded(difference, true));
    add_flushing("mul.ftz.sat", 2, rounded(product, true));
    add_flushing("fma.rn.ftz", 3, rounded(both));
    add_flushing("fma.rn.ftz.sat", 3, rounded(both, true));
    add_flushing("fma.rn.ftz.relu", 3, rounded(both, false, true));
    add_flushing("neg.ftz", 1, [](u64 a, u64, u64) { return none(a) ? a : a ^ 0x8000; });
    add_flushing("abs.ftz", 1, [](u64 a, u64, u64) { return none(a) ? a : a & 0x7fff; });
    for (bool least : {true, false}) {
        auto extreme = [=](u64 a, u64 b, bool takes_none) -> u64 {
            if (none(a) || none(b))
                return takes_none || (none(a) && none(b)) ? 0x7fff : none(a) ? b : a;
            if (number(a) == number(b)) // zeros of both signs
                return least ? a | b : a & b;
            return (number(a) < number(b)) == least ? a : b;
        };
        const std::string name = least ? "min.ftz" : "max.ftz";
        add_flushing(name, 2, [=](u64 a, u64 b, u64) { return extreme(a, b, false); });
        add_flushing(name + ".NaN", 2, [=](u64 a, u64 b, u64) { return extreme(a, b, true); });
        add_flushing(name + ".xorsign.abs", 2, [=](u64 a, u64 b, u64) {
            const u64 size = extreme(a & 0x7fff, b & 0x7fff, false);
            return none(size) ? size : size | ((a ^ b) & 0x8000);
        });
    }
    rows.push_back({"setp.lt.ftz.f16", "pHH",
                    [](u64 a, u64 b, u64) { return u64(number(flushed(a)) < number(flushed(b))); }});
    rows.push_back({"setp.neu.ftz.f16", "pHH",
                    [](u64 a, u64 b, u64) { return u64(!(number(flushed(a)) == number(flushed(b)))); }});
    rows.push_back({"set.gt.ftz.f16.f16", "HHH", [](u64 a, u64 b, u64) {
                        return number(flushed(a)) > number(flushed(b)) ? 0x3c00ull : 0;
                    }});
    rows.push_back({"set.gt.ftz.f16x2.f16x2", "PPP", [](u64 a, u64 b, u64) {
                        auto half = [](u64 x, u64 y) {
                            return number(flushed(x)) > number(flushed(y)) ? 0x3c00ull : 0;
                        };
                        return half(a & 0xffff, b & 0xffff) | half(a >> 16, b >> 16) << 16;
                    }});
}

/// Finite: what is beyond the largest number becomes it. Relu: what is negative becomes 0.
template <class Format> u64 finite(double x, double largest, Rounding rounding, bool relu) {
    if (std::isnan(x))
        return 0x7fff;
    if (relu && x <= 0) // a zero of either sign becomes that of the positive one
        return 0;
    return Format::of(std::min(largest, std::max(-largest, x)), rounding);
}

void add_finite_conversions() {
    for (auto [way, rounding] : {std::pair{".rn", Rounding::nearest}, {".rz", Rounding::zero}})
        for (bool relu : {false, true}) {
            const std::string name = std::string("cvt") + way + (relu ? ".relu" : "") + ".satfinite.";
            auto f16 = [=, rounding = rounding](u64 a) {
                return finite<Half16>(number_of('F', a), 65504, rounding, relu);
            };
            auto bf16 = [=, rounding = rounding](u64 a) {
                return finite<Bfloat16>(number_of('F', a), 0x1.fep127, rounding, relu);
            };
            rows.push_back({name + "f16.f32", "HF", [=](u64 a, u64, u64) { return f16(a); }});
            rows.push_back({name + "bf16.f32", "BF", [=](u64 a, u64, u64) { return bf16(a); }});
            rows.push_back(
                {name + "f16x2.f32", "PFF", [=](u64 a, u64 b, u64) { return f16(a) << 16 | f16(b); }});
            rows.push_back(
                {name + "bf16x2.f32", "QFF", [=](u64 a, u64 b, u64) { return bf16(a) << 16 | bf16(b); }});
        }
}

/// A float with 10 bits of fraction, by its definition: the places between two of them are 8192 apart.
u64 tf32(u64 bits, const std::string &way, bool relu, bool ends) {
    const u64 sign = bits & 0x80000000, size = bits & 0x7fffffff;
    if (size > 0x7f800000)
        return 0x7fffffff;
    if (relu && sign)
        return 0;
    if (ends && size > 0x7f7fe000)
        return sign | 0x7f7fe000;
    if (size == 0x7f800000)
        return bits;
    const u64 below = size / 8192 * 8192, rest = size - below;
    const bool up = way == "rz"    ? false
                    : rest != 4096 ? rest > 4096
                                   : way == "rna" || (below / 8192) % 2 == 1;
    return sign | (below + (up ? 8192 : 0));
}

void add_tf32() {
    for (const std::string way : {"rna", "rn", "rz"})
        for (bool ends : {false, true})
            for (bool relu : {false, true})
                if (way != "rna" || !relu)
                    rows.push_back(
                        {"cvt." + way + (ends ? ".satfinite" : "") + (relu ? ".relu" : "") + ".tf32.f32",
                         "FF", [=](u64 a, u64, u64) { return tf32(a, way, relu, ends); }});
}

/// To integers: what is no number becomes 0, or the highest bit alone where 64 bits are spoken of.
void add_no_numbers() {
    for (auto [from, kind] : {std::pair{"f32", 'F'}, {"f64", 'D'}, {"f16", 'H'}})
        for (auto [to, bits, is_signed] : {std::tuple{"s32", 32u, true},
                                           {"u32", 32u, false},
                                           {"s64", 64u, true},
                                           {"u64", 64u, false},
                                           {"u16", 16u, false}})
            rows.push_back({std::string("cvt.rzi.") + to + "." + from,
                            {bits == 64   ? 'd'
                             : bits == 16 ? 'h'
                                          : 'r',
                             kind},
                            [=, kind = kind, bits = bits, is_signed = is_signed](u64 a, u64, u64) -> u64 {
                                const double x = std::trunc(number_of(kind, a));
                                if (std::isnan(x))
                                    return kind == 'D' || bits == 64 ? u64{1} << (bits - 1) : 0;
                                const double high =
                                                 std::ldexp(1, static_cast<int>(is_signed ? bits - 1 : bits)),
                                             low = is_signed ? -high : 0;
                                if (x >= high)
                                    return is_signed ? (u64{1} << (bits - 1)) - 1 : ~u64{0};
                                if (x <= low)
                                    return is_signed ? u64{1} << (bits - 1) : 0;
                                return x < 0 ? static_cast<u64>(static_cast<s64>(x)) : static_cast<u64>(x);
                            }});
}

void add_packs_below_a_byte() {
    for (auto [type, bits, is_signed] :
         {std::tuple{"u4", 4u, false}, {"s4", 4u, true}, {"u2", 2u, false}, {"s2", 2u, true}})
        rows.push_back({std::string("cvt.pack.sat.") + type + ".s32.b32", "rrrr",
                        [=, bits = bits, is_signed = is_signed](u64 a, u64 b, u64 c) {
                            const s64 high = (1 << (is_signed ? bits - 1 : bits)) - 1,
                                      low = is_signed ? -high - 1 : 0;
                            auto part = [=](u64 x) {
                                return static_cast<u64>(std::clamp<s64>(static_cast<s32>(x), low, high)) &
                                       ((1u << bits) - 1);
                            };
                            return c << (2 * bits) | part(a) << bits | part(b);
                        }});
}

void add_integers() {
    auto ends = [](s64 x) { return static_cast<u64>(std::clamp<s64>(x, INT_MIN, INT_MAX)); };
    rows.push_back({"mad.hi.sat.s32", "rrrr", [=](u64 a, u64 b, u64 c) {
                        return ends((s64{static_cast<s32>(a)} * static_cast<s32>(b) >> 32) +
                                    static_cast<s32>(c));
                    }});
    rows.push_back({"mad24.hi.sat.s32", "rrrr", [=](u64 a, u64 b, u64 c) {
                        auto low = [](u64 x) { return s64{static_cast<s32>(static_cast<u32>(x) << 8) >> 8}; };
                        return ends((low(a) * low(b) >> 16) + static_cast<s32>(c));
                    }});
    for (const char *type : {"b16", "u16", "s16"}) {
        rows.push_back({std::string("slct.") + type + ".s32", "hhhr",
                        [](u64 a, u64 b, u64 c) { return static_cast<s32>(c) >= 0 ? a : b; }});
        rows.push_back({std::string("slct.") + type + ".f32", "hhhF",
                        [](u64 a, u64 b, u64 c) { return value_of<float>(c) >= 0 ? a : b; }});
    }
}

/// What two predicates say, as bits of a word, for two words of pairs and a predicate that goes with them.
void pairs_compare_with_a_predicate() {
    for (const std::string type : {"f16x2", "bf16x2"})
        for (const std::string with : {"and", "or", "xor"})
            for (bool negated : {false, true})
                for (bool ftz : {false, true}) {
                    if (ftz && type[0] == 'b')
                        continue;
                    // Lane i compares values i and 31 - i of a row, in both halves.
                    const auto &edge = edges(type[0] == 'b' ? 'Q' : 'P');
                    std::string q = negated ? "!%p1" : "%p1", f = ftz ? ".ftz" : "";
                    std::vector<u32> in, out(64);
                    for (u32 i = 0; i < 32; ++i) {
                        in.push_back(static_cast<u32>(edge[i % edge.size()]));
                        in.push_back(static_cast<u32>(edge[(5 * i + 3) % edge.size()]));
                    }
                    auto outcome = run(
                        "mul.wide.u32 %rd4, %r1, 8; add.s64 %rd5, %rd4, %rd2; add.s64 %rd4, %rd4, %rd1;\n"
                        "ld.global.v2.u32 {%r3, %r4}, [%rd4]; and.b32 %r5, %r1, 1; setp.eq.u32 %p1, %r5, 1;\n"
                        "setp.lt." +
                            with + f + "." + type + " %p2|%p3, %r3, %r4, " + q +
                            ";\n"
                            "selp.b32 %r6, 1, 0, %p2; selp.b32 %r7, 2, 0, %p3; or.b32 %r6, %r6, %r7;\n"
                            "set.geu." +
                            with + f + ".u32." + type + " %r7, %r3, %r4, " + q +
                            ";\n"
                            "st.global.v2.u32 [%rd5], {%r6, %r7};",
                        {1, 32}, in.data(), out.data());
                    EXPECT(!outcome.fault);
                    for (u32 i = 0; i < 32; ++i) {
                        const bool p = (i % 2 == 1) != negated;
                        auto both = [&](bool x) {
                            return with == "and" ? x && p : with == "or" ? x || p : x != p;
                        };
                        auto half = [&](u32 word, unsigned at) {
                            const u64 bits = word >> at & 0xffff;
                            return number_of(type[0] == 'b' ? 'B' : 'H', ftz ? flushed(bits) : bits);
                        };
                        auto less = [&](unsigned at) {
                            return both(half(in[2 * i], at) < half(in[2 * i + 1], at));
                        };
                        auto not_less = [&](unsigned at) {
                            return both(!(half(in[2 * i], at) < half(in[2 * i + 1], at)));
                        };
                        EXPECT(out[2 * i] == (less(0) ? 1u : 0u) + (less(16) ? 2u : 0u));
                        EXPECT(out[2 * i + 1] ==
                               (not_less(0) ? 0xffffu : 0u) + (not_less(16) ? 0xffff0000u : 0u));
                    }
                }
}

/// lop3 with a predicate: whether the word is not 0, and, or what another one says.
void tables_go_with_a_predicate() {
    for (const std::string with : {"and", "or"})
        for (bool sink : {false, true}) {
            auto words = words_of(
                "and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; and.b32 %r4, %r1, 4; mov.u32 %r5, 12;\n"
                "mov.u32 %r6, 7; lop3." +
                    with + ".b32 " + (sink ? "_" : "%r6") + "|%p2, %r4, %r5, %r1, 0xc0, " +
                    (sink ? "!%p1" : "%p1") +
                    ";\n"
                    "selp.b32 %r2, 100, 0, %p2; add.s32 %r2, %r2, %r6;",
                32);
            for (u32 i = 0; i < 32; ++i) {
                const u32 word = i & 4; // 0xc0: a and b
                const bool p = (i % 2 == 1) != sink, q = with == "and" ? word != 0 && p : word != 0 || p;
                EXPECT(words[i] == (q ? 100 : 0) + (sink ? 7 : word));
            }
        }
}

} // namespace

int main() {
    add_halves();
    add_finite_conversions();
    add_tf32();
    add_no_numbers();
    add_packs_below_a_byte();
    add_integers();
    pairs_compare_with_a_predicate();
    tables_go_with_a_predicate();
    return check_all(rows);
}
