// Every shape of mma: where each lane's elements lie, and what comes of them.
//
// Facts: the layouts are NVIDIA's own as CUTLASS publishes them (cute/atom/mma_traits_sm70, sm75, sm80, sm89
// and sm90), in its notation: a lane's number and an element's number are each taken apart into digits, and
// each digit moves the place by its stride, where a place is row + column * rows. B is given by columns and
// k. Those of 4-bit factors, which it has not, are the PTX ISA's formulas in that notation.
#include <cfenv>
#include <climits>
#include <cmath>
#include <map>

#include "machine.hpp"
#include "reference.hpp"

using namespace soft_test;

namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s64 = std::int64_t;

struct Digit {
    unsigned size, stride;
};
using Digits = std::vector<Digit>;

struct Layout {
    Digits lane, element;

    static unsigned place(const Digits &digits, unsigned number) {
        unsigned at = 0;
        for (const Digit &digit : digits) {
            at += number % digit.size * digit.stride;
            number /= digit.size;
        }
        return at;
    }
    unsigned elements() const {
        unsigned count = 1;
        for (const Digit &digit : element)
            count *= digit.size;
        return count;
    }
    unsigned operator()(unsigned thread, unsigned number) const {
        return place(lane, thread) + place(element, number);
    }
};

// Lanes of a warp in groups of four; those of the four products of m8n8k4, which eight lanes share.
Digits group(unsigned stride) {
    return {{4, stride}, {8, 1}};
}
const Layout eight_rows{group(16), {{2, 8}}}, sixteen_rows{group(32), {{2, 16}, {2, 8}}};
const Layout quad_rows{{{8, 1}}, {{4, 8}}}, quad_columns{{{4, 8}, {2, 4}}, {{4, 1}}},
    quad_halves{{{8, 1}}, {{8, 8}}}, quad_floats{{{2, 1}, {2, 16}, {2, 4}}, {{2, 8}, {2, 2}, {2, 32}}};

struct Shape {
    std::string name;
    std::vector<std::string> factors; // types, of A or B
    std::vector<std::string> sums;
    unsigned m, k;
    Layout a, b;
};

const std::vector<Shape> shapes = {
    {"m16n8k8", {"f16"}, {"f16", "f32"}, 16, 8, sixteen_rows, eight_rows},
    {"m16n8k8", {"bf16"}, {"f32"}, 16, 8, sixteen_rows, eight_rows},
    {"m16n8k16",
     {"f16"},
     {"f16", "f32"},
     16,
     16,
     {group(32), {{2, 16}, {2, 8}, {2, 128}}},
     {group(16), {{2, 8}, {2, 64}}}},
    {"m16n8k16",
     {"bf16"},
     {"f32"},
     16,
     16,
     {group(32), {{2, 16}, {2, 8}, {2, 128}}},
     {group(16), {{2, 8}, {2, 64}}}},
    {"m16n8k4", {"tf32"}, {"f32"}, 16, 4, {group(16), {{2, 8}}}, {group(8), {}}},
    {"m16n8k8", {"tf32"}, {"f32"}, 16, 8, {group(16), {{2, 8}, {2, 64}}}, {group(8), {{2, 32}}}},
    {"m8n8k4", {"f64"}, {"f64"}, 8, 4, {group(8), {}}, {group(8), {}}},
    {"m16n8k4", {"f64"}, {"f64"}, 16, 4, {group(16), {{2, 8}}}, {group(8), {}}},
    {"m16n8k8", {"f64"}, {"f64"}, 16, 8, {group(16), {{2, 8}, {2, 64}}}, {group(8), {{2, 32}}}},
    {"m16n8k16", {"f64"}, {"f64"}, 16, 16, {group(16), {{2, 8}, {4, 64}}}, {group(8), {{4, 32}}}},
    {"m8n8k16", {"s8", "u8"}, {"s32"}, 8, 16, {group(32), {{4, 8}}}, {group(32), {{4, 8}}}},
    {"m16n8k16", {"s8", "u8"}, {"s32"}, 16, 16, {group(64), {{4, 16}, {2, 8}}}, {group(32), {{4, 8}}}},
    {"m16n8k32",
     {"s8", "u8"},
     {"s32"},
     16,
     32,
     {group(64), {{4, 16}, {2, 8}, {2, 256}}},
     {group(32), {{4, 8}, {2, 128}}}},
    {"m16n8k16",
     {"e4m3", "e5m2"},
     {"f16", "f32"},
     16,
     16,
     {group(64), {{4, 16}, {2, 8}}},
     {group(32), {{4, 8}}}},
    {"m16n8k32",
     {"e4m3", "e5m2"},
     {"f16", "f32"},
     16,
     32,
     {group(64), {{4, 16}, {2, 8}, {2, 256}}},
     {group(32), {{4, 8}, {2, 128}}}},
    {"m8n8k32", {"s4", "u4"}, {"s32"}, 8, 32, {group(64), {{8, 8}}}, {group(64), {{8, 8}}}},
    {"m16n8k32", {"s4", "u4"}, {"s32"}, 16, 32, {group(128), {{8, 16}, {2, 8}}}, {group(64), {{8, 8}}}},
    {"m16n8k64",
     {"s4", "u4"},
     {"s32"},
     16,
     64,
     {group(128), {{8, 16}, {2, 8}, {2, 512}}},
     {group(64), {{8, 8}, {2, 256}}}},
    {"m8n8k128", {"b1"}, {"s32"}, 8, 128, {group(256), {{32, 8}}}, {group(256), {{32, 8}}}},
    {"m16n8k128", {"b1"}, {"s32"}, 16, 128, {group(512), {{32, 16}, {2, 8}}}, {group(256), {{32, 8}}}},
    {"m16n8k256",
     {"b1"},
     {"s32"},
     16,
     256,
     {group(512), {{32, 16}, {2, 8}, {2, 2048}}},
     {group(256), {{32, 8}, {2, 1024}}}},
};

