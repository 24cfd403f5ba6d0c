// wmma of other types than f16: what is loaded by rows or columns, multiplied and stored, against plain sums.
#include "machine.hpp"
#include "reference.hpp"

#include <cfenv>
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

/// Factors below a byte: A by rows, B by columns, and sums that wrap around or end.
void multiply_below_a_byte(const std::string &factor, const std::string &operation, bool ends, bool shared,
                           bool sum_columns) {
    const bool single = factor == "b1", is_signed = factor == "s4";
    const unsigned bits = single ? 1 : 4, k = single ? 128 : 32, stride = 2 * k;
    std::vector<std::uint8_t> a(8 * stride * bits / 8), b(a.size());
    auto value = [&](unsigned i) { return static_cast<int>(i * 37 % 61 % (1u << bits)); };
    auto number = [&](int x) { return is_signed && x > 7 ? x - 16 : x; };
    for (unsigned r = 0; r < 8; ++r)
        for (unsigned i = 0; i < k; ++i) {
            const unsigned at = (r * stride + i) * bits;
            a[at / 8] |= static_cast<std::uint8_t>(value(r * k + i) << (at % 8));
            b[at / 8] |= static_cast<std::uint8_t>(value(3 * (r * k + i) + 1) << (at % 8));
        }
    std::vector<u32> sums(64);
    auto start = [](unsigned row, unsigned column) {
        return row == 2 ? 0x7ffffff0u : row == 3 ? 0x8000000fu : 8 * row + column;
    };
    for (unsigned row = 0; row < 8; ++row)
        for (unsigned column = 0; column < 8; ++column)
            sums[sum_columns ? 8 * column + row : 8 * row + column] = start(row, column);
    const std::string shape = single ? ".m8n8k128" : ".m8n8k32", space = shared ? ".shared." : ".global.",
                      order = sum_columns ? "col" : "row";
    std::string body, a_at = "[%rd1]", b_at = "[%rd2]";
    if (shared) {
        a_at = "[tile]", b_at = "[tile+256]";
        body =
            "mul.wide.u32 %rd4, %r1, 8; add.s64 %rd5, %rd4, %rd1; add.s64 %rd6, %rd4, %rd2; shl.b32 %r3, "
            "%r1, 3; "
            "add.s32 %r3, %r3, tile;\nld.global.u64 %rd7, [%rd5]; ld.global.u64 %rd8, [%rd6]; st.shared.u64 "
            "[%r3], %rd7; st.shared.u64 [%r3+256], %rd8; bar.warp.sync -1;\n";
    }
    body += "mov.u32 %r8, " + std::to_string(stride) + "; mov.u32 %r9, 8;\nwmma.load.a.sync.aligned.row" +
            shape + space + factor + " {%r10}, " + a_at + ", %r8;\nwmma.load.b.sync.aligned.col" + shape +
            space + factor + " {%r11}, " + b_at + ", %r8;\nwmma.load.c.sync.aligned." + order + shape +
            ".global.s32 {%r12, %r13}, [%rd3], %r9;\nwmma.mma" + operation + ".sync.aligned.row.col" + shape +
            ".s32." + factor + "." + factor + ".s32" + (ends ? ".satfinite" : "") +
            " {%r14, %r15}, {%r10}, {%r11}, {%r12, %r13};\nwmma.store.d.sync.aligned." + order + shape +
            ".global.s32 [%rd3], {%r14, %r15};\n";
    auto outcome = run_text(kernel_text(body, ".shared .align 16 .b8 tile[512];"), {1, 32}, a.data(),
                            b.data(), sums.data());
    EXPECT(!outcome.fault);
    for (unsigned row = 0; row < 8; ++row)
        for (unsigned column = 0; column < 8; ++column) {
            std::int64_t total = static_cast<std::int32_t>(start(row, column));
            for (unsigned i = 0; i < k; ++i) {
                const int x = value(row * k + i), y = value(3 * (column * k + i) + 1);
                total += operation == ".xor.popc" ? (x ^ y) : single ? (x & y) : number(x) * number(y);
            }
            if (ends)
                total = std::min<std::int64_t>(0x7fffffff, std::max<std::int64_t>(-0x80000000ll, total));
            EXPECT(sums[sum_columns ? 8 * column + row : 8 * row + column] == static_cast<u32>(total));
        }
}

