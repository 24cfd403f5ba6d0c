// Sums with carry, 24-bit products, arithmetic on the parts of a word, comparisons of pairs of halves, and
// the rarer minima.
#include <algorithm>

#include "reference.hpp"
#include "rows.hpp"

using namespace soft_test;

namespace {

std::vector<Row> rows;

std::vector<u32> some_words(std::size_t count) {
    std::vector<u32> words;
    u32 state = 12345;
    for (std::size_t i = 0; i < count; ++i) {
        state = state * 1664525 + 1013904223;
        words.push_back(i % 7 == 0 ? 0xffffffff : i % 11 == 0 ? 0 : state ^ state >> 15);
    }
    return words;
}

using Wide = unsigned __int128;

/// Runs a body that reads 128-bit numbers a (%r10-13, %rd10-11) and b (%r20-23, %rd20-21) and writes one from
/// %r30-33 or %rd30-31.
void check_wide(const char *what, const std::string &body, bool in_halves, Wide (*reference)(Wide, Wide)) {
    constexpr u32 threads = 64;
    const std::vector<u32> numbers = some_words(8 * threads);
    std::vector<u32> results(4 * threads);
    std::string text =
        "mul.wide.u32 %rd4, %r1, 32; add.s64 %rd4, %rd4, %rd1; mul.wide.u32 %rd5, %r1, 16; add.s64 "
        "%rd5, %rd5, %rd2;\n";
    text += in_halves
                ? "ld.global.v2.u64 {%rd10, %rd11}, [%rd4]; ld.global.v2.u64 {%rd20, %rd21}, [%rd4+16];\n"
                : "ld.global.v4.u32 {%r10, %r11, %r12, %r13}, [%rd4]; ld.global.v4.u32 {%r20, %r21, %r22, "
                  "%r23}, [%rd4+16];\n";
    text += body;
    text += in_halves ? "st.global.v2.u64 [%rd5], {%rd30, %rd31};\n"
                      : "st.global.v4.u32 [%rd5], {%r30, %r31, %r32, %r33};\n";
    auto outcome = run(text, {1, threads}, numbers.data(), results.data());
    EXPECT(!outcome.fault);
    for (u32 i = 0; i < threads; ++i) {
        auto number = [](const u32 *words) {
            return Wide{words[3]} << 96 | Wide{words[2]} << 64 | Wide{words[1]} << 32 | words[0];
        };
        const Wide got = number(&results[4 * i]),
                   wanted = reference(number(&numbers[8 * i]), number(&numbers[8 * i + 4]));
        if (got != wanted)
            std::fprintf(stderr, "%s is wrong in thread %u\n", what, i);
        EXPECT(got == wanted);
    }
}

void sums_carry_from_word_to_word() {
    check_wide("sum",
               "add.cc.u32 %r30, %r10, %r20; addc.cc.u32 %r31, %r11, %r21; addc.cc.s32 %r32, %r12, %r22; "
               "addc.u32 %r33, %r13, %r23;",
               false, [](Wide a, Wide b) { return a + b; });
    check_wide("difference",
               "sub.cc.u32 %r30, %r10, %r20; subc.cc.u32 %r31, %r11, %r21; subc.cc.s32 %r32, %r12, "
               "%r22; subc.u32 %r33, %r13, %r23;",
               false, [](Wide a, Wide b) { return a - b; });
    check_wide("sum of halves", "add.cc.u64 %rd30, %rd10, %rd20; addc.s64 %rd31, %rd11, %rd21;", true,
               [](Wide a, Wide b) { return a + b; });
    check_wide("difference of halves", "sub.cc.s64 %rd30, %rd10, %rd20; subc.u64 %rd31, %rd11, %rd21;", true,
               [](Wide a, Wide b) { return a - b; });
    check_wide("sum of halves of the other sign",
               "add.cc.s64 %rd30, %rd10, %rd20; addc.u64 %rd31, %rd11, %rd21;", true,
               [](Wide a, Wide b) { return a + b; });
    check_wide("difference of halves of the other sign",
               "sub.cc.u64 %rd30, %rd10, %rd20; subc.s64 %rd31, %rd11, %rd21;", true,
               [](Wide a, Wide b) { return a - b; });
    check_wide(
        "lower products",
        "mad.lo.cc.u32 %r30, %r10, %r20, %r21; madc.lo.cc.u32 %r31, %r11, %r22, %r23; addc.u32 %r32, 0, 0; "
        "mov.u32 %r33, 0;",
        false, [](Wide a, Wide b) {
            auto word = [](Wide x, unsigned at) { return static_cast<u32>(x >> (32 * at)); };
            const u64 first = u64{word(a, 0) * word(b, 0)} + word(b, 1),
                      second = u64{word(a, 1) * word(b, 2)} + word(b, 3) + (first >> 32);
            return Wide{second} << 32 | static_cast<u32>(first);
        });
    // (a's lower half times b's lower half) + b: the product's upper half takes the carry of the lower one's
    // sum.
    check_wide("product and sum",
               "mad.lo.cc.u64 %rd30, %rd10, %rd20, %rd20; madc.hi.u64 %rd31, %rd10, %rd20, %rd21;", true,
               [](Wide a, Wide b) { return Wide{static_cast<u64>(a)} * static_cast<u64>(b) + b; });
    check_wide(
        "signed product and sum",
        "mad.lo.cc.s64 %rd30, %rd10, %rd20, %rd20; madc.hi.s64 %rd31, %rd10, %rd20, %rd21;", true,
        [](Wide a, Wide b) {
            return static_cast<Wide>(static_cast<__int128>(static_cast<s64>(a)) * static_cast<s64>(b)) + b;
        });
    check_wide(
        "product of words",
        "mul.lo.u32 %r30, %r10, %r20; mul.hi.u32 %r31, %r10, %r20;\n"
        "mad.lo.cc.u32 %r31, %r11, %r20, %r31; madc.hi.u32 %r32, %r11, %r20, 0;\n"
        "mad.lo.cc.u32 %r31, %r10, %r21, %r31; madc.hi.cc.u32 %r32, %r10, %r21, %r32; addc.u32 %r33, 0, 0;\n"
        "mad.lo.cc.u32 %r32, %r11, %r21, %r32; madc.hi.u32 %r33, %r11, %r21, %r33;",
        false, [](Wide a, Wide b) { return Wide{static_cast<u64>(a)} * static_cast<u64>(b); });
}

/// Lanes that a guard leaves out keep their carry.
void carries_are_each_lanes_own() {
    auto words = words_of("and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; add.cc.u32 %r4, -1, 1;\n"
                          "@%p1 add.cc.u32 %r4, 1, 1; addc.u32 %r2, 5, 0;",
                          32);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == (i & 1 ? 5 : 6));
}

