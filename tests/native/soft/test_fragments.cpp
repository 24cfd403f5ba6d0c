// wmma of other types than f16: what is loaded by rows or columns, multiplied and stored, against plain sums.
#include "machine.hpp"
#include "reference.hpp"

#include <cmath>

using namespace soft_test;

namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

struct Kind {
    std::string factor, sum; // types
    unsigned m, n, k, factor_bytes, a_registers, b_registers, sum_registers;
    bool whole = false;
};

const Kind kinds[] = {
    {"bf16", "f32", 16, 16, 16, 2, 4, 4, 8},     {"bf16", "f32", 8, 32, 16, 2, 2, 8, 8},
    {"bf16", "f32", 32, 8, 16, 2, 8, 2, 8},      {"tf32", "f32", 16, 16, 8, 4, 4, 4, 8},
    {"s8", "s32", 16, 16, 16, 1, 2, 2, 8, true}, {"s8", "s32", 8, 32, 16, 1, 1, 4, 8, true},
    {"u8", "s32", 32, 8, 16, 1, 4, 1, 8, true},  {"u8", "s32", 16, 16, 16, 1, 2, 2, 8, true},
    {"f64", "f64", 8, 8, 4, 8, 1, 1, 2}};

std::string list(const char *name, unsigned first, unsigned count) {
    std::string text = "{";
    for (unsigned i = 0; i < count; ++i)
        text += (i ? ", " : "") + std::string(name) + std::to_string(first + i);
    return text + "}";
}

/// Small whole numbers, which every type holds and no sum rounds.
double element(const Kind &kind, unsigned i) {
    return kind.factor == "u8" ? static_cast<double>(i * 37 % 200) : static_cast<double>(i * 37 % 25) - 12;
}

void put(std::vector<std::uint8_t> &memory, const Kind &kind, unsigned at, double x) {
    std::uint8_t *place = &memory[at * kind.factor_bytes];
    const auto single = static_cast<float>(x);
    u32 bits;
    std::memcpy(&bits, &single, 4);
    if (kind.factor == "f64") {
        std::memcpy(place, &x, 8);
    } else if (kind.factor == "tf32") {
        bits |= 0x1555; // below what a tf32 has: of no account
        std::memcpy(place, &bits, 4);
    } else if (kind.factor == "bf16") {
        const auto half = static_cast<std::uint16_t>(bits >> 16);
        std::memcpy(place, &half, 2);
    } else {
        *place = static_cast<std::uint8_t>(static_cast<int>(x));
    }
}

void multiply(const Kind &kind, bool a_columns, bool b_columns, bool shared) {
    const unsigned m = kind.m, n = kind.n, k = kind.k, stride = 48;
    std::vector<std::uint8_t> a(stride * 32 * 8), b(stride * 32 * 8);
    for (unsigned r = 0; r < m; ++r)
        for (unsigned i = 0; i < k; ++i)
            put(a, kind, a_columns ? i * stride + r : r * stride + i, element(kind, r * k + i));
    for (unsigned i = 0; i < k; ++i)
        for (unsigned s = 0; s < n; ++s)
            put(b, kind, b_columns ? s * stride + i : i * stride + s, element(kind, 3 * (i * n + s) + 1));
    const unsigned sum_bytes = kind.sum == "f64" ? 8 : 4;
    std::vector<std::uint8_t> sums(m * n * sum_bytes);
    auto sum_at = [&](unsigned i) -> double {
        if (kind.sum == "f64") {
            double x;
            std::memcpy(&x, &sums[8 * i], 8);
            return x;
        }
        std::int32_t whole;
        float single;
        std::memcpy(&whole, &sums[4 * i], 4);
        std::memcpy(&single, &sums[4 * i], 4);
        return kind.whole ? whole : static_cast<double>(single);
    };
    for (unsigned i = 0; i < m * n; ++i) {
        const double x = i % 11;
        const auto single = static_cast<float>(x);
        const auto whole = static_cast<std::int32_t>(x);
        std::memcpy(&sums[i * sum_bytes],
                    sum_bytes == 8 ? static_cast<const void *>(&x)
                    : kind.whole   ? static_cast<const void *>(&whole)
                                   : &single,
                    sum_bytes);
    }
    const bool wide = kind.factor == "f64";
    const char *name = wide ? "%rd" : "%r";
    const std::string shape = ".m" + std::to_string(m) + "n" + std::to_string(n) + "k" + std::to_string(k),
                      left = a_columns ? "col" : "row", right = b_columns ? "col" : "row",
                      space = shared ? ".shared." : ".global.", d_list = list(name, 40, kind.sum_registers),
                      c_list = list(name, 50, kind.sum_registers), a_list = list(name, 10, kind.a_registers),
                      b_list = list(name, 20, kind.b_registers);
    std::string body, a_at = "[%rd1]", b_at = "[%rd2]";
    if (shared) {
        a_at = "[tile]", b_at = "[tile+12288]";
        body = "mov.u32 %r3, %r1;\nCOPY: mul.wide.u32 %rd4, %r3, 4; add.s64 %rd5, %rd4, %rd1; add.s64 %rd6, "
               "%rd4, %rd2;\n"
               "ld.global.u32 %r4, [%rd5]; ld.global.u32 %r5, [%rd6]; shl.b32 %r6, %r3, 2; add.s32 %r6, %r6, "
               "tile;\n"
               "st.shared.u32 [%r6], %r4; st.shared.u32 [%r6+12288], %r5; add.s32 %r3, %r3, 32; setp.lt.u32 "
               "%p1, %r3, 3072; "
               "@%p1 bra COPY; bar.warp.sync -1;\n";
    }
    const std::string types = "." + kind.sum + "." + kind.factor + "." + kind.factor + "." + kind.sum;
    body += "mov.u32 %r8, 48; mov.u32 %r9, " + std::to_string(n) + ";\nwmma.load.a.sync.aligned." + left +
            shape + space + kind.factor + " " + a_list + ", " + a_at + ", %r8;\nwmma.load.b.sync.aligned." +
            right + shape + space + kind.factor + " " + b_list + ", " + b_at +
            ", %r8;\nwmma.load.c.sync.aligned.row" + shape + ".global." + kind.sum + " " + c_list +
            ", [%rd3], %r9;\nwmma.mma.sync.aligned." + left + "." + right + shape + types +
            (wide ? ".rn " : " ") + d_list + ", " + a_list + ", " + b_list + ", " + c_list +
            ";\nwmma.store.d.sync.aligned.row" + shape + ".global." + kind.sum + " [%rd3], " + d_list +
            ", %r9;\n";
    auto outcome = run_text(kernel_text(body, ".shared .align 16 .b8 tile[24576];"), {1, 32}, a.data(),
                            b.data(), sums.data());
    EXPECT(!outcome.fault);
    for (unsigned r = 0; r < m; ++r)
        for (unsigned s = 0; s < n; ++s) {
            double total = (r * n + s) % 11;
            for (unsigned i = 0; i < k; ++i)
                total += element(kind, r * k + i) * element(kind, 3 * (i * n + s) + 1);
            EXPECT(sum_at(r * n + s) == total);
        }
}

} // namespace

int main() {
    for (const Kind &kind : kinds)
        for (bool a_columns : {false, true})
            for (bool b_columns : {false, true})
                for (bool shared : {false, true})
                    multiply(kind, a_columns, b_columns, shared);
    std::puts("fragments as they should be");
}