/// Sums of bytes that end at the bounds, and those of f64 in every rounding.
void sums_end_or_round() {
    std::vector<std::int8_t> a(256, 127), b(256, 127);
    std::vector<std::int32_t> sums(256, 0x7fffff00);
    for (unsigned i = 0; i < 128; ++i)
        sums[i] = -0x7fffff00, a[i] = -128; // rows 0 to 7: sums below
    auto product = [&](const char *ends) {
        auto from = sums;
        auto outcome =
            run("wmma.load.a.sync.aligned.row.m16n16k16.global.s8 {%r10, %r11}, [%rd1]; "
                "wmma.load.b.sync.aligned.row.m16n16k16.global.s8 {%r12, %r13}, [%rd2];\n"
                "wmma.load.c.sync.aligned.row.m16n16k16.global.s32 {%r20, %r21, %r22, %r23, %r24, %r25, "
                "%r26, %r27}, [%rd3];\nwmma.mma.sync.aligned.row.row.m16n16k16.s32.s8.s8.s32" +
                    std::string(ends) +
                    " {%r30, %r31, %r32, %r33, %r34, %r35, %r36, %r37}, {%r10, %r11}, {%r12, %r13}, {%r20, "
                    "%r21, %r22, %r23, %r24, %r25, %r26, %r27};\n"
                    "wmma.store.d.sync.aligned.row.m16n16k16.global.s32 [%rd3], {%r30, %r31, %r32, %r33, "
                    "%r34, %r35, %r36, %r37};",
                {1, 32}, a.data(), b.data(), from.data());
        EXPECT(!outcome.fault);
        return from;
    };
    const auto ended = product(".satfinite"), wrapped = product("");
    for (unsigned i = 0; i < 256; ++i) {
        const std::int64_t total = sums[i] + 16ll * a[i] * b[0];
        EXPECT(ended[i] == std::min<std::int64_t>(0x7fffffff, std::max<std::int64_t>(-0x80000000ll, total)));
        EXPECT(wrapped[i] == static_cast<std::int32_t>(static_cast<u32>(total)));
    }
    const std::pair<const char *, int> ways[] = {
        {".rn", FE_TONEAREST}, {".rz", FE_TOWARDZERO}, {".rm", FE_DOWNWARD}, {".rp", FE_UPWARD}};
    for (auto [way, mode] : ways) {
        std::vector<double> left(32), right(32), total(64);
        for (unsigned i = 0; i < 64; ++i)
            left[i % 32] = 1.0 / (3 + i % 32), right[i % 32] = (i % 2 ? -1.7 : 1.3) / (7 + i % 32),
                     total[i] = i / 7.0;
        const auto before = total;
        auto outcome = run("wmma.load.a.sync.aligned.row.m8n8k4.global.f64 {%rd10}, [%rd1]; "
                           "wmma.load.b.sync.aligned.row.m8n8k4.global.f64 {%rd11}, [%rd2]; "
                           "wmma.load.c.sync.aligned.row.m8n8k4.global.f64 {%rd12, %rd13}, [%rd3];\n"
                           "wmma.mma.sync.aligned.row.row.m8n8k4" +
                               std::string(way) +
                               ".f64.f64.f64.f64 {%rd14, %rd15}, {%rd10}, {%rd11}, {%rd12, %rd13}; "
                               "wmma.store.d.sync.aligned.row.m8n8k4.global.f64 [%rd3], {%rd14, %rd15};",
                           {1, 32}, left.data(), right.data(), total.data());
        EXPECT(!outcome.fault);
        for (unsigned row = 0; row < 8; ++row)
            for (unsigned column = 0; column < 8; ++column) {
                volatile double sum = before[8 * row + column];
                std::fesetround(mode);
                for (unsigned k = 0; k < 4; ++k) {
                    volatile double x = left[4 * row + k];
                    sum = std::fma(x, right[8 * k + column], sum);
                }
                std::fesetround(FE_TONEAREST);
                EXPECT(total[8 * row + column] == sum);
            }
    }
}

} // namespace

int main() {
    for (bool shared : {false, true})
        for (bool sum_columns : {false, true}) {
            for (const char *factor : {"u4", "s4"})
                for (bool ends : {false, true})
                    multiply_below_a_byte(factor, "", ends, shared, sum_columns);
            for (const char *operation : {".xor.popc", ".and.popc"})
                multiply_below_a_byte("b1", operation, false, shared, sum_columns);
        }
    sums_end_or_round();
    for (const Kind &kind : kinds)
        for (bool a_columns : {false, true})
            for (bool b_columns : {false, true})
                for (bool shared : {false, true})
                    multiply(kind, a_columns, b_columns, shared);
    std::puts("fragments as they should be");
}