unsigned bits_of_type(const std::string &type) {
    static const std::map<std::string, unsigned> bits = {
        {"b1", 1},   {"s4", 4},    {"u4", 4},    {"s8", 8},   {"u8", 8},   {"e4m3", 8}, {"e5m2", 8},
        {"f16", 16}, {"bf16", 16}, {"tf32", 32}, {"f32", 32}, {"s32", 32}, {"f64", 64}};
    return bits.at(type);
}

u64 encoded(const std::string &type, double x) {
    if (type == "f16")
        return Half16::of(x);
    if (type == "bf16")
        return Bfloat16::of(x);
    if (type == "e4m3" || type == "e5m2")
        return small_formats[type == "e5m2"].nearest(x);
    if (type == "f64") {
        u64 bits;
        std::memcpy(&bits, &x, 8);
        return bits;
    }
    if (type == "f32" || type == "tf32") {
        const auto single = static_cast<float>(x);
        u32 bits;
        std::memcpy(&bits, &single, 4);
        return bits;
    }
    return static_cast<u64>(static_cast<s64>(x)) & ((u64{1} << bits_of_type(type)) - 1);
}

/// Numbers that every format here holds, and whose sums of products none rounds: each place has its own.
double drawn(const std::string &type, unsigned place) {
    const unsigned x = (place * 37 + place / 7 * 11) % 251;
    if (type == "b1")
        return x % 2;
    if (type == "u4" || type == "u8")
        return x % (type == "u4" ? 16 : 251);
    if (type == "s4" || type == "s8")
        return static_cast<double>(x % (type == "s4" ? 16 : 251)) - (type == "s4" ? 8 : 125);
    return static_cast<double>(x % 9) - 4; // exact in each float, as are sums of 32 products in f16
}

/// Registers that lanes' elements go into, one after another, and what stands in them.
struct Registers {
    unsigned bits, each, count; // of an element, of a register; registers of a lane
    std::vector<u64> words;     // lane after lane

    Registers(const std::string &type, unsigned elements)
        : bits(bits_of_type(type)), each(bits == 64 ? 64 : 32), count(elements * bits / each),
          words(32 * count) {}
    void put(unsigned lane, unsigned element, u64 value) {
        words[lane * count + element * bits / each] |= value << (element * bits % each);
    }
};

std::string list(const char *name, unsigned first, unsigned count) {
    std::string text = "{";
    for (unsigned i = 0; i < count; ++i)
        text += (i ? ", " : "") + std::string(name) + std::to_string(first + i);
    return text + "}";
}

