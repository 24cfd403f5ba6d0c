// Floating-point instructions against libm and exact arithmetic.
#include <cfenv>

#include "reference.hpp"
#include "rows.hpp"

using namespace soft_test;

namespace {

std::vector<Row> rows;

float flushed(float x) {
    return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
}
float f(u64 bits) {
    return value_of<float>(bits);
}
double d(u64 bits) {
    return value_of<double>(bits);
}

using Function = std::function<float(float, float, float)>;

/// A row for .f32, one with .ftz, one with .sat and one with both.
void add_single(const std::string &name, unsigned sources, Function function) {
    for (bool ftz : {false, true})
        for (bool sat : {false, true}) {
            auto reference = [=](u64 a, u64 b, u64 c) {
                float r = ftz ? flushed(function(flushed(f(a)), flushed(f(b)), flushed(f(c))))
                              : function(f(a), f(b), f(c));
                if (sat)
                    r = std::isnan(r) || r <= 0 ? 0.0f : std::min(r, 1.0f);
                return bits_of(r);
            };
            std::string text = name + (ftz ? ".ftz" : "") + (sat ? ".sat" : "") + ".f32";
            rows.push_back({text, std::string(sources + 1, 'F'), reference});
        }
}

float lesser(float a, float b, float) {
    return std::isnan(a) ? b : std::isnan(b) ? a : a == b ? (std::signbit(a) ? a : b) : std::min(a, b);
}
float greater(float a, float b, float) {
    return std::isnan(a) ? b : std::isnan(b) ? a : a == b ? (std::signbit(a) ? b : a) : std::max(a, b);
}

void add_singles() {
    add_single("add.rn", 2, [](float a, float b, float) { return a + b; });
    add_single("sub.rn", 2, [](float a, float b, float) { return a - b; });
    add_single("mul.rn", 2, [](float a, float b, float) { return a * b; });
    add_single("fma.rn", 3, [](float a, float b, float c) { return std::fma(a, b, c); });
    for (std::string ftz : {"", ".ftz"}) {
        auto flush = [ftz](u64 a) { return ftz.empty() ? f(a) : flushed(f(a)); };
        rows.push_back({"min" + ftz + ".f32", "FFF",
                        [=](u64 a, u64 b, u64) { return bits_of(lesser(flush(a), flush(b), 0)); }});
        rows.push_back({"max" + ftz + ".f32", "FFF",
                        [=](u64 a, u64 b, u64) { return bits_of(greater(flush(a), flush(b), 0)); }});
        rows.push_back(
            {"abs" + ftz + ".f32", "FF", [=](u64 a, u64, u64) { return bits_of(std::abs(flush(a))); }});
        rows.push_back({"neg" + ftz + ".f32", "FF", [=](u64 a, u64, u64) { return bits_of(-flush(a)); }});
    }
    rows.push_back({"div.rn.f32", "FFF", [](u64 a, u64 b, u64) { return bits_of(f(a) / f(b)); }});
    rows.push_back({"sqrt.rn.f32", "FF", [](u64 a, u64, u64) { return bits_of(std::sqrt(f(a))); }});
    rows.push_back({"rcp.rn.f32", "FF", [](u64 a, u64, u64) { return bits_of(1.0f / f(a)); }});
    rows.push_back(
        {"copysign.f32", "FFF", [](u64 a, u64 b, u64) { return bits_of(std::copysign(f(b), f(a))); }});
    for (auto [mode, name] : {std::pair{FE_TOWARDZERO, "rz"}, {FE_DOWNWARD, "rm"}, {FE_UPWARD, "rp"}}) {
        auto rounded = [mode = mode](auto compute) {
            return [=](u64 a, u64 b, u64 c) {
                std::fesetround(mode);
                volatile float x = f(a), y = f(b), z = f(c);
                volatile float r = compute(x, y, z);
                std::fesetround(FE_TONEAREST);
                return bits_of<float>(r);
            };
        };
        rows.push_back({std::string("add.") + name + ".f32", "FFF",
                        rounded([](float a, float b, float) { return a + b; })});
        rows.push_back({std::string("mul.") + name + ".f32", "FFF",
                        rounded([](float a, float b, float) { return a * b; })});
        rows.push_back({std::string("div.") + name + ".f32", "FFF",
                        rounded([](float a, float b, float) { return a / b; })});
    }
}

void add_doubles() {
    rows.push_back({"add.rn.f64", "DDD", [](u64 a, u64 b, u64) { return bits_of(d(a) + d(b)); }});
    rows.push_back({"mul.rn.f64", "DDD", [](u64 a, u64 b, u64) { return bits_of(d(a) * d(b)); }});
    rows.push_back({"div.rn.f64", "DDD", [](u64 a, u64 b, u64) { return bits_of(d(a) / d(b)); }});
    rows.push_back(
        {"fma.rn.f64", "DDDD", [](u64 a, u64 b, u64 c) { return bits_of(std::fma(d(a), d(b), d(c))); }});
    rows.push_back({"sqrt.rn.f64", "DD", [](u64 a, u64, u64) { return bits_of(std::sqrt(d(a))); }});
}

/// 2^x and the others within the ISA's bounds, or a little more where it gives an absolute one.
void add_approximations() {
    rows.push_back(
        {"ex2.approx.f32", "FF", [](u64 a, u64, u64) { return bits_of(std::exp2(f(a))); }, 2.5e-7});
    rows.push_back(
        {"lg2.approx.f32", "FF", [](u64 a, u64, u64) { return bits_of(std::log2(f(a))); }, 2.5e-7});
    rows.push_back({"rcp.approx.f32", "FF", [](u64 a, u64, u64) { return bits_of(1 / f(a)); }, 1.2e-7});
    rows.push_back(
        {"rsqrt.approx.f32", "FF", [](u64 a, u64, u64) { return bits_of(1 / std::sqrt(f(a))); }, 2.5e-7});
    rows.push_back({"rcp.approx.ftz.f32", "FF",
                    [](u64 a, u64, u64) { return bits_of(flushed(1 / flushed(f(a)))); }, 1.2e-7});
    rows.push_back({"sin.approx.f32", "FF", [](u64 a, u64, u64) { return bits_of(std::sin(f(a))); }, 1e-6});
    rows.push_back({"cos.approx.f32", "FF", [](u64 a, u64, u64) { return bits_of(std::cos(f(a))); }, 1e-6});
    rows.push_back({"tanh.approx.f32", "FF", [](u64 a, u64, u64) { return bits_of(std::tanh(f(a))); }, 5e-4});
}

/// Each half of a pair as the instruction on one does: its reference is that row's, which is tested itself.
void add_pairs(const std::string &type) {
    const std::size_t count = rows.size();
    for (std::size_t i = 0; i < count; ++i) {
        const std::string name = rows[i].instruction;
        if (!name.ends_with("." + type) || name.starts_with("setp"))
            continue;
        auto one = rows[i].reference;
        rows.push_back({name + "x2", std::string(rows[i].kinds.size(), type == "f16" ? 'P' : 'Q'),
                        [one](u64 a, u64 b, u64 c) {
                            u64 low = one(a & 0xffff, b & 0xffff, c & 0xffff) & 0xffff;
                            return low | (one(a >> 16, b >> 16, c >> 16) & 0xffff) << 16;
                        }});
    }
}

template <class Half> void add_halves(const std::string &type, char kind) {
    using Wide = __float128;
    auto add = [&](const std::string &name, unsigned sources, auto compute) {
        rows.push_back({name + "." + type, std::string(sources + 1, kind), [=](u64 a, u64 b, u64 c) {
                            double x = number_of(kind, a), y = number_of(kind, b), z = number_of(kind, c);
                            double plain = compute(x, y, z);
                            if (std::isnan(plain) || std::isinf(plain))
                                return Half::of(plain);
                            return Half::of(
                                compute(static_cast<Wide>(x), static_cast<Wide>(y), static_cast<Wide>(z)),
                                std::signbit(plain));
                        }});
    };
    add("add.rn", 2, [](auto a, auto b, auto) { return a + b; });
    add("sub.rn", 2, [](auto a, auto b, auto) { return a - b; });
    add("mul.rn", 2, [](auto a, auto b, auto) { return a * b; });
    add("fma.rn", 3, [](auto a, auto b, auto c) { return fused(a, b, c); });
    rows.push_back({"neg." + type, {kind, kind}, [](u64 a, u64, u64) { return a ^ 0x8000; }});
    rows.push_back({"abs." + type, {kind, kind}, [](u64 a, u64, u64) { return a & 0x7fff; }});
    auto extreme = [=](bool greatest) {
        return [=](u64 a, u64 b, u64) {
            auto x = static_cast<float>(number_of(kind, a)), y = static_cast<float>(number_of(kind, b));
            return Half::of(static_cast<double>(greatest ? greater(x, y, 0) : lesser(x, y, 0)));
        };
    };
    rows.push_back({"min." + type, std::string(3, kind), extreme(false)});
    rows.push_back({"max." + type, std::string(3, kind), extreme(true)});
}

void add_comparisons() {
    for (std::string op :
         {"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"}) {
        auto holds = [op](double a, double b) -> u64 {
            const bool unordered = std::isnan(a) || std::isnan(b);
            if (op == "num" || op == "nan")
                return unordered == (op == "nan");
            if (unordered)
                return op.size() == 3;
            std::string base = op.substr(0, 2);
            return base == "eq"   ? a == b
                   : base == "ne" ? a != b
                   : base == "lt" ? a < b
                   : base == "le" ? a <= b
                   : base == "gt" ? a > b
                                  : a >= b;
        };
        rows.push_back({"setp." + op + ".f32", "pFF", [=](u64 a, u64 b, u64) { return holds(f(a), f(b)); }});
        rows.push_back({"setp." + op + ".f64", "pDD", [=](u64 a, u64 b, u64) { return holds(d(a), d(b)); }});
        rows.push_back({"setp." + op + ".f16", "pHH",
                        [=](u64 a, u64 b, u64) { return holds(number_of('H', a), number_of('H', b)); }});
        rows.push_back({"setp." + op + ".ftz.f32", "pFF",
                        [=](u64 a, u64 b, u64) { return holds(flushed(f(a)), flushed(f(b))); }});
    }
}

} // namespace

int main() {
    add_singles();
    add_doubles();
    add_approximations();
    add_halves<Half16>("f16", 'H');
    add_halves<Bfloat16>("bf16", 'B');
    add_pairs("f16");
    add_pairs("bf16");
    add_comparisons();
    return check_all(rows);
}
