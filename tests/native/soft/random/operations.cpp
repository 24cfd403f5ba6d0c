// What single instructions compute, in plain C, as the PTX ISA has it.
#include "language.hpp"

#include <algorithm>
#include <bit>
#include <cctype>
#include <cmath>
#include <cstring>
#include <map>

namespace random_program {

namespace {

template <class T> T as(u64 bits) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
template <class T> u64 bits_of(T value) {
    u64 bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
}

__extension__ typedef __int128 s128;
__extension__ typedef unsigned __int128 u128;

// 16-bit floats as whole numbers of 2^-24, sums and products of them as whole numbers of 2^-48.

s128 units_of(u64 half) {
    const int exponent = static_cast<int>((half >> 10) & 31);
    const s128 size = exponent == 0 ? static_cast<s128>(half & 1023)
                                    : static_cast<s128>((half & 1023) | 1024) << (exponent - 1);
    return half & 0x8000 ? -size : size;
}

u64 half_of(s128 units, bool negative_zero) {
    if (units == 0)
        return negative_zero ? 0x8000 : 0;
    const u64 sign = units < 0 ? 0x8000 : 0;
    const u128 size = static_cast<u128>(units < 0 ? -units : units);
    int places = 24; // below a subnormal number's last place
    while (size >> places >= 2048)
        ++places;
    u128 kept = size >> places;
    const u128 rest = size - (kept << places), middle = static_cast<u128>(1) << (places - 1);
    kept += rest > middle || (rest == middle && (kept & 1)) ? 1 : 0;
    const int exponent = places - 24; // of 2^-24
    u64 bits = kept >= 1024 ? (static_cast<u64>(exponent) << 10) + static_cast<u64>(kept)
                            : static_cast<u64>(kept); // a carry goes into the exponent
    return sign | std::min<u64>(bits, 0x7c00);
}

bool is_negative(u64 half) {
    return (half & 0x8000) != 0;
}
u64 half_fma(u64 a, u64 b, u64 c) {
    const bool product = is_negative(a) != is_negative(b);
    return half_of(units_of(a) * units_of(b) + (units_of(c) << 24), product && is_negative(c));
}
u64 half_add(u64 a, u64 b) {
    return half_of((units_of(a) + units_of(b)) << 24, is_negative(a) && is_negative(b));
}
u64 half_mul(u64 a, u64 b) {
    return half_of(units_of(a) * units_of(b), is_negative(a) != is_negative(b));
}
u64 half_extreme(u64 a, u64 b, bool greatest) {
    const s128 x = units_of(a), y = units_of(b);
    if (x == y)
        return greatest ? a & b : a | b; // -0 is less than 0
    return (x < y) == greatest ? b : a;
}
template <class F> u64 each_half(u64 a, u64 b, u64 c, F f) {
    return f(a & 0xffff, b & 0xffff, c & 0xffff) | f(a >> 16 & 0xffff, b >> 16 & 0xffff, c >> 16 & 0xffff)
                                                       << 16;
}
u64 half_of_float(float x) { // finite
    if (std::fabs(x) >= 131072.0f)
        return (std::signbit(x) ? 0x8000u : 0u) | 0x7c00u;
    const double scaled = std::ldexp(static_cast<double>(x), 48);
    const auto whole = static_cast<s128>(scaled);
    // Less than 2^-48 of a number below 2^-25, which becomes 0, is all that is lost.
    return half_of(whole, std::signbit(x));
}

float flushed(float x) {
    return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}
template <class T> T extreme(T a, T b, bool greatest) {
    if (std::isnan(a) || std::isnan(b))
        return std::isnan(a) ? b : a;
    if (a == b)
        return std::signbit(a) == greatest ? b : a;
    return (a < b) == greatest ? b : a;
}
template <class T> u64 whole_of(float x) { // toward zero, to the nearest that there is
    if (std::isnan(x))
        return 0;
    const double least = std::is_signed_v<T> ? -2147483648.0 : 0.0,
                 most = std::is_signed_v<T> ? 2147483647.0 : 4294967295.0;
    return static_cast<u32>(static_cast<s64>(std::clamp(std::trunc(static_cast<double>(x)), least, most)));
}

u64 field(u64 a, u64 at, u64 length, unsigned bits, bool is_signed) {
    at &= 255, length &= 255;
    u64 result = 0;
    const u64 top = length == 0 ? 0 : std::min<u64>(at + length - 1, bits - 1);
    const u64 sign = is_signed && length != 0 ? (a >> top) & 1 : 0;
    for (u64 i = 0; i < bits; ++i)
        result |= (i < length && at + i < bits ? (a >> (at + i)) & 1 : sign) << i;
    return result;
}
u64 with_field(u64 a, u64 into, u64 at, u64 length, unsigned bits) {
    at &= 255, length &= 255;
    u64 result = into;
    for (u64 i = 0; i < length && at + i < bits; ++i)
        result = (result & ~(1ull << (at + i))) | ((a >> i) & 1) << (at + i);
    return result;
}
u64 reversed(u64 a, unsigned bits) {
    u64 result = 0;
    for (unsigned i = 0; i < bits; ++i)
        result |= ((a >> i) & 1) << (bits - 1 - i);
    return result;
}
u64 permuted(u64 a, u64 b, u64 selector) {
    u64 result = 0;
    for (unsigned i = 0; i < 4; ++i) {
        const u64 nibble = selector >> (4 * i) & 15, all = (b << 32) | (a & 0xffffffff);
        u64 byte = all >> (8 * (nibble & 7)) & 255;
        if (nibble & 8)
            byte = byte & 128 ? 255 : 0;
        result |= byte << (8 * i);
    }
    return result;
}
u64 dot(u64 a, u64 b, u64 c, unsigned parts, bool a_signed, bool b_signed, unsigned from) {
    auto part = [](u64 word, unsigned at, unsigned bits, bool is_signed) {
        const s64 x = static_cast<s64>(word >> at & ((1u << bits) - 1));
        return is_signed && x >> (bits - 1) ? x - (1 << bits) : x;
    };
    s64 sum = 0;
    for (unsigned i = 0; i < parts; ++i)
        sum += part(a, i * 32 / parts, 32 / parts, a_signed) * part(b, from + 8 * i, 8, b_signed);
    return c + static_cast<u64>(sum);
}

std::vector<Operation> rows;

void add(const std::string &name, const std::string &kinds, std::function<u64(const u64 *)> value) {
    std::string text = name;
    for (std::size_t i = 0; i < kinds.size(); ++i)
        text += (i == 0 ? " $" : ", $") + std::to_string(i);
    rows.push_back({text + ";", kinds, 1, [=](const u64 *in, u64 *out) { out[0] = value(in); }});
}
template <class S, class U> void add_integers(const std::string &bits, char k) {
    const std::string two = {k, k}, three = {k, k, k}, four = {k, k, k, k}, shifted = {k, k, 'r'};
    constexpr unsigned width = 8 * sizeof(U);
    add("add.s" + bits, three, [](const u64 *x) { return x[0] + x[1]; });
    add("sub.s" + bits, three, [](const u64 *x) { return x[0] - x[1]; });
    add("mul.lo.s" + bits, three, [](const u64 *x) { return x[0] * x[1]; });
    add("mad.lo.s" + bits, four, [](const u64 *x) { return x[0] * x[1] + x[2]; });
    add("mul.hi.u" + bits, three,
        [](const u64 *x) { return static_cast<u64>((static_cast<u128>(x[0]) * x[1]) >> width); });
    add("mul.hi.s" + bits, three, [](const u64 *x) {
        return static_cast<u64>((static_cast<s128>(static_cast<S>(x[0])) * static_cast<S>(x[1])) >> width);
    });
    add("and.b" + bits, three, [](const u64 *x) { return x[0] & x[1]; });
    add("or.b" + bits, three, [](const u64 *x) { return x[0] | x[1]; });
    add("xor.b" + bits, three, [](const u64 *x) { return x[0] ^ x[1]; });
    add("not.b" + bits, two, [](const u64 *x) { return ~x[0]; });
    add("cnot.b" + bits, two, [](const u64 *x) -> u64 { return x[0] == 0; });
    add("neg.s" + bits, two, [](const u64 *x) { return 0 - x[0]; });
    add("abs.s" + bits, two, [](const u64 *x) { return static_cast<S>(x[0]) < 0 ? 0 - x[0] : x[0]; });
    add("min.s" + bits, three,
        [](const u64 *x) { return static_cast<S>(x[0]) < static_cast<S>(x[1]) ? x[0] : x[1]; });
    add("max.s" + bits, three,
        [](const u64 *x) { return static_cast<S>(x[0]) < static_cast<S>(x[1]) ? x[1] : x[0]; });
    add("min.u" + bits, three, [](const u64 *x) { return std::min(x[0], x[1]); });
    add("max.u" + bits, three, [](const u64 *x) { return std::max(x[0], x[1]); });
    add("shl.b" + bits, shifted, [](const u64 *x) { return x[1] >= width ? 0 : x[0] << x[1]; });
    add("shr.u" + bits, shifted, [](const u64 *x) { return x[1] >= width ? 0 : x[0] >> x[1]; });
    add("shr.s" + bits, shifted, [](const u64 *x) {
        return static_cast<u64>(static_cast<s64>(static_cast<S>(x[0])) >> std::min<u64>(x[1], 63));
    });
    add("selp.b" + bits, {k, k, k, 'p'}, [](const u64 *x) { return x[2] ? x[0] : x[1]; });
    add("mov.b" + bits, two, [](const u64 *x) { return x[0]; });
    add("div.u" + bits, {k, k, 'n'}, [](const u64 *x) { return x[0] / x[1]; });
    add("rem.u" + bits, {k, k, 'n'}, [](const u64 *x) { return x[0] % x[1]; });
    if (width > 16) {
        add("div.s" + bits, {k, k, 'n'}, [](const u64 *x) {
            return static_cast<u64>(static_cast<s64>(static_cast<S>(x[0])) / static_cast<S>(x[1]));
        });
        add("rem.s" + bits, {k, k, 'n'}, [](const u64 *x) {
            return static_cast<u64>(static_cast<s64>(static_cast<S>(x[0])) % static_cast<S>(x[1]));
        });
    }
    for (auto [name, holds] : std::initializer_list<std::pair<const char *, std::function<bool(S, S)>>>{
             {"eq", std::equal_to<S>()},
             {"ne", std::not_equal_to<S>()},
             {"lt", std::less<S>()},
             {"le", std::less_equal<S>()},
             {"gt", std::greater<S>()},
             {"ge", std::greater_equal<S>()}})
        add(std::string("setp.") + name + ".s" + bits, {'p', k, k}, [holds = holds](const u64 *x) -> u64 {
            return holds(static_cast<S>(x[0]), static_cast<S>(x[1]));
        });
    add("setp.lt.u" + bits, {'p', k, k}, [](const u64 *x) -> u64 { return x[0] < x[1]; });
    add("setp.hs.u" + bits, {'p', k, k}, [](const u64 *x) -> u64 { return x[0] >= x[1]; });
    add("setp.le.and.u" + bits, {'p', k, k, 'p'}, [](const u64 *x) -> u64 { return x[0] <= x[1] && x[2]; });
    rows.push_back({"setp.gt.xor.s" + bits + " $0|$1, $2, $3, !$4;",
                    {'p', 'p', k, k, 'p'},
                    2,
                    [](const u64 *x, u64 *out) {
                        const bool holds = static_cast<S>(x[0]) > static_cast<S>(x[1]);
                        out[0] = holds != !x[2];
                        out[1] = !holds != !x[2];
                    }});
}

void add_words() {
    auto low = [](u64 x) { return x & 31; };
    add("mad.hi.u32", "rrrr", [](const u64 *x) { return (x[0] * x[1] >> 32) + x[2]; });
    add("sad.s32", "rrrr", [](const u64 *x) {
        return static_cast<u64>(std::abs(s64(static_cast<s32>(x[0])) - static_cast<s32>(x[1]))) + x[2];
    });
    add("add.sat.s32", "rrr", [](const u64 *x) {
        return static_cast<u64>(
            std::clamp<s64>(s64(static_cast<s32>(x[0])) + static_cast<s32>(x[1]), INT32_MIN, INT32_MAX));
    });
    add("mul24.lo.u32", "rrr", [](const u64 *x) { return (x[0] & 0xffffff) * (x[1] & 0xffffff); });
    add("mad24.lo.s32", "rrrr", [](const u64 *x) {
        auto part = [](u64 a) { return static_cast<u64>(static_cast<s64>(a << 40) >> 40); };
        return part(x[0]) * part(x[1]) + x[2];
    });
    for (unsigned bits : {32u, 64u}) {
        const std::string b = std::to_string(bits);
        const char k = bits == 32 ? 'r' : 'd';
        add("popc.b" + b, {'r', k}, [](const u64 *x) { return static_cast<u64>(std::popcount(x[0])); });
        add("clz.b" + b, {'r', k},
            [=](const u64 *x) { return static_cast<u64>(std::countl_zero(x[0])) - (64 - bits); });
        add("bfind.u" + b, {'r', k}, [](const u64 *x) {
            return x[0] == 0 ? 0xffffffffull : 63ull - static_cast<u64>(std::countl_zero(x[0]));
        });
        add("brev.b" + b, {k, k}, [=](const u64 *x) { return reversed(x[0], bits); });
        for (bool is_signed : {false, true})
            add(std::string("bfe.") + (is_signed ? "s" : "u") + b, {k, k, 'r', 'r'},
                [=](const u64 *x) { return field(x[0], x[1], x[2], bits, is_signed); });
        add("bfi.b" + b, {k, k, k, 'r', 'r'},
            [=](const u64 *x) { return with_field(x[0], x[1], x[2], x[3], bits); });
    }
    for (unsigned table : {0xf8u, 0x96u, 0xe8u, 0x78u, 0x1bu})
        rows.push_back({"lop3.b32 $0, $1, $2, $3, " + std::to_string(table) + ";", "rrrr", 1,
                        [=](const u64 *x, u64 *out) {
                            out[0] = 0;
                            for (unsigned i = 0; i < 32; ++i)
                                out[0] |= u64(table >> (((x[0] >> i) & 1) << 2 | ((x[1] >> i) & 1) << 1 |
                                                        ((x[2] >> i) & 1)) &
                                              1)
                                          << i;
                        }});
    add("prmt.b32", "rrrr", [](const u64 *x) { return permuted(x[0], x[1], x[2]); });
    for (unsigned selector : {0x5140u, 0x7531u, 0x3210u, 0x0ba9u, 0x4444u, 0x6543u, 0x5410u, 0x7632u})
        rows.push_back({"prmt.b32 $0, $1, $2, " + std::to_string(selector) + ";", "rrr", 1,
                        [=](const u64 *x, u64 *out) { out[0] = permuted(x[0], x[1], selector); }});
    auto funnel = [](u64 a, u64 b) { return b << 32 | a; };
    add("shf.l.wrap.b32", "rrrr", [=](const u64 *x) { return (funnel(x[0], x[1]) << low(x[2])) >> 32; });
    add("shf.r.wrap.b32", "rrrr", [=](const u64 *x) { return funnel(x[0], x[1]) >> low(x[2]); });
    add("shf.l.clamp.b32", "rrrr",
        [=](const u64 *x) { return x[2] >= 32 ? x[0] : (funnel(x[0], x[1]) << x[2]) >> 32; });
    add("shf.r.clamp.b32", "rrrr",
        [=](const u64 *x) { return funnel(x[0], x[1]) >> std::min<u64>(x[2], 32); });
    for (bool a : {false, true})
        for (bool b : {false, true}) {
            const std::string types = std::string(a ? ".s32" : ".u32") + (b ? ".s32" : ".u32");
            add("dp4a" + types, "rrrr", [=](const u64 *x) { return dot(x[0], x[1], x[2], 4, a, b, 0); });
            add("dp2a.lo" + types, "rrrr", [=](const u64 *x) { return dot(x[0], x[1], x[2], 2, a, b, 0); });
            add("dp2a.hi" + types, "rrrr", [=](const u64 *x) { return dot(x[0], x[1], x[2], 2, a, b, 16); });
        }
    add("set.lt.u32.s32", "rrr",
        [](const u64 *x) -> u64 { return static_cast<s32>(x[0]) < static_cast<s32>(x[1]) ? 0xffffffff : 0; });
    add("slct.b32.s32", "rrrr", [](const u64 *x) { return static_cast<s32>(x[2]) >= 0 ? x[0] : x[1]; });
    rows.push_back({"add.cc.u32 %r40, $2, $3; $Gaddc.u32 $1, $4, $5; $Gmov.b32 $0, %r40;", "rrrrrr", 2,
                    [](const u64 *x, u64 *out) {
                        out[0] = x[0] + x[1];
                        out[1] = x[2] + x[3] + (out[0] >> 32);
                    }});
}

void add_widths() {
    add("mul.wide.u32", "drr", [](const u64 *x) { return x[0] * x[1]; });
    add("mad.wide.u32", "drrd", [](const u64 *x) { return x[0] * x[1] + x[2]; });
    auto s = [](u64 x) { return static_cast<u64>(static_cast<s64>(static_cast<s32>(x))); };
    add("mul.wide.s32", "drr", [=](const u64 *x) { return s(x[0]) * s(x[1]); });
    add("mad.wide.s32", "drrd", [=](const u64 *x) { return s(x[0]) * s(x[1]) + x[2]; });
    add("mul.wide.u16", "rhh", [](const u64 *x) { return x[0] * x[1]; });
    add("mul.wide.s16", "rhh", [](const u64 *x) {
        return static_cast<u64>(static_cast<s64>(static_cast<s16>(x[0])) * static_cast<s16>(x[1]));
    });
    add("cvt.u64.u32", "dR", [](const u64 *x) { return x[0]; });
    add("cvt.s64.s32", "dR", [=](const u64 *x) { return s(x[0]); });
    add("cvt.u32.u64", "rD", [](const u64 *x) { return x[0]; });
    add("cvt.u16.u32", "hR", [](const u64 *x) { return x[0]; });
    add("cvt.u32.u16", "rH", [](const u64 *x) { return x[0]; });
    add("cvt.s32.s16", "rH",
        [](const u64 *x) { return static_cast<u64>(static_cast<s64>(static_cast<s16>(x[0]))); });
    add("cvt.s64.s16", "dH",
        [](const u64 *x) { return static_cast<u64>(static_cast<s64>(static_cast<s16>(x[0]))); });
    add("cvt.s32.s8", "rR",
        [](const u64 *x) { return static_cast<u64>(static_cast<s64>(static_cast<std::int8_t>(x[0]))); });
    add("cvt.u32.u8", "rR", [](const u64 *x) { return x[0] & 255; });
    add("cvt.sat.s8.s32", "rR",
        [](const u64 *x) { return static_cast<u64>(std::clamp<s64>(static_cast<s32>(x[0]), -128, 127)); });
    add("cvt.sat.u8.s32", "rR",
        [](const u64 *x) { return static_cast<u64>(std::clamp<s64>(static_cast<s32>(x[0]), 0, 255)); });
    add("cvt.sat.s16.s32", "hR", [](const u64 *x) {
        return static_cast<u64>(std::clamp<s64>(static_cast<s32>(x[0]), -32768, 32767));
    });
    auto two = [](const std::string &text, const std::string &kinds, unsigned bits) {
        rows.push_back(
            {"mov.b" + std::to_string(2 * bits) + (text == "pack" ? " $0, {$1, $2};" : " {$0, $1}, $2;"),
             kinds, text == "pack" ? 1 : 2, [=](const u64 *x, u64 *out) {
                 if (text == "pack")
                     out[0] = x[0] | x[1] << bits;
                 else
                     out[0] = x[0], out[1] = x[0] >> bits;
             }});
    };
    two("pack", "rHH", 16);
    two("unpack", "hhR", 16);
    two("pack", "dRR", 32);
    two("unpack", "rrD", 32);
    add("and.pred", "ppp", [](const u64 *x) { return x[0] & x[1]; });
    add("or.pred", "ppp", [](const u64 *x) { return x[0] | x[1]; });
    add("xor.pred", "ppp", [](const u64 *x) { return x[0] ^ x[1]; });
    add("not.pred", "pp", [](const u64 *x) { return x[0] ^ 1; });
}

template <class T> void add_reals(const std::string &type, char k, char result) {
    auto put = [=](const std::string &name, unsigned count, std::function<T(T, T, T)> f) {
        add(name + type, std::string(1, result) + std::string(count, k), [=](const u64 *x) {
            return bits_of(f(as<T>(x[0]), count > 1 ? as<T>(x[1]) : T(), count > 2 ? as<T>(x[2]) : T()));
        });
    };
    put("add.rn", 2, [](T a, T b, T) { return a + b; });
    put("sub.rn", 2, [](T a, T b, T) { return a - b; });
    put("mul.rn", 2, [](T a, T b, T) { return a * b; });
    put("fma.rn", 3, [](T a, T b, T c) { return std::fma(a, b, c); });
    put("min", 2, [](T a, T b, T) { return extreme(a, b, false); });
    put("max", 2, [](T a, T b, T) { return extreme(a, b, true); });
    put("neg", 1, [](T a, T, T) { return -a; });
    put("abs", 1, [](T a, T, T) { return std::fabs(a); });
    for (auto [name, holds] : std::initializer_list<std::pair<const char *, std::function<bool(T, T)>>>{
             {"eq", std::equal_to<T>()},
             {"neu", std::not_equal_to<T>()},
             {"lt", std::less<T>()},
             {"geu", [](T a, T b) { return !(a < b); }},
             {"num", [](T a, T b) { return !std::isunordered(a, b); }}})
        add(std::string("setp.") + name + type,
            {'p', static_cast<char>(std::toupper(result)), static_cast<char>(std::toupper(result))},
            [holds = holds](const u64 *x) -> u64 { return holds(as<T>(x[0]), as<T>(x[1])); });
}

void add_floats() {
    add_reals<float>(".f32", 'f', 'r');
    add_reals<double>(".f64", 'g', 'd');
    add("add.ftz.f32", "rff",
        [](const u64 *x) { return bits_of(flushed(flushed(as<float>(x[0])) + flushed(as<float>(x[1])))); });
    add("cvt.rn.f32.s32", "rR",
        [](const u64 *x) { return bits_of(static_cast<float>(static_cast<s32>(x[0]))); });
    add("cvt.rn.f32.u32", "rR",
        [](const u64 *x) { return bits_of(static_cast<float>(static_cast<u32>(x[0]))); });
    add("cvt.rzi.s32.f32", "rR", [](const u64 *x) { return whole_of<s32>(as<float>(x[0])); });
    add("cvt.rzi.u32.f32", "rR", [](const u64 *x) { return whole_of<u32>(as<float>(x[0])); });
    add("cvt.f64.f32", "df", [](const u64 *x) { return bits_of(static_cast<double>(as<float>(x[0]))); });
    add("cvt.rn.f32.f64", "rg", [](const u64 *x) { return bits_of(static_cast<float>(as<double>(x[0]))); });
    add("cvt.rn.f16.f32", "hf", [](const u64 *x) { return half_of_float(as<float>(x[0])); });
    add("cvt.f32.f16", "ry", [](const u64 *x) {
        const auto size = static_cast<float>(std::ldexp(static_cast<double>(units_of(x[0])), -24));
        return bits_of(is_negative(x[0]) ? -std::fabs(size) : size);
    });
    for (bool pair : {true, false}) {
        const std::string type = pair ? ".f16x2" : ".f16";
        const char k = pair ? 'x' : 'y', result = pair ? 'r' : 'h';
        auto put = [=](const std::string &name, unsigned count, std::function<u64(u64, u64, u64)> f) {
            add(name + type, std::string(1, result) + std::string(count, k), [=](const u64 *x) {
                const u64 b = count > 1 ? x[1] : 0, c = count > 2 ? x[2] : 0;
                return pair ? each_half(x[0], b, c, f) : f(x[0], b, c);
            });
        };
        put("add.rn", 2, [](u64 a, u64 b, u64) { return half_add(a, b); });
        put("sub.rn", 2, [](u64 a, u64 b, u64) { return half_add(a, b ^ 0x8000); });
        put("mul.rn", 2, [](u64 a, u64 b, u64) { return half_mul(a, b); });
        put("fma.rn", 3, half_fma);
        put("min", 2, [](u64 a, u64 b, u64) { return half_extreme(a, b, false); });
        put("max", 2, [](u64 a, u64 b, u64) { return half_extreme(a, b, true); });
    }
}

} // namespace

const std::vector<Operation> &operations() {
    if (rows.empty()) {
        add_integers<s16, u16>("16", 'h');
        add_integers<s32, u32>("32", 'r');
        add_integers<s64, u64>("64", 'd');
        add_words();
        add_widths();
        add_floats();
    }
    return rows;
}

const std::vector<const Operation *> &operations_of(char result) {
    static std::map<char, std::vector<const Operation *>> by_result;
    if (by_result.empty())
        for (const Operation &row : operations())
            by_result[row.kinds[0]].push_back(&row);
    return by_result[result];
}

} // namespace random_program