/// Runs one mma on registers; the results' words.
std::vector<u64> performed(const std::string &instruction, const Registers &a, const Registers &b,
                           const Registers &c, const Registers &d) {
    std::vector<u64> in, out(d.words.size());
    for (unsigned lane = 0; lane < 32; ++lane)
        for (const Registers *part : {&a, &b, &c})
            in.insert(in.end(), part->words.begin() + lane * part->count,
                      part->words.begin() + (lane + 1) * part->count);
    const unsigned all = a.count + b.count + c.count;
    const bool wide = d.each == 64;
    const char *name = wide ? "%rd" : "%r";
    std::string body = "mul.wide.u32 %rd4, %r1, " + std::to_string(8 * all) +
                       "; add.s64 %rd4, %rd4, %rd1;\n" + "mul.wide.u32 %rd5, %r1, " +
                       std::to_string(8 * d.count) + "; add.s64 %rd5, %rd5, %rd2;\n";
    for (unsigned i = 0; i < all; ++i)
        body += std::string("ld.global.b") + (wide ? "64 " : "32 ") + name + std::to_string(10 + i) +
                ", [%rd4+" + std::to_string(8 * i) + "];\n";
    body += instruction + " " + list(name, 40, d.count) + ", " + list(name, 10, a.count) + ", " +
            list(name, 10 + a.count, b.count) + ", " + list(name, 10 + a.count + b.count, c.count) + ";\n";
    for (unsigned i = 0; i < d.count; ++i)
        body += std::string("st.global.b") + (wide ? "64" : "32") + " [%rd5+" + std::to_string(8 * i) +
                "], " + name + std::to_string(40 + i) + ";\n";
    auto outcome = run(body, {1, 32}, in.data(), out.data());
    EXPECT(!outcome.fault);
    return out;
}

void expect_alike(const std::string &instruction, const std::vector<u64> &got,
                  const std::vector<u64> &wanted) {
    if (got != wanted)
        std::fprintf(stderr, "wrong: %s\n", instruction.c_str());
    EXPECT(got == wanted);
}

using Factor = std::function<double(unsigned place)>;
using Product = std::function<double(double c, const std::vector<double> &a, const std::vector<double> &b)>;

/// A product of one shape for the whole warp: `sum` says what comes of a row of A and a column of B.
void multiply(const Shape &shape, const std::string &type_a, const std::string &type_b,
              const std::string &type_c, const std::string &before, const std::string &after,
              const Factor &a_at, const Factor &b_at, const Factor &c_at, const Product &sum) {
    const Layout &sums = shape.m == 16 ? sixteen_rows : eight_rows;
    Registers a(type_a, shape.a.elements()), b(type_b, shape.b.elements()), c(type_c, sums.elements()),
        wanted(type_c, sums.elements());
    for (unsigned lane = 0; lane < 32; ++lane) {
        for (unsigned i = 0; i < shape.a.elements(); ++i)
            a.put(lane, i, encoded(type_a, a_at(shape.a(lane, i))));
        for (unsigned i = 0; i < shape.b.elements(); ++i)
            b.put(lane, i, encoded(type_b, b_at(shape.b(lane, i))));
        for (unsigned i = 0; i < sums.elements(); ++i) {
            const unsigned place = sums(lane, i), row = place % shape.m, column = place / shape.m;
            c.put(lane, i, encoded(type_c, c_at(place)));
            std::vector<double> left, right;
            for (unsigned k = 0; k < shape.k; ++k) {
                left.push_back(a_at(row + k * shape.m));
                right.push_back(b_at(column + k * 8));
            }
            wanted.put(lane, i, encoded(type_c, sum(c_at(place), left, right)));
        }
    }
    const std::string instruction = "mma.sync.aligned." + shape.name + ".row.col" + before + "." + type_c +
                                    "." + type_a + "." + type_b + "." + type_c + after;
    expect_alike(instruction, performed(instruction, a, b, c, wanted), wanted.words);
}

double products(double c, const std::vector<double> &a, const std::vector<double> &b) {
    for (std::size_t k = 0; k < a.size(); ++k)
        c += a[k] * b[k];
    return c;
}

