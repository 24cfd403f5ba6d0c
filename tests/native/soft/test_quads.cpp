// mma.m8n8k4 of f16: four products of 8 x 4 by 4 x 8, each of eight lanes, against plain matrices.
#include <cstring>

#include "machine.hpp"
#include "reference.hpp"

using namespace soft_test;

namespace {

using u32 = std::uint32_t;

constexpr unsigned quads = 4, a_registers = 2, b_registers = 2;

/// Small whole numbers, which no format and no sum rounds; every place of every product has its own.
float left(unsigned quad, unsigned row, unsigned k) {
    return static_cast<float>((quad * 13 + row * 5 + k * 3) % 17) - 8;
}
float right(unsigned quad, unsigned k, unsigned column) {
    return static_cast<float>((quad * 7 + k * 11 + column * 2) % 19) - 9;
}
float added(unsigned quad, unsigned row, unsigned column) {
    return static_cast<float>((quad * 3 + row * 8 + column) % 23) - 11;
}
float product(unsigned quad, unsigned row, unsigned column) {
    float sum = added(quad, row, column);
    for (unsigned k = 0; k < 4; ++k)
        sum += left(quad, row, k) * right(quad, k, column);
    return sum;
}

/// The lane of a product that is number `member` of its eight: the lower four, then the upper.
unsigned lane_of(unsigned quad, unsigned member) {
    return 4 * quad + member % 4 + (member < 4 ? 0 : 16);
}

u32 bits_of(float x) {
    u32 bits;
    std::memcpy(&bits, &x, 4);
    return bits;
}

void put(u32 *registers, unsigned element, float x, bool half) {
    if (half)
        registers[element / 2] |= static_cast<u32>(Half16::of(x)) << (16 * (element % 2));
    else
        registers[element] = bits_of(x);
}

/// A member holds a row of an f16 sum; of an f32 sum two by two of two rows, four columns apart.
template <class Value> void put_sum(u32 *registers, unsigned quad, unsigned member, bool half, Value value) {
    if (half) {
        for (unsigned column = 0; column < 8; ++column)
            put(registers, column, value(quad, member, column), true);
        return;
    }
    const unsigned first_row = member % 2 + (member < 4 ? 0 : 4), first_column = member % 4 / 2 * 2;
    for (unsigned right_half = 0; right_half < 2; ++right_half)
        for (unsigned lower = 0; lower < 2; ++lower)
            for (unsigned next = 0; next < 2; ++next)
                put(registers, 4 * right_half + 2 * lower + next,
                    value(quad, first_row + 2 * lower, first_column + 4 * right_half + next), false);
}

std::string list(unsigned first, unsigned count) {
    std::string text = "{";
    for (unsigned i = 0; i < count; ++i)
        text += (i ? ", %r" : "%r") + std::to_string(first + i);
    return text + "}";
}

void multiply(bool a_rows, bool b_rows, bool half_c, bool half_d) {
    const unsigned c_registers = half_c ? 4 : 8, d_registers = half_d ? 4 : 8;
    const unsigned all = a_registers + b_registers + c_registers;
    std::vector<u32> in(32 * all), out(32 * d_registers), wanted(32 * d_registers);
    for (unsigned quad = 0; quad < quads; ++quad)
        for (unsigned member = 0; member < 8; ++member) {
            const unsigned lane = lane_of(quad, member), t = member % 4, u = member < 4 ? 0 : 4;
            u32 *registers = &in[lane * all];
            for (unsigned i = 0; i < 4; ++i) {
                put(registers, i, a_rows ? left(quad, member, i) : left(quad, u + i, t), true);
                put(registers + a_registers, i, b_rows ? right(quad, t, u + i) : right(quad, i, member),
                    true);
            }
            put_sum(registers + a_registers + b_registers, quad, member, half_c, added);
            put_sum(&wanted[lane * d_registers], quad, member, half_d, product);
        }
    const std::string name = std::string("mma.sync.aligned.m8n8k4.") + (a_rows ? "row." : "col.") +
                             (b_rows ? "row." : "col.") + (half_d ? "f16" : "f32") + ".f16.f16." +
                             (half_c ? "f16" : "f32");
    std::string body = "mul.wide.u32 %rd4, %r1, " + std::to_string(4 * all) +
                       "; add.s64 %rd4, %rd4, %rd1;\nmul.wide.u32 %rd5, %r1, " +
                       std::to_string(4 * d_registers) + "; add.s64 %rd5, %rd5, %rd2;\n";
    for (unsigned i = 0; i < all; ++i)
        body += "ld.global.u32 %r" + std::to_string(10 + i) + ", [%rd4+" + std::to_string(4 * i) + "];\n";
    body += name + " " + list(40, d_registers) + ", " + list(10, a_registers) + ", " + list(12, b_registers) +
            ", " + list(14, c_registers) + ";\n";
    for (unsigned i = 0; i < d_registers; ++i)
        body += "st.global.u32 [%rd5+" + std::to_string(4 * i) + "], %r" + std::to_string(40 + i) + ";\n";
    auto outcome = run(body, {1, 32}, in.data(), out.data());
    EXPECT(!outcome.fault);
    if (out != wanted)
        std::fprintf(stderr, "wrong: %s\n", name.c_str());
    EXPECT(out == wanted);
}

} // namespace

int main() {
    for (bool a_rows : {false, true})
        for (bool b_rows : {false, true}) {
            multiply(a_rows, b_rows, false, false);
            multiply(a_rows, b_rows, true, false);
            multiply(a_rows, b_rows, true, true);
        }
    std::puts("four products at once as they should be");
}
