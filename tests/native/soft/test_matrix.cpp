// mma, ldmatrix, stmatrix and movmatrix against plain matrices, by the ISA's fragment layouts.
#include <cmath>
#include <random>

#include "machine.hpp"
#include "reference.hpp"

using namespace soft_test;
using u16 = std::uint16_t;
using u32 = std::uint32_t;

namespace {

std::mt19937 random_bits(7);

struct Kind {
    const char *name;
    unsigned bits; // of an element in a register
};

/// Small whole numbers, so that every sum is exact in whatever order.
double draw(const Kind &kind) {
    int low = kind.name[0] == 'u' ? 0 : -9;
    return static_cast<double>(
        std::uniform_int_distribution(low, kind.name[0] == 'u' ? 200 : 9)(random_bits));
}
u32 encode(const Kind &kind, double x) {
    std::string name = kind.name;
    if (name == "f16")
        return static_cast<u32>(Half16::of(x));
    if (name == "bf16")
        return static_cast<u32>(Bfloat16::of(x));
    if (name == "tf32") {
        auto single = static_cast<float>(x);
        u32 bits;
        std::memcpy(&bits, &single, 4);
        return bits;
    }
    return static_cast<u32>(static_cast<int>(x)) & 0xff;
}

/// PTX ISA: with g = lane / 4 and t = lane % 4, element i of a lane's fragment of A (row-major, M x K).
void place_of_a(unsigned lane, unsigned i, unsigned m, unsigned in_register, unsigned &row,
                unsigned &column) {
    const unsigned g = lane / 4, t = lane % 4, reg = i / in_register, element = i % in_register;
    row = g + (m == 16 && reg % 2 ? 8 : 0);
    column = t * in_register + element + 4 * in_register * (m == 16 ? reg / 2 : reg);
}

void multiply(unsigned m, unsigned k, const Kind &a_kind, const Kind &b_kind, bool half_sum) {
    constexpr unsigned n = 8;
    const bool whole = a_kind.bits == 8;
    std::vector<double> a(m * k), b(k * n), c(m * n), d(m * n);
    for (double &x : a)
        x = draw(a_kind);
    for (double &x : b)
        x = draw(b_kind);
    for (double &x : c)
        x = draw({"s8", 8});
    for (unsigned r = 0; r < m; ++r)
        for (unsigned s = 0; s < n; ++s) {
            d[r * n + s] = c[r * n + s];
            for (unsigned i = 0; i < k; ++i)
                d[r * n + s] += a[r * k + i] * b[i * n + s];
        }
    const unsigned per = 32 / a_kind.bits, a_regs = m * k / 32 / per, b_regs = k * n / 32 / per;
    const unsigned c_elements = m * n / 32, c_regs = half_sum ? c_elements / 2 : c_elements;
    const unsigned all = a_regs + b_regs + c_regs;
    auto sum_bits = [&](double x) -> u32 {
        if (half_sum)
            return static_cast<u32>(Half16::of(x));
        if (whole)
            return static_cast<u32>(static_cast<int>(x));
        auto single = static_cast<float>(x);
        u32 bits;
        std::memcpy(&bits, &single, 4);
        return bits;
    };
    std::vector<u32> in(32 * all), out(32 * c_regs), wanted(32 * c_regs);
    auto put_sum = [&](u32 *regs, unsigned lane, const std::vector<double> &matrix) {
        for (unsigned i = 0; i < c_elements; ++i) {
            const unsigned row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
            const u32 bits = sum_bits(matrix[row * n + column]);
            if (half_sum)
                regs[i / 2] |= bits << (16 * (i % 2));
            else
                regs[i] = bits;
        }
    };
    for (unsigned lane = 0; lane < 32; ++lane) {
        u32 *regs = &in[lane * all];
        for (unsigned i = 0; i < a_regs * per; ++i) {
            unsigned row, column;
            place_of_a(lane, i, m, per, row, column);
            regs[i / per] |= encode(a_kind, a[row * k + column]) << (a_kind.bits % 32 * (i % per));
        }
        for (unsigned i = 0; i < b_regs * per; ++i) {
            const unsigned row = (lane % 4) * per + i % per + 4 * per * (i / per), column = lane / 4;
            regs[a_regs + i / per] |= encode(b_kind, b[row * n + column]) << (b_kind.bits % 32 * (i % per));
        }
        put_sum(regs + a_regs + b_regs, lane, c);
        put_sum(&wanted[lane * c_regs], lane, d);
    }
    auto list = [](unsigned first, unsigned count) {
        std::string text = "{";
        for (unsigned i = 0; i < count; ++i)
            text += (i ? ", %r" : "%r") + std::to_string(first + i);
        return text + "}";
    };
    const std::string sum = half_sum ? "f16" : whole ? "s32" : "f32";
    std::string name = "mma.sync.aligned.m" + std::to_string(m) + "n8k" + std::to_string(k) + ".row.col." +
                       sum + "." + a_kind.name + "." + b_kind.name + "." + sum;
    std::string body = "mul.wide.u32 %rd4, %r1, " + std::to_string(4 * all) +
                       "; add.s64 %rd4, %rd4, %rd1;\n" + "mul.wide.u32 %rd5, %r1, " +
                       std::to_string(4 * c_regs) + "; add.s64 %rd5, %rd5, %rd2;\n";
    for (unsigned i = 0; i < all; ++i)
        body += "ld.global.u32 %r" + std::to_string(10 + i) + ", [%rd4+" + std::to_string(4 * i) + "];\n";
    body += name + " " + list(40, c_regs) + ", " + list(10, a_regs) + ", " + list(10 + a_regs, b_regs) +
            ", " + list(10 + a_regs + b_regs, c_regs) + ";\n";
    for (unsigned i = 0; i < c_regs; ++i)
        body += "st.global.u32 [%rd5+" + std::to_string(4 * i) + "], %r" + std::to_string(40 + i) + ";\n";
    auto outcome = run(body, {1, 32}, in.data(), out.data());
    EXPECT(!outcome.fault);
    if (out != wanted)
        std::fprintf(stderr, "wrong: %s\n", name.c_str());
    EXPECT(out == wanted);
}

void products() {
    const Kind s8{"s8", 8}, u8{"u8", 8}, f16{"f16", 16}, bf16{"bf16", 16}, tf32{"tf32", 32};
    for (const Kind &a : {s8, u8})
        for (const Kind &b : {s8, u8}) {
            multiply(8, 16, a, b, false);
            multiply(16, 16, a, b, false);
            multiply(16, 32, a, b, false);
        }
    for (bool half_sum : {false, true}) {
        multiply(16, 8, f16, f16, half_sum);
        multiply(16, 16, f16, f16, half_sum);
    }
    multiply(16, 8, bf16, bf16, false);
    multiply(16, 16, bf16, bf16, false);
    multiply(16, 4, tf32, tf32, false);
    multiply(16, 8, tf32, tf32, false);
}

void matrices_from_and_to_shared_memory() {
    for (bool transposed : {false, true})
        for (unsigned count : {1u, 2u, 4u}) {
            // The kernel fills 256 halves with their numbers, loads matrices of 8 rows, each named by a lane.
            std::string list;
            for (unsigned i = 0; i < count; ++i)
                list += (i ? ", %r" : "%r") + std::to_string(20 + i);
            std::string name =
                std::string("m8n8.x") + std::to_string(count) + (transposed ? ".trans" : "") + ".shared.b16";
            std::string body =
                "mov.u32 %r3, tile; shl.b32 %r4, %r1, 4; add.s32 %r4, %r4, %r3; mov.u32 %r5, 0;\n"
                "F: shl.b32 %r6, %r1, 3; add.s32 %r6, %r6, %r5; cvt.u16.u32 %h1, %r6; shl.b32 %r7, %r5, 1;\n"
                "add.s32 %r7, %r7, %r4; st.shared.u16 [%r7], %h1; add.s32 %r5, %r5, 1;\n"
                "setp.lt.u32 %p1, %r5, 8; @%p1 bra F; bar.sync 0;\n"
                "ldmatrix.sync.aligned." +
                name + " {" + list +
                "}, [%r4];\n"
                "mul.wide.u32 %rd4, %r1, " +
                std::to_string(4 * count) + "; add.s64 %rd4, %rd4, %rd1;\n";
            for (unsigned i = 0; i < count; ++i)
                body +=
                    "st.global.u32 [%rd4+" + std::to_string(4 * i) + "], %r" + std::to_string(20 + i) + ";\n";
            std::vector<u32> out(32 * count);
            auto outcome =
                run_text(kernel_text(body, ".shared .align 16 .b8 tile[512];"), {1, 32}, out.data());
            EXPECT(!outcome.fault);
            for (unsigned lane = 0; lane < 32; ++lane)
                for (unsigned i = 0; i < count; ++i)
                    for (unsigned e = 0; e < 2; ++e) {
                        const unsigned g = lane / 4, t = 2 * (lane % 4) + e;
                        const unsigned row = transposed ? t : g, column = transposed ? g : t;
                        EXPECT(((out[lane * count + i] >> (16 * e)) & 0xffff) == 64 * i + 8 * row + column);
                    }
        }
}

void matrices_to_shared_memory() {
    for (const char *space : {".shared", ""})
        for (bool transposed : {false, true})
            for (unsigned count : {1u, 2u, 4u}) {
                // Register i of a lane holds elements 64 * i + 2 * lane and the next: row-major, as ldmatrix
                // gives.
                std::string list, body = "mov.u32 %r3, tile; shl.b32 %r4, %r1, 4; add.s32 %r4, %r4, %r3;\n";
                for (unsigned i = 0; i < count; ++i) {
                    const std::string reg = "%r" + std::to_string(20 + i);
                    list += (i ? ", " : "") + reg;
                    body += "mad.lo.u32 " + reg + ", %r1, 0x20002, " +
                            std::to_string(64 * i | (64 * i + 1) << 16) + ";\n";
                }
                const bool generic = space[0] == 0;
                if (generic)
                    body += "cvt.u64.u32 %rd6, %r4; cvta.shared.u64 %rd6, %rd6;\n";
                body += std::string("stmatrix.sync.aligned.m8n8.x") + std::to_string(count) +
                        (transposed ? ".trans" : "") + space + ".b16 [" + (generic ? "%rd6" : "%r4") +
                        "], {" + list +
                        "};\nbar.sync 0; ld.shared.v4.u32 {%r30, %r31, %r32, %r33}, [%r4];\n"
                        "mul.wide.u32 %rd4, %r1, 16; add.s64 %rd4, %rd4, %rd1;\n"
                        "st.global.v4.u32 [%rd4], {%r30, %r31, %r32, %r33};\n";
                std::vector<u16> out(32 * 8);
                auto outcome =
                    run_text(kernel_text(body, ".shared .align 16 .b8 tile[512];"), {1, 32}, out.data());
                EXPECT(!outcome.fault);
                for (unsigned i = 0; i < 64 * count; ++i) { // row i / 8 of eight halves
                    const unsigned matrix = i / 64, row = i / 8 % 8, column = i % 8;
                    EXPECT(out[i] == 64 * matrix + (transposed ? 8 * column + row : 8 * row + column));
                }
            }
}

/// Loads two matrices and a sum, multiplies, stores: all shapes, ways to lie, and kinds of sums.
void fragments(unsigned m, unsigned n, const char *left, const char *right, const char *space, bool half_in,
               bool half_out) {
    constexpr unsigned k = 16;
    const std::string shape = ".m" + std::to_string(m) + "n" + std::to_string(n) + "k16";
    const bool a_columns = left[0] == 'c', b_columns = right[0] == 'c',
               shared = space[0] == '.' && space[1] == 's';
    std::vector<double> a(m * k), b(k * n), c(m * n);
    for (auto *matrix : {&a, &b, &c})
        for (double &x : *matrix)
            x = draw({"s8", 8});
    // Everything lies in one buffer, rows or columns 8 elements further apart than they are long.
    std::vector<u16> a_bits(4096), b_bits(4096);
    const unsigned a_stride = (a_columns ? m : k) + 8, b_stride = (b_columns ? k : n) + 8;
    for (unsigned r = 0; r < m; ++r)
        for (unsigned i = 0; i < k; ++i)
            a_bits[a_columns ? i * a_stride + r : r * a_stride + i] =
                static_cast<u16>(Half16::of(a[r * k + i]));
    for (unsigned i = 0; i < k; ++i)
        for (unsigned s = 0; s < n; ++s)
            b_bits[b_columns ? s * b_stride + i : i * b_stride + s] =
                static_cast<u16>(Half16::of(b[i * n + s]));
    auto sum_of = [](double x, bool half) -> u32 {
        const auto single = static_cast<float>(x);
        u32 bits;
        std::memcpy(&bits, &single, 4);
        return half ? static_cast<u32>(Half16::of(x)) : bits;
    };
    std::vector<u32> sums(2048);
    auto put = [&](unsigned i, u32 bits, bool half) {
        if (half)
            reinterpret_cast<u16 *>(sums.data())[i] = static_cast<u16>(bits);
        else
            sums[i] = bits;
    };
    for (unsigned i = 0; i < m * n; ++i)
        put(i, sum_of(c[i], half_in), half_in);
    auto list = [](unsigned first, unsigned count) {
        std::string text = "{";
        for (unsigned i = 0; i < count; ++i)
            text += (i ? ", %r" : "%r") + std::to_string(first + i);
        return text + "}";
    };
    const std::string c_type = half_in ? ".f16" : ".f32", d_type = half_out ? ".f16" : ".f32";
    const std::string c_list = list(36, half_in ? 4 : 8), d_list = list(48, half_out ? 4 : 8);
    std::string body;
    std::string a_at = "[%rd1]", b_at = "[%rd2]";
    if (shared) {
        // The two matrices are copied to shared memory word by word.
        a_at = "[tile]", b_at = "[tile+4096]";
        body = "mov.u32 %r3, %r1;\nCOPY: mul.wide.u32 %rd4, %r3, 4; add.s64 %rd5, %rd4, %rd1; add.s64 %rd6, "
               "%rd4, %rd2;\n"
               "ld.global.u32 %r4, [%rd5]; ld.global.u32 %r5, [%rd6]; shl.b32 %r6, %r3, 2; mov.u32 %r7, "
               "tile; add.s32 %r6, %r6, %r7;\n"
               "st.shared.u32 [%r6], %r4; st.shared.u32 [%r6+4096], %r5; add.s32 %r3, %r3, 32; setp.lt.u32 "
               "%p1, %r3, 1024; @%p1 bra COPY;\n"
               "bar.warp.sync -1;\n";
    }
    const std::string s = shared ? ".shared" : space;
    body += "mov.u32 %r8, " + std::to_string(a_stride) + "; mov.u32 %r9, " + std::to_string(b_stride) +
            ";\n" + "wmma.load.a.sync.aligned." + left + shape + s + ".f16 " + list(10, 8) + ", " + a_at +
            ", %r8;\n" + "wmma.load.b.sync.aligned." + right + shape + s + ".f16 " + list(20, 8) + ", " +
            b_at + ", %r9;\n" + "wmma.load.c.sync.aligned.row" + shape + ".global" + c_type + " " + c_list +
            ", [%rd3];\n" + "wmma.mma.sync.aligned." + left + "." + right + shape + d_type + c_type + " " +
            d_list + ", " + list(10, 8) + ", " + list(20, 8) + ", " + c_list + ";\n" +
            "wmma.store.d.sync.aligned.row" + shape + ".global" + d_type + " [%rd3], " + d_list + ";\n";
    auto outcome = run_text(kernel_text(body, ".shared .align 16 .b8 tile[8192];"), {1, 32}, a_bits.data(),
                            b_bits.data(), sums.data());
    EXPECT(!outcome.fault);
    for (unsigned r = 0; r < m; ++r)
        for (unsigned i = 0; i < n; ++i) {
            double total = c[r * n + i];
            for (unsigned e = 0; e < k; ++e)
                total += a[r * k + e] * b[e * n + i];
            const unsigned at = r * n + i;
            const u32 got = half_out ? reinterpret_cast<u16 *>(sums.data())[at] : sums[at];
            EXPECT(got == sum_of(total, half_out));
        }
}

void all_fragments() {
    for (auto [m, n] : {std::pair{16u, 16u}, {8u, 32u}, {32u, 8u}}) {
        for (const char *left : {"row", "col"})
            for (const char *right : {"row", "col"})
                for (const char *space : {".global", ".shared", ""})
                    fragments(m, n, left, right, space, false, false);
        for (bool half_in : {false, true})
            fragments(m, n, "row", "col", ".global", half_in, true);
        fragments(m, n, "row", "col", ".global", true, false);
    }
}

void a_matrix_turns_over_in_registers() {
    auto words =
        words_of("shl.b32 %r3, %r1, 1; add.s32 %r4, %r3, 1; shl.b32 %r4, %r4, 16; or.b32 %r3, %r3, %r4;\n"
                 "movmatrix.sync.aligned.m8n8.trans.b16 %r2, %r3;",
                 32);
    // Element (row, column) was row * 8 + column.
    for (u32 lane = 0; lane < 32; ++lane)
        for (u32 e = 0; e < 2; ++e)
            EXPECT(((words[lane] >> (16 * e)) & 0xffff) == (2 * (lane % 4) + e) * 8 + lane / 4);
}

} // namespace

int main() {
    products();
    matrices_from_and_to_shared_memory();
    matrices_to_shared_memory();
    all_fragments();
    a_matrix_turns_over_in_registers();
    std::puts("matrices as they should be");
}