void every_shape() {
    for (const Shape &shape : shapes)
        for (const std::string &type_a : shape.factors)
            for (const std::string &type_b : shape.factors)
                for (const std::string &type_c : shape.sums)
                    for (const std::string &after : type_a == "b1"
                                                        ? std::vector<std::string>{".xor.popc", ".and.popc"}
                                                        : std::vector<std::string>{""}) {
                        const bool exclusive = after == ".xor.popc";
                        multiply(
                            shape, type_a, type_b, type_c, "", after,
                            [&](unsigned place) { return drawn(type_a, place); },
                            [&](unsigned place) { return drawn(type_b, 3 * place + 1); },
                            [](unsigned place) { return static_cast<double>(place % 23) - 11; },
                            [&](double c, const std::vector<double> &a, const std::vector<double> &b) {
                                if (!exclusive)
                                    return products(c, a, b);
                                for (std::size_t k = 0; k < a.size(); ++k)
                                    c += a[k] != b[k];
                                return c;
                            });
                    }
}

/// Sums beyond what 32 bits hold wrap around, or end there.
void whole_sums_wrap_or_end() {
    for (const Shape &shape : shapes) {
        if (shape.sums.front() != "s32" || shape.factors.front() == "b1")
            continue;
        for (const std::string &type_a : shape.factors)
            for (const std::string &type_b : shape.factors)
                for (bool ends : {false, true})
                    multiply(
                        shape, type_a, type_b, "s32", ends ? ".satfinite" : "", "",
                        [&](unsigned place) { return drawn(type_a, place); },
                        [&](unsigned place) { return drawn(type_b, 5 * place + 2); },
                        [](unsigned place) {
                            return place % 3 == 0   ? INT_MAX - static_cast<double>(place % 5)
                                   : place % 3 == 1 ? INT_MIN + static_cast<double>(place % 4)
                                                    : 7;
                        },
                        [&](double c, const std::vector<double> &a, const std::vector<double> &b) {
                            const double exact = products(c, a, b);
                            return ends ? std::min<double>(INT_MAX, std::max<double>(INT_MIN, exact)) : exact;
                        });
    }
}

/// f64 rounds each step as it is told, in the order of k.
void doubles_round() {
    const std::pair<const char *, int> ways[] = {{"", FE_TONEAREST},
                                                 {".rn", FE_TONEAREST},
                                                 {".rz", FE_TOWARDZERO},
                                                 {".rm", FE_DOWNWARD},
                                                 {".rp", FE_UPWARD}};
    for (const Shape &shape : shapes)
        if (shape.factors.front() == "f64")
            for (auto [way, mode] : ways)
                multiply(
                    shape, "f64", "f64", "f64", way, "",
                    [](unsigned place) { return (place % 2 ? -1.0 : 1.0) / (3 + place); },
                    [](unsigned place) { return place % 11 == 0 ? 1e-310 : 1.7 + place / 13.0; },
                    [](unsigned place) { return place % 17 == 0 ? -0.0 : place % 5 / 7.0; },
                    [mode = mode](double c, const std::vector<double> &a, const std::vector<double> &b) {
                        volatile double sum = c;
                        std::fesetround(mode);
                        for (std::size_t k = 0; k < a.size(); ++k) {
                            volatile double left = a[k], right = b[k];
                            sum = std::fma(left, right, sum);
                        }
                        std::fesetround(FE_TONEAREST);
                        return static_cast<double>(sum);
                    });
}