void add_integers() {
    auto signed24 = [](u64 x) { return static_cast<s64>(static_cast<s32>(static_cast<u32>(x) << 8) >> 8); };
    for (bool high : {false, true})
        for (bool is_signed : {false, true}) {
            const std::string name = std::string(high ? "hi" : "lo") + (is_signed ? ".s32" : ".u32");
            auto product = [=](u64 a, u64 b) -> u64 {
                const u64 full =
                    is_signed ? static_cast<u64>(signed24(a) * signed24(b)) : (a & 0xffffff) * (b & 0xffffff);
                return full >> (high ? 16 : 0);
            };
            rows.push_back({"mul24." + name, "rrr", [=](u64 a, u64 b, u64) { return product(a, b); }});
            rows.push_back({"mad24." + name, "rrrr", [=](u64 a, u64 b, u64 c) { return product(a, b) + c; }});
        }
    for (bool wrap : {false, true})
        for (bool is_signed : {false, true})
            rows.push_back({std::string("szext.") + (wrap ? "wrap" : "clamp") + (is_signed ? ".s32" : ".u32"),
                            "rrs", [=](u64 a, u64 b, u64) -> u64 {
                                const u64 kept = wrap ? b & 31 : std::min<u64>(b, 32);
                                if (kept == 0)
                                    return 0;
                                const u64 low = a & ((1ull << kept) - 1);
                                return is_signed && low >> (kept - 1) ? low | ~0ull << kept : low;
                            }});
    rows.push_back(
        {"slct.b32.s32", "rrrr", [](u64 a, u64 b, u64 c) { return static_cast<s32>(c) >= 0 ? a : b; }});
    rows.push_back(
        {"slct.u64.s32", "dddr", [](u64 a, u64 b, u64 c) { return static_cast<s32>(c) >= 0 ? a : b; }});
    rows.push_back(
        {"slct.f32.f32", "FFFF", [](u64 a, u64 b, u64 c) { return value_of<float>(c) >= 0 ? a : b; }});
    rows.push_back({"slct.ftz.u32.f32", "rrrF", [](u64 a, u64 b, u64 c) {
                        const float x = value_of<float>(c);
                        return x >= 0 || (x < 0 && !std::isnormal(x) && std::isfinite(x)) ? a : b;
                    }});
    rows.push_back({"fns.b32", "rrsr", [](u64 mask, u64 base, u64 n) -> u64 {
                        std::vector<u64> places; // of set bits from the base on, in the order of the walk
                        const auto wanted = static_cast<s32>(n);
                        if (wanted == 0)
                            return base < 32 && (mask >> base & 1) ? base : 0xffffffff;
                        for (s64 at = static_cast<s64>(base); at >= 0 && at < 32; at += wanted > 0 ? 1 : -1)
                            if (mask >> at & 1)
                                places.push_back(static_cast<u64>(at));
                        const u64 nth = static_cast<u64>(std::abs(static_cast<s64>(wanted)));
                        return nth <= places.size() ? places[nth - 1] : 0xffffffff;
                    }});
    // Bytes 0-3 of a, 4-7 of b.
    auto bytes = [](u64 a, u64 b, std::initializer_list<unsigned> order) {
        const u64 both = b << 32 | a;
        u64 result = 0;
        unsigned at = 0;
        for (unsigned place : order)
            result |= (both >> (8 * (place & 7)) & 0xff) << (8 * at++);
        return result;
    };
    rows.push_back({"prmt.b32.f4e", "rrrr", [=](u64 a, u64 b, u64 c) {
                        const unsigned n = c & 3;
                        return bytes(a, b, {n, n + 1, n + 2, n + 3});
                    }});
    rows.push_back({"prmt.b32.b4e", "rrrr", [=](u64 a, u64 b, u64 c) {
                        const unsigned n = c & 3;
                        return bytes(a, b, {n, n + 7, n + 6, n + 5});
                    }});
    rows.push_back({"prmt.b32.rc8", "rrrr", [=](u64 a, u64 b, u64 c) {
                        const unsigned n = c & 3;
                        return bytes(a, b, {n, n, n, n});
                    }});
    rows.push_back({"prmt.b32.ecl", "rrrr", [=](u64 a, u64 b, u64 c) {
                        const unsigned n = c & 3;
                        return bytes(a, b, {std::max(n, 0u), std::max(n, 1u), std::max(n, 2u), 3});
                    }});
    rows.push_back({"prmt.b32.ecr", "rrrr", [=](u64 a, u64 b, u64 c) {
                        const unsigned n = c & 3;
                        return bytes(a, b, {0, std::min(n, 1u), std::min(n, 2u), n});
                    }});
    rows.push_back({"prmt.b32.rc16", "rrrr", [=](u64 a, u64 b, u64 c) {
                        const unsigned n = 2 * (c & 1);
                        return bytes(a, b, {n, n + 1, n, n + 1});
                    }});
}

