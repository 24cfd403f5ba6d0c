// Exchanges between lanes against the ISA's own pseudo code: shfl, vote, match, redux.
#include "machine.hpp"

using namespace soft_test;
using u32 = std::uint32_t;

namespace {

/// The value lane `lane` gets, all lanes having their number times 3, and whether its source was in range.
std::pair<u32, bool> shuffled(const std::string &mode, int lane, int b, int c) {
    const int clamp = c & 31, segment = (c >> 8) & 31;
    const int most = (lane & segment) | (clamp & ~segment), least = lane & segment;
    int from = 0;
    bool inside = false;
    if (mode == "up")
        from = lane - b, inside = from >= most;
    else if (mode == "down")
        from = lane + b, inside = from <= most;
    else if (mode == "bfly")
        from = lane ^ b, inside = from <= most;
    else
        from = least | (b & ~segment), inside = from <= most;
    return {static_cast<u32>(3 * (inside ? from : lane)), inside};
}

void shuffles() {
    for (std::string mode : {"up", "down", "bfly", "idx"})
        for (int width : {32, 16, 8, 4})
            for (int b : {0, 1, 2, 5, 15, 16, 31}) {
                // As CUDA's __shfl_*_sync composes it.
                const int c = ((32 - width) << 8) | (mode == "up" ? 0 : 31);
                auto words = words_of("mul.lo.u32 %r3, %r1, 3; shfl.sync." + mode + ".b32 %r2|%p1, %r3, " +
                                          std::to_string(b) + ", " + std::to_string(c) +
                                          ", 0xffffffff; @%p1 add.s32 %r2, %r2, 1000;",
                                      32);
                for (int lane = 0; lane < 32; ++lane) {
                    auto [value, inside] = shuffled(mode, lane, b, c);
                    EXPECT(words[static_cast<std::size_t>(lane)] == value + (inside ? 1000 : 0));
                }
            }
}

void votes() {
    auto words = words_of("setp.lt.u32 %p1, %r1, 40; vote.sync.ballot.b32 %r2, %p1, 0xffffffff;", 64);
    EXPECT(words[0] == 0xffffffff && words[31] == 0xffffffff && words[32] == 0xff && words[63] == 0xff);
    words = words_of(
        "mov.u32 %r2, 0; setp.lt.u32 %p1, %r1, 40; vote.sync.all.pred %p2, %p1, -1; @%p2 add.s32 %r2, %r2, "
        "1;\n"
        "vote.sync.any.pred %p2, %p1, -1; @%p2 add.s32 %r2, %r2, 2; vote.sync.uni.pred %p2, %p1, -1;\n"
        "@%p2 add.s32 %r2, %r2, 4; vote.sync.any.pred %p2, !%p1, -1; @%p2 add.s32 %r2, %r2, 8;",
        64);
    EXPECT(words[0] == 1 + 2 + 4 && words[40] == 2 + 8);
}

void matches_and_reductions() {
    auto words = words_of("and.b32 %r3, %r1, 3; match.any.sync.b32 %r2, %r3, 0xffffffff;", 32);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == 0x11111111u << (i % 4));
    words = words_of("redux.sync.add.s32 %r2, %r1, 0xffffffff;", 32);
    EXPECT(words[7] == 496);
    words = words_of("sub.s32 %r3, %r1, 16; redux.sync.min.s32 %r2, %r3, 0xffffffff;", 32);
    EXPECT(words[0] == static_cast<u32>(-16));
    words = words_of("sub.s32 %r3, %r1, 16; redux.sync.max.u32 %r2, %r3, 0xffffffff;", 32);
    EXPECT(words[0] == 0xffffffff);
}

/// All ways of reducing, against sums over the lanes; and matches of 64 bits, and of all lanes.
void every_reduction_and_match() {
    auto value = [](u32 i) { return i * 0x9e3779b1u ^ 0x80000000u; };
    auto expect = [&](const std::string &form, auto combine) {
        auto words = words_of("mul.lo.u32 %r3, %r1, 0x9e3779b1; xor.b32 %r3, %r3, 0x80000000; redux.sync." +
                                  form + " %r2, %r3, 0xffffffff;",
                              32);
        u32 total = value(0);
        for (u32 i = 1; i < 32; ++i)
            total = combine(total, value(i));
        for (u32 word : words)
            EXPECT(word == total);
    };
    auto smaller = [](auto a, auto b) { return a < b ? a : b; };
    expect("add.u32", [](u32 a, u32 b) { return a + b; });
    expect("min.u32", smaller);
    expect("max.u32", [](u32 a, u32 b) { return a > b ? a : b; });
    expect("min.s32", [&](u32 a, u32 b) {
        return static_cast<u32>(smaller(static_cast<std::int32_t>(a), static_cast<std::int32_t>(b)));
    });
    expect("max.s32",
           [](u32 a, u32 b) { return static_cast<std::int32_t>(a) > static_cast<std::int32_t>(b) ? a : b; });
    expect("and.b32", [](u32 a, u32 b) { return a & b; });
    expect("or.b32", [](u32 a, u32 b) { return a | b; });
    expect("xor.b32", [](u32 a, u32 b) { return a ^ b; });
    auto words = words_of("and.b32 %r3, %r1, 1; cvt.u64.u32 %rd4, %r3; shl.b64 %rd4, %rd4, 40;\n"
                          "match.any.sync.b64 %r2, %rd4, -1;",
                          32);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == 0x55555555u << (i % 2));
    for (const char *bits : {"32", "64"}) {
        const std::string reg = std::string(bits) == "32" ? "%r5" : "%rd5", type = std::string(".b") + bits;
        words = words_of("mov" + type + " " + reg + ", 7; match.all.sync" + type + " %r2|%p1, " + reg +
                             ", -1; @!%p1 mov.u32 %r2, 5;",
                         32);
        EXPECT(words[9] == 0xffffffff);
        words = words_of("setp.eq.u32 %p2, %r1, 30; mov" + type + " " + reg + ", 7; @%p2 mov" + type + " " +
                             reg + ", 8; match.all.sync" + type + " %r2|%p1, " + reg +
                             ", -1; @!%p1 add.s32 %r2, %r2, 5;",
                         32);
        EXPECT(words[9] == 5 && words[30] == 5);
    }
}

void only_lanes_on_the_way_take_part() {
    auto words = words_of("mov.u32 %r2, 0; setp.lt.u32 %p1, %r1, 12; @%p1 bra A; bra END;\n"
                          "A: setp.lt.u32 %p2, %r1, 50; vote.sync.ballot.b32 %r2, %p2, 0xfff;",
                          32);
    EXPECT(words[0] == 0xfff && words[12] == 0);
}

} // namespace

int main() {
    shuffles();
    votes();
    matches_and_reductions();
    every_reduction_and_match();
    only_lanes_on_the_way_take_part();
    std::puts("exchanges as they should be");
}
