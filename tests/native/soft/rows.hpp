// Tables of instructions: a row names one, the kinds of its operands, and plain C that computes the same.
#pragma once

#include <cmath>
#include <functional>

#include "machine.hpp"

namespace soft_test {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

/// Kinds of operands, and so their widths and the values tried: h, r, d integers of 16, 32, 64 bits; e pairs
/// of 8-bit floats; S f32 and T f16x2 about what those can hold; H, B f16 and bf16; F, D f32 and f64; s a
/// shift or bit position; p a predicate (results only).
struct Row {
    std::string instruction;
    std::string kinds; // the result's, then the sources'
    std::function<u64(u64, u64, u64)> reference;
    double tolerance = 0; // relative error of a float result; 0: its very bits, any NaN being like another
};

template <class T> u64 bits_of(T value) {
    u64 bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    return bits;
}
template <class T> T value_of(u64 bits) {
    T value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline const std::vector<u64> &edges(char kind) {
    static const std::vector<u64> h = {0, 1, 2, 7, 0x7fff, 0x8000, 0x8001, 0xffff, 0x00ff, 0xff80, 0x1234};
    static const std::vector<u64> r = {0,          1,          2,          5,          31,         32,
                                       0x7fffffff, 0x80000000, 0x80000001, 0xffffffff, 0xfffffffe, 0x7f80ff01,
                                       0x12345678, 0xdeadbeef, 0x00010000, 0x0000ffff};
    static const std::vector<u64> d = {0,
                                       1,
                                       3,
                                       0x7fffffffffffffff,
                                       0x8000000000000000,
                                       0x8000000000000001,
                                       0xffffffffffffffff,
                                       0x00000000ffffffff,
                                       0x0000000100000000,
                                       0x123456789abcdef0,
                                       0xfffffffffffffffe,
                                       0x0020000000000001,
                                       0x4040000000000001}; // all but half way between two bf16
    static const std::vector<u64> s = {0, 1, 5, 8, 15, 16, 31, 32, 33, 63, 64, 65, 255, 256, 0x80000000};
    static const std::vector<u64> half = {0,      0x8000, 1,      0x83ff, 0x0400, 0x3c00,
                                          0xbc00, 0x3800, 0x3e00, 0x4100, 0x7bff, 0xfbff,
                                          0x7c00, 0xfc00, 0x7e00, 0x3555, 0x5640, 0xd3a1};
    static const std::vector<u64> bfloat = {
        0,      0x8000, 1,      0x0080, 0x3f80, 0xbf80, 0x3f00, 0x4020, 0x7f7f, 0xff7f, 0x7f80,
        0xff80, 0x7fc0, 0x3eab, 0x4f00, 0xc2f1, 0x3f81, 0x3fc0, 0x8001, 0xc2fe}; // (1 + 2^-7) 1.5 is half way
                                                                                 // between two
    static const std::vector<u64> single = [] {
        std::vector<u64> all;
        for (float x :
             {0.0f,        -0.0f,         1.0f,           -1.0f,         0.5f,           1.5f,
              -2.5f,       3.1415927f,    -0.7f,          65504.0f,      65520.0f,       127.5f,
              -128.5f,     255.5f,        2147483648.0f,  4294967296.0f, -2147483904.0f, 9.3e18f,
              1.8e19f,     3.4028235e38f, -3.4028235e38f, 1e-20f,        5.9604645e-8f,  2.9802322e-8f,
              16777217.0f, 2049.0f})
            all.push_back(bits_of(x));
        for (u32 bits :
             {1u, 0x807fffffu, 0x00800000u, 0x7f800000u, 0xff800000u, 0x7fc00000u, 0x3f800001u, 0x477ff000u})
            all.push_back(bits);
        return all;
    }();
    static const std::vector<u64> real = [] {
        std::vector<u64> all;
        for (double x : {0.0,
                         -0.0,
                         1.0,
                         -1.0,
                         0.5,
                         2.5,
                         -1.5,
                         3.141592653589793,
                         1e300,
                         -1e300,
                         1e-310,
                         1e39,
                         1e-42,
                         2147483647.5,
                         4294967296.0,
                         9.3e18,
                         -9.3e18,
                         1.0000000596046448,
                         65519.99999999999,
                         1e-8})
            all.push_back(bits_of(x));
        for (u64 bits : {0x7ff0000000000000ull, 0xfff0000000000000ull, 0x7ff8000000000000ull, 1ull})
            all.push_back(bits);
        return all;
    }();
    // Pairs of 16-bit floats: each value below, another one above.
    auto paired = [](const std::vector<u64> &ones) {
        std::vector<u64> all;
        for (std::size_t i = 0; i < ones.size(); ++i)
            all.push_back(ones[i] | ones[(7 * i + 3) % ones.size()] << 16);
        return all;
    };
    static const std::vector<u64> halves = paired(half), bfloats = paired(bfloat);
    // All patterns of 8 bits below, each with another above.
    static const std::vector<u64> small_pairs = [] {
        std::vector<u64> all;
        for (u64 i = 0; i < 256; ++i)
            all.push_back(i | (7 * i + 3) % 256 << 8);
        return all;
    }();
    static const std::vector<u64> small = [] {
        std::vector<u64> all;
        for (float x : {0.0f,
                        0.0009765625f,
                        0.00097656256f,
                        0.0029296875f,
                        0.0146484375f,
                        0.015625f,
                        0.0166015625f,
                        1.0f,
                        1.0625f,
                        1.125f,
                        1.1875f,
                        15.5f,
                        17.0f,
                        19.0f,
                        240.0f,
                        447.0f,
                        448.0f,
                        463.0f,
                        464.0f,
                        465.0f,
                        480.0f,
                        57344.0f,
                        61439.0f,
                        61440.0f,
                        65504.0f,
                        7.62939453125e-06f,
                        1.52587890625e-05f,
                        2.2888184e-05f,
                        5.3405762e-05f,
                        INFINITY,
                        1e30f})
            for (float signed_x : {x, -x})
                all.push_back(bits_of(signed_x));
        all.push_back(0x7fc00000);
        all.push_back(1);
        return all;
    }();
    static const std::vector<u64> small_halves = [] {
        std::vector<u64> all;
        for (u64 i = 0; i < 512; ++i) // of all exponents and signs, with changing fractions
            all.push_back(((i * 0x9e5) & 0xffff) | ((i * 0x3b7 + 0x1234) & 0xffff) << 16);
        return all;
    }();
    switch (kind) {
    case 'e':
        return small_pairs;
    case 'S':
        return small;
    case 'T':
        return small_halves;
    case 'P':
        return halves;
    case 'Q':
        return bfloats;
    case 'h':
        return h;
    case 'd':
        return d;
    case 's':
        return s;
    case 'H':
        return half;
    case 'B':
        return bfloat;
    case 'F':
        return single;
    case 'D':
        return real;
    default:
        return r;
    }
}

inline unsigned bytes_of(char kind) {
    return kind == 'h' || kind == 'H' || kind == 'B' || kind == 'e' ? 2 : kind == 'd' || kind == 'D' ? 8 : 4;
}

inline double number_of(char kind, u64 bits) {
    switch (kind) {
    case 'F':
        return value_of<float>(bits);
    case 'D':
        return value_of<double>(bits);
    case 'B':
        return value_of<float>(bits << 16);
    case 'H': {
        int exponent = static_cast<int>(bits >> 10) & 31;
        double fraction = static_cast<double>(bits & 0x3ff);
        double size = exponent == 31  ? (fraction != 0 ? NAN : INFINITY)
                      : exponent == 0 ? std::ldexp(fraction, -24)
                                      : std::ldexp(1024 + fraction, exponent - 25);
        return bits & 0x8000 ? -size : size;
    }
    default:
        return 0;
    }
}

inline bool same(const Row &row, u64 got, u64 wanted) {
    if (got == wanted)
        return true;
    if (row.kinds[0] == 'P' || row.kinds[0] == 'Q') { // half by half
        Row half = row;
        half.kinds[0] = row.kinds[0] == 'P' ? 'H' : 'B';
        return same(half, got & 0xffff, wanted & 0xffff) && same(half, got >> 16, wanted >> 16);
    }
    double g = number_of(row.kinds[0], got), w = number_of(row.kinds[0], wanted);
    if (std::isnan(g) && std::isnan(w))
        return true;
    const double last_place_of_subnormals = 1.5e-45;
    return row.tolerance > 0 && std::abs(g - w) <= row.tolerance * std::abs(w) + last_place_of_subnormals;
}

/// Runs the row over all combinations of its sources' edges: by every lane, then by odd lanes under a
/// guard, where the others must keep what they had. Prints what differs; true when nothing does.
inline bool check(const Row &row) {
    const std::size_t sources = row.kinds.size() - 1;
    std::vector<u64> values[3];
    std::size_t count = 1;
    for (std::size_t k = 0; k < sources; ++k)
        count *= edges(row.kinds[k + 1]).size();
    for (std::size_t i = 0; i < count; ++i)
        for (std::size_t k = 0, rest = i; k < sources; ++k) {
            const auto &choices = edges(row.kinds[k + 1]);
            values[k].push_back(choices[rest % choices.size()]);
            rest /= choices.size();
        }
    const std::size_t padded = (count + 63) / 64 * 64;
    std::vector<u64> in, out(padded, 0x5555555555555555);
    for (std::size_t i = 0; i < padded; ++i)
        for (std::size_t k = 0; k < 3; ++k)
            in.push_back(k < sources ? values[k][i % count] : 0);
    auto reg = [&](std::size_t k) {
        unsigned bytes = bytes_of(row.kinds[k]);
        return (bytes == 2 ? "%h" : bytes == 8 ? "%rd" : "%r") + std::to_string(20 + k);
    };
    auto type = [&](std::size_t k) { return ".b" + std::to_string(8 * bytes_of(row.kinds[k])); };
    bool good = true;
    for (bool guarded : {false, true}) {
        std::string body = "mov.u32 %r2, %ctaid.x; shl.b32 %r2, %r2, 6; add.s32 %r2, %r2, %r1;\n"
                           "mul.wide.u32 %rd10, %r2, 24; add.s64 %rd10, %rd10, %rd1;\n"
                           "mul.wide.u32 %rd11, %r2, 8; add.s64 %rd11, %rd11, %rd2;\n"
                           "and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1;\n";
        for (std::size_t k = 1; k <= sources; ++k)
            body += "ld.global" + type(k) + " " + reg(k) + ", [%rd10+" + std::to_string(8 * (k - 1)) + "];\n";
        const bool predicate = row.kinds[0] == 'p';
        if (predicate)
            body += "setp.ne.u32 %p2, %r1, %r1;\n";
        else
            body += "ld.global" + type(0) + " " + reg(0) + ", [%rd11];\n";
        body += (guarded ? "@%p1 " : "") + row.instruction + " " + (predicate ? "%p2" : reg(0));
        for (std::size_t k = 1; k <= sources; ++k)
            body += ", " + reg(k);
        body += ";\n";
        if (predicate)
            body += "selp.b32 " + reg(0) + ", 1, 0, %p2;\n";
        body += "st.global" + type(0) + " [%rd11], " + reg(0) + ";\n";
        std::fill(out.begin(), out.end(), 0x5555555555555555);
        auto outcome = run(body, {static_cast<u32>(padded / 64), 64}, in.data(), out.data());
        if (outcome.fault) {
            std::fprintf(stderr, "%s: %s\n", row.instruction.c_str(), outcome.fault->message.c_str());
            return false;
        }
        const unsigned bits = 8 * bytes_of(row.kinds[0]);
        const u64 mask = bits == 64 ? ~0ull : (1ull << bits) - 1;
        unsigned shown = 0;
        for (std::size_t i = 0; i < count && shown < 4; ++i) {
            const u64 *source = &in[3 * i];
            const bool performed = !guarded || (i & 1);
            u64 wanted = !performed ? (predicate ? 0 : 0x5555555555555555 & mask)
                                    : row.reference(source[0], source[1], source[2]) & mask;
            u64 got = out[i] & mask;
            if (performed ? same(row, got, wanted) : got == wanted)
                continue;
            good = false;
            ++shown;
            std::fprintf(stderr, "%s%s of %llx %llx %llx: got %llx, not %llx\n", guarded ? "guarded " : "",
                         row.instruction.c_str(), static_cast<unsigned long long>(source[0]),
                         static_cast<unsigned long long>(source[1]),
                         static_cast<unsigned long long>(source[2]), static_cast<unsigned long long>(got),
                         static_cast<unsigned long long>(wanted));
        }
    }
    return good;
}

inline int check_all(const std::vector<Row> &rows) {
    unsigned bad = 0;
    for (const Row &row : rows)
        bad += !check(row);
    std::printf("%zu instructions, %u of them wrong\n", rows.size(), bad);
    return bad != 0;
}

} // namespace soft_test