s64 part(u64 word, unsigned at, unsigned bits, bool is_signed) {
    const s64 value = static_cast<s64>(word >> at & ((1u << bits) - 1));
    return is_signed && value >> (bits - 1) ? value - (1 << bits) : value;
}

void add_parts() {
    struct Kind {
        const char *name;
        s64 (*of)(s64, s64);
    };
    const Kind kinds[] = {{"vadd", [](s64 a, s64 b) { return a + b; }},
                          {"vsub", [](s64 a, s64 b) { return a - b; }},
                          {"vavrg",
                           [](s64 a, s64 b) {
                               return static_cast<s64>(
                                   std::floor((static_cast<double>(a + b) + (a + b >= 0 ? 1 : 0)) / 2));
                           }},
                          {"vabsdiff", [](s64 a, s64 b) { return std::abs(a - b); }},
                          {"vmin", [](s64 a, s64 b) { return std::min(a, b); }},
                          {"vmax", [](s64 a, s64 b) { return std::max(a, b); }}};
    for (unsigned bits : {8u, 16u}) {
        const std::string count = bits == 8 ? "4" : "2";
        for (const Kind &kind : kinds)
            for (bool is_signed : {false, true})
                for (std::string mode : {"", ".sat", ".add"}) {
                    const std::string type = is_signed ? ".s32" : ".u32";
                    rows.push_back({kind.name + count + type + type + type + mode, "rrrr",
                                    [=](u64 a, u64 b, u64 c) -> u64 {
                                        const s64 most = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1,
                                                  least = is_signed ? -most - 1 : 0;
                                        u64 packed = 0, sum = c;
                                        for (unsigned at = 0; at < 32; at += bits) {
                                            s64 value = kind.of(part(a, at, bits, is_signed),
                                                                part(b, at, bits, is_signed));
                                            if (mode == ".sat")
                                                value = std::clamp(value, least, most);
                                            packed |= (static_cast<u64>(value) & ((1u << bits) - 1)) << at;
                                            sum += static_cast<u64>(value);
                                        }
                                        return mode == ".add" ? sum : packed;
                                    }});
                }
        for (std::string relation : {"eq", "ne", "lt", "le", "gt", "ge"})
            for (std::string mode : {"", ".add"})
                rows.push_back(
                    {"vset" + count + ".s32.s32." + relation + mode, "rrrr", [=](u64 a, u64 b, u64 c) {
                         u64 packed = 0, sum = c;
                         for (unsigned at = 0; at < 32; at += bits) {
                             const s64 x = part(a, at, bits, true), y = part(b, at, bits, true);
                             const bool holds = relation == "eq"   ? x == y
                                                : relation == "ne" ? x != y
                                                : relation == "lt" ? x < y
                                                : relation == "le" ? x <= y
                                                : relation == "gt" ? x > y
                                                                   : x >= y;
                             packed |= u64{holds} << at;
                             sum += holds;
                         }
                         return mode == ".add" ? sum : packed;
                     }});
    }
}

