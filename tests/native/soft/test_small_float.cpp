// cvt from and to pairs of 8-bit floats, against the nearest of all numbers they have; cvt.pack.
#include <algorithm>
#include <limits>

#include "reference.hpp"
#include "rows.hpp"

using namespace soft_test;

namespace {

double positive(double x) {
    return std::isnan(x) || x > 0 ? x : 0;
}
u64 half_of(double x) {
    return Half16::of(x);
}

std::vector<Row> rows;

void add_small_floats() {
    for (const SmallFormat &format : small_formats)
        for (bool relu : {false, true}) {
            const std::string name = format.pair, modifiers = relu ? ".rn.satfinite.relu." : ".rn.satfinite.";
            auto of = [=](double high, double low) {
                return relu ? format.nearest_pair(positive(high), positive(low))
                            : format.nearest_pair(high, low);
            };
            rows.push_back({"cvt" + modifiers + name + ".f32", "hSS",
                            [=](u64 a, u64 b, u64) { return of(number_of('F', a), number_of('F', b)); }});
            rows.push_back({"cvt" + modifiers + name + ".f16x2", "hT", [=](u64 a, u64, u64) {
                                return of(number_of('H', a >> 16), number_of('H', a & 0xffff));
                            }});
            rows.push_back({std::string("cvt.rn.") + (relu ? "relu." : "") + "f16x2." + name, "Pe",
                            [=](u64 a, u64, u64) {
                                double high = format.number(a >> 8), low = format.number(a & 0xff);
                                if (relu)
                                    high = positive(high), low = positive(low);
                                return half_of(high) << 16 | half_of(low);
                            }});
        }
}

void add_packs() {
    auto clamp = [](u64 x, s64 low, s64 high) {
        return static_cast<u64>(std::clamp<s64>(static_cast<s32>(x), low, high));
    };
    rows.push_back({"cvt.pack.sat.u8.s32.b32", "rrrr",
                    [=](u64 a, u64 b, u64 c) { return c << 16 | clamp(a, 0, 255) << 8 | clamp(b, 0, 255); }});
    rows.push_back({"cvt.pack.sat.s8.s32.b32", "rrrr", [=](u64 a, u64 b, u64 c) {
                        return c << 16 | (clamp(a, -128, 127) & 0xff) << 8 | (clamp(b, -128, 127) & 0xff);
                    }});
    rows.push_back({"cvt.pack.sat.u16.s32", "rrr",
                    [=](u64 a, u64 b, u64) { return clamp(a, 0, 65535) << 16 | clamp(b, 0, 65535); }});
    rows.push_back({"cvt.pack.sat.s16.s32", "rrr", [=](u64 a, u64 b, u64) {
                        return clamp(a, -32768, 32767) << 16 | (clamp(b, -32768, 32767) & 0xffff);
                    }});
}

} // namespace

int main() {
    add_small_floats();
    add_packs();
    return check_all(rows);
}