/// All patterns of 8-bit floats, each alone in its row: what has no number, no end, or hardly any size.
void small_floats_of_all_kinds() {
    for (unsigned kind_a : {0u, 1u})
        for (unsigned kind_b : {0u, 1u})
            for (const std::string sum : {"f32", "f16"}) {
                const SmallFormat &a_format = small_formats[kind_a], &b_format = small_formats[kind_b];
                for (unsigned first = 0; first < 256; first += 16) {
                    const Layout a_layout{group(64), {{4, 16}, {2, 8}, {2, 256}}},
                        b_layout{group(32), {{4, 8}, {2, 128}}};
                    Registers a(a_format.name(), 16), b(b_format.name(), 8), c(sum, 4), wanted(sum, 4);
                    auto a_pattern = [&](unsigned row) { return first + row; };
                    auto b_pattern = [&](unsigned column) { return (first * 3 + column * 29 + 56) % 256; };
                    for (unsigned lane = 0; lane < 32; ++lane) {
                        for (unsigned i = 0; i < 16; ++i) // column 5 of A only
                            if (const unsigned place = a_layout(lane, i); place / 16 == 5)
                                a.put(lane, i, a_pattern(place % 16));
                        for (unsigned i = 0; i < 8; ++i)
                            if (const unsigned place = b_layout(lane, i); place / 8 == 5)
                                b.put(lane, i, b_pattern(place % 8));
                        for (unsigned i = 0; i < 4; ++i) {
                            const unsigned place = sixteen_rows(lane, i);
                            c.put(lane, i, encoded(sum, 0.25));
                            const double exact = 0.25 + a_format.number(a_pattern(place % 16)) *
                                                            b_format.number(b_pattern(place / 16));
                            // The sum is a float's before it is a half's.
                            wanted.put(lane, i, encoded(sum, static_cast<float>(exact)));
                        }
                    }
                    const std::string instruction = "mma.sync.aligned.m16n8k32.row.col." + sum + "." +
                                                    a_format.name() + "." + b_format.name() + "." + sum;
                    auto got = performed(instruction, a, b, c, wanted);
                    for (std::size_t i = 0; i < got.size(); ++i) { // any NaN is like another
                        auto none = [&](u64 word, unsigned at) {
                            return sum == "f16" ? (word >> at & 0x7fff) > 0x7c00
                                                : (word & 0x7fffffff) > 0x7f800000;
                        };
                        for (unsigned at = 0; at < 32; at += sum == "f16" ? 16 : 32) {
                            const u64 mask = (sum == "f16" ? u64{0xffff} : u64{0xffffffff}) << at;
                            if (none(got[i], at) && none(wanted.words[i], at))
                                got[i] = (got[i] & ~mask) | (wanted.words[i] & mask);
                        }
                    }
                    expect_alike(instruction, got, wanted.words);
                }
            }
}

/// m8n8k4 of f16: four products, each of eight lanes.
void four_products_at_once() {
    for (bool a_rows : {true, false})
        for (bool b_rows : {true, false})
            for (auto [half_d, half_c] : {std::pair{true, true}, {false, true}, {false, false}}) {
                const Layout &a_layout = a_rows ? quad_rows : quad_columns,
                             &b_layout = b_rows ? quad_columns : quad_rows,
                             &c_layout = half_c ? quad_halves : quad_floats,
                             &d_layout = half_d ? quad_halves : quad_floats;
                const std::string type_c = half_c ? "f16" : "f32", type_d = half_d ? "f16" : "f32";
                Registers a("f16", 4), b("f16", 4), c(type_c, 8), wanted(type_d, 8);
                auto a_at = [](unsigned quad, unsigned place) { return drawn("f16", place + 40 * quad); };
                auto b_at = [](unsigned quad, unsigned place) {
                    return drawn("f16", 5 * place + 70 * quad + 3);
                };
                auto c_at = [](unsigned quad, unsigned place) {
                    return static_cast<double>((place + 3 * quad) % 13) - 6;
                };
                for (unsigned quad = 0; quad < 4; ++quad)
                    for (unsigned member = 0; member < 8; ++member) {
                        const unsigned lane = 4 * quad + member % 4 + member / 4 * 16;
                        for (unsigned i = 0; i < 4; ++i) {
                            a.put(lane, i, encoded("f16", a_at(quad, a_layout(member, i))));
                            b.put(lane, i, encoded("f16", b_at(quad, b_layout(member, i))));
                        }
                        for (unsigned i = 0; i < 8; ++i) {
                            c.put(lane, i, encoded(type_c, c_at(quad, c_layout(member, i))));
                            const unsigned place = d_layout(member, i);
                            double sum = c_at(quad, place);
                            for (unsigned k = 0; k < 4; ++k)
                                sum += a_at(quad, place % 8 + 8 * k) * b_at(quad, place / 8 + 8 * k);
                            wanted.put(lane, i, encoded(type_d, sum));
                        }
                    }
                const std::string instruction = std::string("mma.sync.aligned.m8n8k4.") +
                                                (a_rows ? "row." : "col.") + (b_rows ? "row." : "col.") +
                                                type_d + ".f16.f16." + type_c;
                expect_alike(instruction, performed(instruction, a, b, c, wanted), wanted.words);
            }
}

} // namespace

int main() {
    every_shape();
    whole_sums_wrap_or_end();
    doubles_round();
    small_floats_of_all_kinds();
    four_products_at_once();
    std::puts("layouts as they should be");
}
