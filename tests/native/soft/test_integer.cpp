// Integer and bitwise instructions against plain C.
#include <bit>
#include <limits>

#include "rows.hpp"

using namespace soft_test;

namespace {

std::vector<Row> rows;

/// A row for each of the types, computed in 128 bits and cut to the type's width.
template <class T, class F> void add(const char *type, char kind, const std::string &name, F reference) {
    rows.push_back({name + "." + type, {kind, kind, kind}, [reference](u64 a, u64 b, u64) {
                        return static_cast<u64>(reference(static_cast<T>(a), static_cast<T>(b)));
                    }});
}
template <class F> void add_all(const std::string &name, F reference) {
    add<std::uint16_t>("u16", 'h', name, reference);
    add<std::int16_t>("s16", 'h', name, reference);
    add<std::uint32_t>("u32", 'r', name, reference);
    add<std::int32_t>("s32", 'r', name, reference);
    add<std::uint64_t>("u64", 'd', name, reference);
    add<std::int64_t>("s64", 'd', name, reference);
}

using Wide = __int128;

void add_arithmetic() {
    add_all("add", [](auto a, auto b) { return Wide(a) + b; });
    add_all("sub", [](auto a, auto b) { return Wide(a) - b; });
    add_all("mul.lo", [](auto a, auto b) { return static_cast<u64>(a) * static_cast<u64>(b); });
    add_all("mul.hi", [](auto a, auto b) {
        if constexpr (std::is_unsigned_v<decltype(a)>)
            return (static_cast<unsigned __int128>(a) * b) >> (8 * sizeof a);
        else
            return (Wide(a) * b) >> (8 * sizeof a);
    });
    add_all("min", [](auto a, auto b) { return a < b ? a : b; });
    add_all("max", [](auto a, auto b) { return a > b ? a : b; });
    add_all("div", [](auto a, auto b) { return b == 0 ? Wide(-1) : Wide(a) / b; });
    add_all("rem", [](auto a, auto b) { return b == 0 ? Wide(a) : Wide(a) % b; });
    rows.push_back({"add.sat.s32", "rrr", [](u64 a, u64 b, u64) {
                        Wide sum = Wide(static_cast<s32>(a)) + static_cast<s32>(b);
                        return static_cast<u64>(std::clamp<Wide>(sum, INT32_MIN, INT32_MAX));
                    }});
    rows.push_back({"mul.wide.s32", "drr", [](u64 a, u64 b, u64) {
                        return static_cast<u64>(s64(static_cast<s32>(a)) * static_cast<s32>(b));
                    }});
    rows.push_back({"mul.wide.u32", "drr", [](u64 a, u64 b, u64) { return a * b; }});
    rows.push_back({"mul.wide.s16", "rhh", [](u64 a, u64 b, u64) {
                        return static_cast<u64>(s32(static_cast<std::int16_t>(a)) *
                                                static_cast<std::int16_t>(b));
                    }});
    rows.push_back({"mad.lo.s32", "rrrr", [](u64 a, u64 b, u64 c) { return a * b + c; }});
    rows.push_back({"mad.lo.s64", "dddd", [](u64 a, u64 b, u64 c) { return a * b + c; }});
    rows.push_back({"mad.wide.u32", "drrd", [](u64 a, u64 b, u64 c) { return a * b + c; }});
    rows.push_back({"mad.hi.u32", "rrrr", [](u64 a, u64 b, u64 c) { return ((a * b) >> 32) + c; }});
    rows.push_back({"sad.s32", "rrrr", [](u64 a, u64 b, u64 c) {
                        s64 x = static_cast<s32>(a), y = static_cast<s32>(b);
                        return static_cast<u64>(x > y ? x - y : y - x) + c;
                    }});
    rows.push_back({"abs.s32", "rr", [](u64 a, u64, u64) {
                        s64 x = static_cast<s32>(a);
                        return static_cast<u64>(x < 0 ? -x : x);
                    }});
    rows.push_back({"neg.s32", "rr", [](u64 a, u64, u64) { return 0 - a; }});
    rows.push_back({"neg.s64", "dd", [](u64 a, u64, u64) { return 0 - a; }});
    rows.push_back({"neg.s16", "hh", [](u64 a, u64, u64) { return 0 - a; }});
}

void add_bits() {
    for (const char *type : {"b32", "b64", "b16"}) {
        char kind = type[1] == '3' ? 'r' : type[1] == '6' ? 'd' : 'h';
        std::string suffix = std::string(".") + type;
        rows.push_back({"and" + suffix, {kind, kind, kind}, [](u64 a, u64 b, u64) { return a & b; }});
        rows.push_back({"or" + suffix, {kind, kind, kind}, [](u64 a, u64 b, u64) { return a | b; }});
        rows.push_back({"xor" + suffix, {kind, kind, kind}, [](u64 a, u64 b, u64) { return a ^ b; }});
        rows.push_back({"not" + suffix, {kind, kind}, [](u64 a, u64, u64) { return ~a; }});
        rows.push_back({"cnot" + suffix, {kind, kind}, [](u64 a, u64, u64) { return u64(a == 0); }});
        const u64 width = 8 * bytes_of(kind);
        rows.push_back({"shl" + suffix, {kind, kind, 's'}, [width](u64 a, u64 n, u64) {
                            return n >= width ? 0 : a << n;
                        }});
        std::string unsigned_type = ".u" + std::to_string(width), signed_type = ".s" + std::to_string(width);
        rows.push_back({"shr" + unsigned_type, {kind, kind, 's'}, [width](u64 a, u64 n, u64) {
                            return n >= width ? 0 : a >> n;
                        }});
        rows.push_back({"shr" + signed_type, {kind, kind, 's'}, [width](u64 a, u64 n, u64) {
                            s64 wide = static_cast<s64>(a << (64 - width)) >> (64 - width);
                            return static_cast<u64>(wide >> std::min<u64>(n, width - 1));
                        }});
    }
    auto shf = [](bool left, bool clamp) {
        return [=](u64 a, u64 b, u64 c) {
            u64 n = clamp ? std::min<u64>(c, 32) : c & 31;
            unsigned __int128 both = (b << 32) | a;
            return static_cast<u64>(left ? (both << n) >> 32 : both >> n);
        };
    };
    rows.push_back({"shf.l.wrap.b32", "rrrs", shf(true, false)});
    rows.push_back({"shf.l.clamp.b32", "rrrs", shf(true, true)});
    rows.push_back({"shf.r.wrap.b32", "rrrs", shf(false, false)});
    rows.push_back({"shf.r.clamp.b32", "rrrs", shf(false, true)});
    rows.push_back({"popc.b32", "rr", [](u64 a, u64, u64) { return u64(__builtin_popcountll(a)); }});
    rows.push_back({"popc.b64", "rd", [](u64 a, u64, u64) { return u64(__builtin_popcountll(a)); }});
    rows.push_back({"clz.b32", "rr", [](u64 a, u64, u64) { return u64(a ? __builtin_clzll(a) - 32 : 32); }});
    rows.push_back({"clz.b64", "rd", [](u64 a, u64, u64) { return u64(a ? __builtin_clzll(a) : 64); }});
    rows.push_back({"brev.b32", "rr", [](u64 a, u64, u64) {
                        u64 r = 0;
                        for (int i = 0; i < 32; ++i)
                            r = r << 1 | ((a >> i) & 1);
                        return r;
                    }});
    rows.push_back(
        {"bfind.u32", "rr", [](u64 a, u64, u64) { return u64(a ? 63 - __builtin_clzll(a) : -1); }});
    rows.push_back({"bfind.s32", "rr", [](u64 a, u64, u64) {
                        u64 x = a & 0x80000000 ? ~a & 0xffffffff : a;
                        return u64(x ? 63 - __builtin_clzll(x) : -1);
                    }});
    rows.push_back(
        {"bfind.shiftamt.u32", "rr", [](u64 a, u64, u64) { return u64(a ? __builtin_clzll(a) - 32 : -1); }});
    rows.push_back({"prmt.b32", "rrrr", [](u64 a, u64 b, u64 c) {
                        u64 both = b << 32 | a, r = 0;
                        for (int i = 0; i < 4; ++i) {
                            u64 select = (c >> (4 * i)) & 15, byte = (both >> (8 * (select & 7))) & 0xff;
                            if (select & 8)
                                byte = byte & 0x80 ? 0xff : 0;
                            r |= byte << (8 * i);
                        }
                        return r;
                    }});
}

/// bfe as the ISA's pseudo code has it, bit by bit.
template <unsigned Width, bool Signed> u64 bfe(u64 a, u64 position, u64 length) {
    const u64 msb = Width - 1, pos = position & 0xff, len = length & 0xff;
    u64 sign = 0;
    if (Signed && len != 0)
        sign = (a >> std::min(pos + len - 1, msb)) & 1;
    u64 result = 0;
    for (u64 i = 0; i <= msb; ++i)
        result |= (i < len && pos + i <= msb ? (a >> (pos + i)) & 1 : sign) << i;
    return result;
}
template <unsigned Width> u64 bfi(u64 a, u64 b, u64 position, u64 length) {
    for (u64 i = 0; i < length && position + i < Width; ++i)
        b = (b & ~(1ull << (position + i))) | ((a >> i) & 1) << (position + i);
    return b;
}

u64 dot(u64 a, u64 b, u64 c, bool signed_a, bool signed_b) {
    for (int i = 0; i < 32; i += 8) {
        int x = (a >> i) & 0xff, y = (b >> i) & 0xff;
        c += static_cast<u64>(s64((signed_a && x > 127 ? x - 256 : x) * (signed_b && y > 127 ? y - 256 : y)));
    }
    return c;
}

/// dp2a: two 16-bit numbers of a by the lower or upper two bytes of b.
u64 dot2(u64 a, u64 b, u64 c, bool signed_a, bool signed_b, bool high) {
    for (int i = 0; i < 2; ++i) {
        s64 x = (a >> (16 * i)) & 0xffff, y = (b >> (8 * i + (high ? 16 : 0))) & 0xff;
        c += static_cast<u64>((signed_a && x > 32767 ? x - 65536 : x) * (signed_b && y > 127 ? y - 256 : y));
    }
    return c;
}

void add_fields() {
    for (bool signed_a : {false, true})
        for (bool signed_b : {false, true})
            for (bool high : {false, true})
                rows.push_back(
                    {std::string("dp2a.") + (high ? "hi" : "lo") + (signed_a ? ".s32" : ".u32") +
                         (signed_b ? ".s32" : ".u32"),
                     "rrrr", [=](u64 a, u64 b, u64 c) { return dot2(a, b, c, signed_a, signed_b, high); }});
    rows.push_back({"bfe.u32", "rrss", bfe<32, false>});
    rows.push_back({"bfe.s32", "rrss", bfe<32, true>});
    rows.push_back({"bfe.u64", "ddss", bfe<64, false>});
    rows.push_back({"bfe.s64", "ddss", bfe<64, true>});
    rows.push_back({"dp4a.s32.s32", "rrrr", [](u64 a, u64 b, u64 c) { return dot(a, b, c, true, true); }});
    rows.push_back({"dp4a.u32.s32", "rrrr", [](u64 a, u64 b, u64 c) { return dot(a, b, c, false, true); }});
    rows.push_back({"dp4a.s32.u32", "rrrr", [](u64 a, u64 b, u64 c) { return dot(a, b, c, true, false); }});
    rows.push_back({"dp4a.u32.u32", "rrrr", [](u64 a, u64 b, u64 c) { return dot(a, b, c, false, false); }});
}

/// bfi and lop3 have four sources: the last one stands in the instruction here.
bool check_four_sources() {
    bool good = true;
    for (auto [position, length] :
         {std::pair<u32, u32>{0, 32}, {4, 8}, {28, 8}, {31, 1}, {32, 4}, {3, 0}, {0, 255}}) {
        std::string fixed = ", " + std::to_string(position) + ", " + std::to_string(length) + ";\n";
        std::string body = "mul.lo.u32 %r3, %r1, 0x9e3779b1; not.b32 %r4, %r1; bfi.b32 %r2, %r3, %r4" + fixed;
        auto words = words_of(body, 32);
        for (u32 i = 0; i < 32; ++i)
            good &= words[i] == static_cast<u32>(bfi<32>(i * 0x9e3779b1u, ~i, position, length));
    }
    for (u32 table = 0; table < 256; ++table) {
        auto words =
            words_of("and.b32 %r3, %r1, 4; and.b32 %r4, %r1, 2; and.b32 %r5, %r1, 1;\n"
                     "setp.ne.u32 %p1, %r3, 0; setp.ne.u32 %p2, %r4, 0; setp.ne.u32 %p3, %r5, 0;\n"
                     "selp.b32 %r3, -1, 0, %p1; selp.b32 %r4, -1, 0, %p2; selp.b32 %r5, -1, 0, %p3;\n"
                     "lop3.b32 %r2, %r3, %r4, %r5, " +
                         std::to_string(table) + ";\n",
                     8);
        for (u32 i = 0; i < 8; ++i)
            good &= words[i] == ((table >> i) & 1 ? 0xffffffffu : 0u);
    }
    return good;
}

void add_comparisons() {
    auto compare = [](const std::string &op, auto a, auto b) {
        return op == "eq"   ? a == b
               : op == "ne" ? a != b
               : op == "lt" ? a < b
               : op == "le" ? a <= b
               : op == "gt" ? a > b
                            : a >= b;
    };
    for (std::string op : {"eq", "ne", "lt", "le", "gt", "ge"}) {
        rows.push_back({"setp." + op + ".s32", "prr", [=](u64 a, u64 b, u64) {
                            return u64(compare(op, static_cast<s32>(a), static_cast<s32>(b)));
                        }});
        rows.push_back(
            {"setp." + op + ".u32", "prr", [=](u64 a, u64 b, u64) { return u64(compare(op, a, b)); }});
        rows.push_back({"setp." + op + ".s64", "pdd", [=](u64 a, u64 b, u64) {
                            return u64(compare(op, static_cast<s64>(a), static_cast<s64>(b)));
                        }});
        rows.push_back(
            {"setp." + op + ".u64", "pdd", [=](u64 a, u64 b, u64) { return u64(compare(op, a, b)); }});
        rows.push_back({"setp." + op + ".s16", "phh", [=](u64 a, u64 b, u64) {
                            return u64(
                                compare(op, static_cast<std::int16_t>(a), static_cast<std::int16_t>(b)));
                        }});
        rows.push_back({"set." + op + ".u32.s32", "rrr", [=](u64 a, u64 b, u64) {
                            return compare(op, static_cast<s32>(a), static_cast<s32>(b)) ? ~0ull : 0;
                        }});
    }
}

} // namespace

int main() {
    add_arithmetic();
    add_bits();
    add_fields();
    add_comparisons();
    EXPECT(check_four_sources());
    return check_all(rows);
}