void add_pairs_of_integers() {
    for (bool is_signed : {false, true})
        for (std::string op : {"add", "min", "max"})
            for (bool relu : {false, true}) {
                if (relu && (!is_signed || op == "add"))
                    continue;
                rows.push_back({op + (is_signed ? ".s16x2" : ".u16x2") + (relu ? ".relu" : ""), "rrr",
                                [=](u64 a, u64 b, u64) {
                                    u64 packed = 0;
                                    for (unsigned at : {0, 16}) {
                                        const s64 x = part(a, at, 16, is_signed),
                                                  y = part(b, at, 16, is_signed);
                                        const s64 r = op == "add"   ? x + y
                                                      : op == "min" ? std::min(x, y)
                                                                    : std::max(x, y);
                                        packed |= (static_cast<u64>(relu ? std::max<s64>(r, 0) : r) & 0xffff)
                                                  << at;
                                    }
                                    return packed;
                                }});
            }
    for (std::string op : {"min", "max"})
        rows.push_back({op + ".relu.s32", "rrr", [=](u64 a, u64 b, u64) {
                            const s64 x = static_cast<s32>(a), y = static_cast<s32>(b);
                            return static_cast<u64>(
                                std::max<s64>(op == "min" ? std::min(x, y) : std::max(x, y), 0));
                        }});
}

double lesser(double a, double b, bool most) { // of zeros, -0 is the lesser
    const bool a_less = a < b || (a == b && std::signbit(a));
    return a_less != most ? a : b;
}

template <class Small> u64 small_bits(double x) {
    return std::isnan(x) ? 0x7fff : Small::of(x);
}
u64 encoded(char kind, double x) {
    return kind == 'H'   ? small_bits<Half16>(x)
           : kind == 'B' ? small_bits<Bfloat16>(x)
                         : bits_of(static_cast<float>(x));
}

void add_extremes() {
    for (bool most : {false, true})
        for (std::string mode : {".NaN", ".NaN.xorsign.abs", ".xorsign.abs"}) {
            auto one = [=](char kind, u64 first, u64 second) -> u64 {
                const double a = number_of(kind, first), b = number_of(kind, second);
                const bool none = std::isnan(a) || std::isnan(b);
                if (mode.starts_with(".NaN") && none)
                    return encoded(kind, NAN);
                const bool by_size = mode.ends_with("abs");
                const double x = by_size ? std::abs(a) : a, y = by_size ? std::abs(b) : b;
                const double r = std::isnan(x) ? y : std::isnan(y) ? x : lesser(x, y, most);
                return encoded(kind, by_size && std::signbit(a) != std::signbit(b) ? -r : r);
            };
            const std::string name = std::string(most ? "max" : "min") + mode;
            rows.push_back({name + ".f32", "FFF", [=](u64 a, u64 b, u64) { return one('F', a, b); }});
            rows.push_back({name + ".f16", "HHH", [=](u64 a, u64 b, u64) { return one('H', a, b); }});
            rows.push_back({name + ".bf16", "BBB", [=](u64 a, u64 b, u64) { return one('B', a, b); }});
            rows.push_back({name + ".f16x2", "PPP", [=](u64 a, u64 b, u64) {
                                return one('H', a & 0xffff, b & 0xffff) | one('H', a >> 16, b >> 16) << 16;
                            }});
            rows.push_back({name + ".bf16x2", "QQQ", [=](u64 a, u64 b, u64) {
                                return one('B', a & 0xffff, b & 0xffff) | one('B', a >> 16, b >> 16) << 16;
                            }});
        }
}

