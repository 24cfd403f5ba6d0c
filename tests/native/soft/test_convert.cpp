// cvt between integers and floats, by exact arithmetic.
#include <algorithm>
#include <cfenv>
#include <limits>

#include "reference.hpp"
#include "rows.hpp"

using namespace soft_test;

namespace {

std::vector<Row> rows;
using Wide = __int128;

struct Integer {
    const char *name;
    char kind;
    unsigned bits;
    bool is_signed;

    Wide value(u64 word) const {
        u64 cut = bits == 64 ? word : word & ((1ull << bits) - 1);
        return is_signed && (cut >> (bits - 1)) & 1 ? Wide(cut) - (Wide(1) << bits) : Wide(cut);
    }
    Wide least() const { return is_signed ? -(Wide(1) << (bits - 1)) : 0; }
    Wide most() const { return (Wide(1) << (is_signed ? bits - 1 : bits)) - 1; }
};
// 8-bit values stand in 32-bit registers, extended as their type says.
const Integer integers[] = {{"u8", 'r', 8, false},   {"s8", 'r', 8, true},    {"u16", 'h', 16, false},
                            {"s16", 'h', 16, true},  {"u32", 'r', 32, false}, {"s32", 'r', 32, true},
                            {"u64", 'd', 64, false}, {"s64", 'd', 64, true}};

void add_integer_to_integer() {
    for (const Integer &to : integers)
        for (const Integer &from : integers) {
            std::string types = std::string(".") + to.name + "." + from.name;
            rows.push_back({"cvt" + types, {to.kind, from.kind}, [=](u64 a, u64, u64) {
                                return static_cast<u64>(to.value(static_cast<u64>(from.value(a))));
                            }});
            rows.push_back({"cvt.sat" + types, {to.kind, from.kind}, [=](u64 a, u64, u64) {
                                return static_cast<u64>(std::clamp(from.value(a), to.least(), to.most()));
                            }});
        }
}

long double whole_of(long double x, const std::string &mode) {
    return mode == "rni"   ? std::nearbyint(x)
           : mode == "rzi" ? std::trunc(x)
           : mode == "rmi" ? std::floor(x)
                           : std::ceil(x);
}

void add_float_to_integer() {
    for (const Integer &to : integers)
        for (char kind : {'F', 'D', 'H', 'B'})
            for (std::string mode : {"rni", "rzi", "rmi", "rpi"}) {
                std::string from = kind == 'F' ? "f32" : kind == 'D' ? "f64" : kind == 'H' ? "f16" : "bf16";
                rows.push_back({"cvt." + mode + "." + to.name + "." + from,
                                {to.kind, kind},
                                [=](u64 a, u64, u64) -> u64 {
                                    long double x = whole_of(number_of(kind, a), mode);
                                    if (std::isnan(x)) // as the ISA has it: 0, or the sign's bit alone
                                        return kind != 'D' && to.bits < 64 ? 0
                                               : to.is_signed              ? static_cast<u64>(to.least())
                                                                           : u64{1} << (to.bits - 1);
                                    if (x <= static_cast<long double>(to.least()))
                                        return static_cast<u64>(to.least());
                                    if (x >= static_cast<long double>(to.most()))
                                        return static_cast<u64>(to.most());
                                    return static_cast<u64>(static_cast<Wide>(x));
                                }});
            }
}

void add_integer_to_float() {
    for (const Integer &from : integers) {
        for (auto [mode, name] :
             {std::pair{FE_TONEAREST, "rn"}, {FE_TOWARDZERO, "rz"}, {FE_DOWNWARD, "rm"}, {FE_UPWARD, "rp"}}) {
            auto rounded = [mode = mode, from]<class T>(T) {
                return [=](u64 a, u64, u64) {
                    std::fesetround(mode);
                    volatile auto exact =
                        static_cast<long double>(from.value(a)); // 64 bits of fraction: exact
                    volatile T result = static_cast<T>(exact);
                    std::fesetround(FE_TONEAREST);
                    return bits_of<T>(result);
                };
            };
            rows.push_back(
                {std::string("cvt.") + name + ".f32." + from.name, {'F', from.kind}, rounded(0.0f)});
            rows.push_back(
                {std::string("cvt.") + name + ".f64." + from.name, {'D', from.kind}, rounded(0.0)});
        }
        for (auto [rounding, name] : {std::pair{Rounding::nearest, "rn"},
                                      {Rounding::zero, "rz"},
                                      {Rounding::down, "rm"},
                                      {Rounding::up, "rp"}}) {
            auto small = [rounding = rounding, from]<class Small>(Small) {
                return [=](u64 a, u64, u64) {
                    const Wide value = from.value(a);
                    return Small::of(static_cast<__float128>(value), value < 0, rounding);
                };
            };
            const std::string cvt = std::string("cvt.") + name;
            rows.push_back({cvt + ".f16." + from.name, {'H', from.kind}, small(Half16())});
            rows.push_back({cvt + ".bf16." + from.name, {'B', from.kind}, small(Bfloat16())});
        }
    }
}

void add_float_to_float() {
    for (auto [rounding, name, mode] : {std::tuple{Rounding::nearest, "rn", FE_TONEAREST},
                                        {Rounding::zero, "rz", FE_TOWARDZERO},
                                        {Rounding::down, "rm", FE_DOWNWARD},
                                        {Rounding::up, "rp", FE_UPWARD}}) {
        std::string cvt = std::string("cvt.") + name;
        rows.push_back({cvt + ".f32.f64", "FD", [mode = mode](u64 a, u64, u64) {
                            std::fesetround(mode);
                            volatile float r = static_cast<float>(value_of<double>(a));
                            std::fesetround(FE_TONEAREST);
                            return bits_of<float>(r);
                        }});
        rows.push_back({cvt + ".f16.f64", "HD", [rounding = rounding](u64 a, u64, u64) {
                            return Half16::of(number_of('D', a), rounding);
                        }});
        rows.push_back({cvt + ".bf16.f64", "BD", [rounding = rounding](u64 a, u64, u64) {
                            return Bfloat16::of(number_of('D', a), rounding);
                        }});
        rows.push_back({cvt + ".f16.bf16", "HB", [rounding = rounding](u64 a, u64, u64) {
                            return Half16::of(number_of('B', a), rounding);
                        }});
        rows.push_back({cvt + ".f16.f32", "HF", [rounding = rounding](u64 a, u64, u64) {
                            return Half16::of(number_of('F', a), rounding);
                        }});
        rows.push_back({cvt + ".bf16.f32", "BF", [rounding = rounding](u64 a, u64, u64) {
                            return Bfloat16::of(number_of('F', a), rounding);
                        }});
    }
    rows.push_back({"cvt.f32.f16", "FH",
                    [](u64 a, u64, u64) { return bits_of(static_cast<float>(number_of('H', a))); }});
    rows.push_back({"cvt.f32.bf16", "FB", [](u64 a, u64, u64) { return a << 16; }});
    rows.push_back({"cvt.f64.f32", "DF", [](u64 a, u64, u64) { return bits_of(number_of('F', a)); }});
    rows.push_back({"cvt.sat.f32.f32", "FF", [](u64 a, u64, u64) {
                        float x = value_of<float>(a);
                        return bits_of(std::isnan(x) || x <= 0 ? 0.0f : std::min(x, 1.0f));
                    }});
    rows.push_back({"cvt.rni.f32.f32", "FF",
                    [](u64 a, u64, u64) { return bits_of(std::nearbyint(value_of<float>(a))); }});
}

} // namespace

int main() {
    add_integer_to_integer();
    add_float_to_integer();
    add_integer_to_float();
    add_float_to_float();
    return check_all(rows);
}