bool compared(const std::string &op, double a, double b) {
    const bool none = std::isnan(a) || std::isnan(b);
    if (op == "num" || op == "nan")
        return none == (op == "nan");
    if (none)
        return op.ends_with("u");
    return op.starts_with("eq")   ? a == b
           : op.starts_with("ne") ? a != b
           : op.starts_with("lt") ? a < b
           : op.starts_with("le") ? a <= b
           : op.starts_with("gt") ? a > b
                                  : a >= b;
}

void add_comparisons_of_halves() {
    for (std::string op :
         {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"}) {
        for (auto [kind, type, pair, one] :
             {std::tuple{'H', "f16", 'P', 0x3c00ull}, {'B', "bf16", 'Q', 0x3f80ull}}) {
            auto truth = [=, kind = kind](u64 a, u64 b) {
                return compared(op, number_of(kind, a), number_of(kind, b));
            };
            auto both = [=](u64 mark) {
                return [=](u64 a, u64 b, u64) {
                    return (truth(a & 0xffff, b & 0xffff) ? mark : 0) |
                           (truth(a >> 16, b >> 16) ? mark << 16 : 0);
                };
            };
            const std::string t = type;
            rows.push_back({"set." + op + "." + t + "." + t,
                            {'h', kind, kind},
                            [=, one = one](u64 a, u64 b, u64) { return truth(a, b) ? one : 0; }});
            rows.push_back({"set." + op + ".u16." + t, {'h', kind, kind}, [=](u64 a, u64 b, u64) -> u64 {
                                return truth(a, b) ? 0xffff : 0;
                            }});
            rows.push_back({"set." + op + "." + t + "x2." + t + "x2", {'r', pair, pair}, both(one)});
            rows.push_back({"set." + op + ".u32." + t + "x2", {'r', pair, pair}, both(0xffff)});
        }
    }
}

/// Two predicates of one comparison: the lower half's, then the upper one's.
void pairs_are_compared_half_by_half() {
    for (std::string type : {"f16x2", "bf16x2"}) {
        auto words = words_of(
            "cvt.u16.u32 %h1, %r1; mov.b16 %h2, 16; mov.b32 %r3, {%h1, %h2}; mov.b32 %r4, {%h2, %h1};\n"
            "setp.lt." +
                type +
                " %p1|%p2, %r3, %r4; mov.u32 %r2, 0; @%p1 add.s32 %r2, %r2, 1; @%p2 "
                "add.s32 %r2, %r2, 2;",
            32);
        for (u32 i = 0; i < 32; ++i) // subnormal numbers compare as their bits do
            EXPECT(words[i] == (i < 16 ? 1u : 0u) + (i > 16 ? 2u : 0u));
    }
}

void add_functions_of_halves() {
    struct Function {
        const char *name;
        double (*of)(double);
    };
    for (auto [name, of] : {Function{"tanh.approx.", [](double x) { return std::tanh(x); }},
                            {"ex2.approx.ftz.", [](double x) { return std::exp2(x); }}}) {
        const bool flushes = std::string(name).find("ftz") != std::string::npos;
        auto half = [of = of, flushes](u64 a) {
            const u64 bits = small_bits<Bfloat16>(of(number_of('B', a)));
            return flushes && (bits & 0x7f80) == 0 ? bits & 0x8000 : bits;
        };
        rows.push_back(
            {std::string(name) + "bf16", "BB", [=](u64 a, u64, u64) { return half(a); }, 1.0 / 128});
        rows.push_back({std::string(name) + "bf16x2", "QQ",
                        [=](u64 a, u64, u64) { return half(a & 0xffff) | half(a >> 16) << 16; }, 1.0 / 128});
    }
    auto half = [](u64 a) { return small_bits<Half16>(std::tanh(number_of('H', a))); };
    rows.push_back({"tanh.approx.f16x2", "PP",
                    [=](u64 a, u64, u64) { return half(a & 0xffff) | half(a >> 16) << 16; }, 1.0 / 512});
}

} // namespace

int main() {
    sums_carry_from_word_to_word();
    carries_are_each_lanes_own();
    pairs_are_compared_half_by_half();
    add_integers();
    add_parts();
    add_pairs_of_integers();
    add_extremes();
    add_comparisons_of_halves();
    add_functions_of_halves();
    return check_all(rows);
}
