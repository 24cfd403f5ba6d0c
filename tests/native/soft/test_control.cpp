// Divergence and where it ends, barriers, atomics across blocks.
#include <numeric>
#include <sched.h>
#include <thread>

#include "machine.hpp"

using namespace soft_test;
using u32 = std::uint32_t;

namespace {

void two_ways_meet_again() {
    auto words = words_of("and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 0;\n"
                          "@%p1 bra EVEN; mov.u32 %r2, 100; bra JOIN;\n"
                          "EVEN: mov.u32 %r2, 200;\n"
                          "JOIN: activemask.b32 %r4; popc.b32 %r4, %r4; add.s32 %r2, %r2, %r4;",
                          40);
    for (u32 i = 0; i < 40; ++i)
        EXPECT(words[i] == (i % 2 ? 100u : 200u) + (i < 32 ? 32 : 8));
}

void nested_ways_meet_at_their_own_places() {
    auto words = words_of(
        "mov.u32 %r2, 0; setp.lt.u32 %p1, %r1, 16; setp.lt.u32 %p2, %r1, 8; setp.lt.u32 %p3, %r1, 24;\n"
        "@%p1 bra LOW;\n"
        "@%p3 bra B; add.s32 %r2, %r2, 1000; bra HIGH;\nB: add.s32 %r2, %r2, 2000;\n"
        "HIGH: activemask.b32 %r4; popc.b32 %r4, %r4; add.s32 %r2, %r2, %r4; bra ALL;\n"
        "LOW: @%p2 bra C; add.s32 %r2, %r2, 3000; bra LOWS;\nC: add.s32 %r2, %r2, 4000;\n"
        "LOWS: activemask.b32 %r4; popc.b32 %r4, %r4; add.s32 %r2, %r2, %r4;\n"
        "ALL: activemask.b32 %r4; popc.b32 %r4, %r4; mul.lo.u32 %r4, %r4, 10000; add.s32 %r2, %r2, %r4;",
        32);
    const u32 parts[] = {4000, 3000, 2000, 1000};
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == parts[i / 8] + 16 + 320000);
}

void lanes_leave_a_loop_one_by_one() {
    // Each lane sums 1..tid, and a loop within runs tid % 3 times more.
    auto words = words_of(
        "mov.u32 %r2, 0; mov.u32 %r3, 0; rem.u32 %r5, %r1, 3;\n"
        "LOOP: setp.ge.u32 %p1, %r3, %r1; @%p1 bra DONE;\n"
        "add.s32 %r3, %r3, 1; add.s32 %r2, %r2, %r3; mov.u32 %r4, 0;\n"
        "INNER: setp.ge.u32 %p2, %r4, %r5; @%p2 bra LOOP; add.s32 %r4, %r4, 1; add.s32 %r2, %r2, 1000;\n"
        "bra INNER;\n"
        "DONE: activemask.b32 %r6; setp.ne.u32 %p3, %r6, -1; @%p3 mov.u32 %r2, 0;",
        64);
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == i * (i + 1) / 2 + 1000 * i * (i % 3));
}

void a_loop_with_two_exits_and_an_early_return() {
    std::vector<u32> words(32, 7);
    auto outcome = run("mov.u32 %r2, 0;\nmul.wide.u32 %rd5, %r1, 4; add.s64 %rd5, %rd5, %rd1;\n"
                       "setp.eq.u32 %p1, %r1, 5; @%p1 ret;\n"
                       "L: add.s32 %r2, %r2, 1; setp.eq.u32 %p2, %r2, %r1; @%p2 bra OUT;\n"
                       "setp.gt.u32 %p3, %r2, 20; @%p3 exit; bra L;\n"
                       "OUT: activemask.b32 %r3; st.global.u32 [%rd5], %r3;",
                       {1, 32}, words.data());
    EXPECT(!outcome.fault);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(i == 0 || i == 5 || i > 21 ? words[i] == 7 : words[i] != 7);
}

void a_called_function_returns_from_where_lanes_part() {
    const char *function =
        ".func (.param .b32 out) pick(.param .b32 in)\n{\n.reg .pred %p<2>; .reg .b32 %r<4>;\n"
        "ld.param.b32 %r1, [in]; setp.lt.u32 %p1, %r1, 10; @%p1 bra SMALL;\n"
        "st.param.b32 [out], 1; ret;\nSMALL: st.param.b32 [out], %r1; ret;\n}\n";
    auto words = words_of("{ .param .b32 a; .param .b32 b; st.param.b32 [a], %r1;\n"
                          "call.uni (b), pick, (a); ld.param.b32 %r2, [b]; }",
                          32, function);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == (i < 10 ? i : 1));
}

void a_barrier_makes_shared_memory_seen() {
    auto words =
        words_of("mov.u32 %r3, tile; shl.b32 %r4, %r1, 2; add.s32 %r4, %r4, %r3; st.shared.u32 [%r4], %r1;\n"
                 "bar.sync 0; sub.s32 %r5, 255, %r1; shl.b32 %r5, %r5, 2; add.s32 %r5, %r5, %r3;\n"
                 "ld.shared.u32 %r2, [%r5]; bar.sync 0;",
                 256, ".shared .align 4 .b8 tile[1024];");
    for (u32 i = 0; i < 256; ++i)
        EXPECT(words[i] == 255 - i);
}

/// As ggml's block_reduce does it twice in a row: what all warps read behind the barrier, the first lane of
/// each writes over with no barrier in between, which on a GPU comes later.
void what_is_read_behind_a_barrier_is_read_before_another_warp_writes_it() {
    auto words =
        words_of("and.b32 %r3, %r1, 31; shr.u32 %r4, %r1, 5; shl.b32 %r4, %r4, 2; mov.u32 %r5, sums;\n"
                 "add.s32 %r4, %r4, %r5; setp.ne.u32 %p1, %r3, 0; add.s32 %r6, %r1, 1;\n"
                 "@%p1 bra A; st.shared.u32 [%r4], %r6;\nA: bar.sync 0;\n"
                 "shl.b32 %r7, %r3, 2; add.s32 %r7, %r7, %r5; mov.u32 %r8, 0;\n"
                 "setp.ge.u32 %p2, %r3, 4; @%p2 bra B; ld.shared.u32 %r8, [%r7];\n"
                 "B: redux.sync.add.u32 %r8, %r8, -1; @%p1 bra C; st.shared.u32 [%r4], %r8;\n"
                 "C: bar.sync 0; mov.u32 %r2, 0; @%p2 bra D; ld.shared.u32 %r2, [%r7];\n"
                 "D: redux.sync.add.u32 %r2, %r2, -1; mad.lo.u32 %r2, %r2, 1000, %r8;",
                 128, ".shared .align 4 .b8 sums[128];");
    for (u32 word : words) // 1 + 33 + 65 + 97, and that four times
        EXPECT(word == 196 + 1000 * 4 * 196);
}

/// The first warp reads and writes between two barriers, the others come to the second one at once, or never.
void warps_that_come_by_other_ways_are_not_waited_for_before_a_write() {
    auto words =
        words_of("mov.u32 %r3, word; mov.u32 %r2, 5; setp.ge.u32 %p1, %r1, 32; setp.ge.u32 %p2, %r1, 96;\n"
                 "st.shared.u32 [%r3], 7; @%p2 bra END; @%p1 bra REST;\n"
                 "bar.sync 0; ld.shared.u32 %r2, [%r3]; add.s32 %r2, %r2, 1; st.shared.u32 [%r3], %r2;\n"
                 "bar.sync 0; bra END;\nREST: bar.sync 0; bar.sync 0; ld.shared.u32 %r2, [%r3];",
                 128, ".shared .align 4 .b32 word;");
    for (u32 i = 0; i < 128; ++i)
        EXPECT(words[i] == (i < 96 ? 8 : 5));
}

void a_barrier_reduces_votes() {
    auto words = words_of("setp.lt.u32 %p1, %r1, 70; bar.red.popc.u32 %r2, 0, %p1;\n"
                          "bar.red.or.pred %p2, 0, %p1; @%p2 add.s32 %r2, %r2, 1000;\n"
                          "bar.red.and.pred %p3, 0, %p1; @%p3 add.s32 %r2, %r2, 5000;\n"
                          "bar.red.and.pred %p3, 0, !%p1; @%p3 add.s32 %r2, %r2, 5000;",
                          96);
    for (u32 word : words)
        EXPECT(word == 1070);
}

void a_barrier_may_be_for_some_warps_only() {
    // Warps 0 and 1 meet at barrier 1 of 64 threads; warp 2 meets all at barrier 0 later.
    auto words = words_of("mov.u32 %r3, word; mov.u32 %r2, 0; setp.ge.u32 %p1, %r1, 64; @%p1 bra REST;\n"
                          "setp.eq.u32 %p2, %r1, 40; @%p2 st.shared.u32 [%r3], 77; bar.sync 1, 64;\n"
                          "ld.shared.u32 %r2, [%r3];\nREST: bar.sync 0;",
                          96, ".shared .align 4 .b32 word;");
    for (u32 i = 0; i < 96; ++i)
        EXPECT(words[i] == (i < 64 ? 77 : 0));
}

/// Each way stores before its barrier what the other loads behind it.
void lanes_that_come_to_a_barrier_on_different_ways_wait_for_one_another() {
    auto words = words_of(
        "mov.u32 %r3, tile; shl.b32 %r4, %r1, 2; add.s32 %r4, %r4, %r3; xor.b32 %r5, %r1, 16;\n"
        "shl.b32 %r5, %r5, 2; add.s32 %r5, %r5, %r3; and.b32 %r6, %r1, 16; setp.eq.u32 %p1, %r6, 0;\n"
        "@%p1 bra LOW; st.shared.u32 [%r4], %r1; bar.sync 0; ld.shared.u32 %r2, [%r5]; bra MET;\n"
        "LOW: add.s32 %r7, %r1, 1000; st.shared.u32 [%r4], %r7; bar.sync 0; ld.shared.u32 %r2, [%r5];\n"
        "MET: activemask.b32 %r8; setp.ne.u32 %p2, %r8, -1; @%p2 mov.u32 %r2, 0; bar.sync 0;",
        96, ".shared .align 4 .b8 tile[384];");
    for (u32 i = 0; i < 96; ++i)
        EXPECT(words[i] == (i & 16 ? (i ^ 16) + 1000 : i ^ 16));
}

/// Two loops of which neither knows the other, in step by their barriers; their counters are alike in all
/// lanes.
void two_ways_go_in_step_by_their_barriers() {
    auto loop = [](const std::string &label) {
        return label + ": mad.lo.u32 %r9, %r7, 100, %r1; st.shared.u32 [%r4], %r9; bar.sync 0;\n" +
               "ld.shared.u32 %r9, [%r5]; add.u32 %r2, %r2, %r9; bar.sync 0; add.u32 %r7, %r7, 1;\n" +
               "setp.lt.u32 %p2, %r7, 5; @%p2 bra " + label + ";\n";
    };
    auto words = words_of("mov.u32 %r3, tile; shl.b32 %r4, %r1, 2; add.s32 %r4, %r4, %r3;\n"
                          "xor.b32 %r5, %r1, 16; shl.b32 %r5, %r5, 2; add.s32 %r5, %r5, %r3;\n"
                          "mov.u32 %r2, 0; mov.u32 %r7, 0; and.b32 %r6, %r1, 16; setp.eq.u32 %p1, %r6, 0;\n"
                          "@%p1 bra LOW;\n" +
                              loop("HIGH") + "bra MET;\n" + loop("LOW") + "MET: add.u32 %r2, %r2, %r7;",
                          96, ".shared .align 4 .b8 tile[384];");
    for (u32 i = 0; i < 96; ++i)
        EXPECT(words[i] == 1000 + 5 * (i ^ 16) + 5);
}

/// Lane by lane out of a loop, each to the same barrier; the last has stored what all load.
void lanes_that_come_to_one_barrier_one_by_one_meet_there() {
    auto words = words_of("mov.u32 %r3, word; mov.u32 %r4, 0; setp.gt.u32 %p3, %r1, 15;\n"
                          "LOOP: add.s32 %r4, %r4, 1; setp.le.u32 %p1, %r4, %r1; @%p1 bra LOOP;\n"
                          "@%p3 bra HIGH; bar.sync 0; bra SEEN;\n"
                          "HIGH: st.shared.u32 [%r3], %r4; bar.sync 0;\n"
                          "SEEN: ld.shared.u32 %r2, [%r3];",
                          32, ".shared .align 4 .b32 word;");
    for (u32 word : words)
        EXPECT(word == 32);
}

/// The others of a warp need no barrier: they end, or come to a later one of the same number.
void lanes_that_wait_do_not_hold_up_those_that_do_not() {
    auto words = words_of("setp.lt.u32 %p1, %r1, 5; @!%p1 bra REST;\n"
                          "bar.red.popc.u32 %r2, 0, %p1; bra END;\n"
                          "REST: setp.lt.u32 %p2, %r1, 9; mov.u32 %r2, 7; @%p2 bra END;\n"
                          "bar.red.popc.u32 %r2, 0, %p1;",
                          40);
    for (u32 i = 0; i < 40; ++i)
        EXPECT(words[i] == (i >= 5 && i < 9 ? 7 : 5));
    std::vector<u32> one(1);
    auto outcome = run("setp.eq.u32 %p1, %r1, 3; @%p1 bar.sync 1, 64;", {1, 32}, one.data());
    EXPECT(outcome.fault && outcome.fault->kind == soft::FaultKind::timeout && outcome.fault->thread[0] == 3);
}

/// Producers arrive and go on, consumers wait: of every name that a barrier has.
void some_arrive_and_others_wait() {
    for (const char *name : {"bar", "bar.cta", "barrier", "barrier.cta"}) {
        const std::string n = name, sync = n.starts_with("barrier") ? ".sync.aligned" : ".sync",
                          arrive = n.starts_with("barrier") ? ".arrive.aligned" : ".arrive";
        auto words = words_of("mov.u32 %r3, word; mov.u32 %r2, 1; setp.ge.u32 %p1, %r1, 32; @%p1 bra WAIT;\n"
                              "st.shared.u32 [%r3], 77; membar.cta; " +
                                  n + arrive +
                                  " 3, 64; bra DONE;\n"
                                  "WAIT: " +
                                  n + sync + " 3, 64; ld.shared.u32 %r2, [%r3];\nDONE: " + n + sync + " 0;",
                              64, ".shared .align 4 .b32 word;");
        for (u32 i = 0; i < 64; ++i)
            EXPECT(words[i] == (i < 32 ? 1 : 77));
        const std::string red = n.starts_with("barrier") ? ".red" : ".red";
        words = words_of("setp.lt.u32 %p1, %r1, 70; " + n + red + ".popc.u32 %r2, 1, %p1;\n" + n + red +
                             ".and.pred %p2, 1, 96, %p1; @%p2 add.s32 %r2, %r2, 1000; " + n + red +
                             ".or.pred %p2, 1, %p1; @%p2 add.s32 %r2, %r2, 2000;\nbar.warp.sync 0xffffffff; "
                             "barrier.sync 2;",
                         96);
        for (u32 word : words)
            EXPECT(word == 2070);
    }
}

void what_a_function_gives_back_uniformly() {
    const char *function =
        ".func (.param .b32 out) twice(.param .b32 in)\n{\n.reg .b32 %r<4>;\n"
        "ld.param.b32 %r1, [in]; shl.b32 %r1, %r1, 1; st.param.b32 [out], %r1; ret.uni;\n}\n";
    auto words = words_of("{ .param .b32 a; .param .b32 b; st.param.b32 [a], %r1;\n"
                          "call.uni (b), twice, (a); ld.param.b32 %r2, [b]; } bra.uni ON; trap; ON:",
                          32, function);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == 2 * i);
}

void constants_and_parameters_have_addresses() {
    auto words = words_of(
        "cvta.to.global.u64 %rd7, %rd2; cvta.to.const.u64 %rd4, %rd7; cvta.const.u64 %rd5, %rd4; "
        "isspacep.const %p1, %rd5;\n"
        "ld.param.u64 %rd6, [p1]; setp.eq.u64 %p2, %rd6, %rd1; mov.u32 %r2, 3; @%p2 add.s32 %r2, %r2, 4;\n"
        "activemask.b32 %r3; setp.eq.u32 %p3, %r3, -1; @%p3 add.s32 %r2, %r2, 8;",
        32);
    for (u32 word : words)
        EXPECT(word == 15);
}

void a_parameter_is_read_again_by_some_lanes() {
    std::vector<u32> words(64);
    const auto outcome =
        run("mov.u32 %r2, 1; setp.gt.u32 %p1, %r1, 40; @%p1 ld.param.u32 %r2, [p2];\n"
            "@!%p1 ld.param.s16 %r2, [p2+2]; ld.param.u16 %h1, [p2]; @%p1 bra ON;\n"
            "ld.param.u16 %h1, [p2+4]; ON: cvt.u32.u16 %r3, %h1; add.u32 %r2, %r2, %r3;\n"
            "mul.wide.u32 %rd60, %r1, 4; add.s64 %rd60, %rd60, %rd1; st.global.u32 [%rd60], %r2;",
            {1, 64}, words.data(), reinterpret_cast<void *>(0x1234fff01002));
    EXPECT(!outcome.fault);
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == (i > 40 ? 0xfff01002 + 0x1002 : 0xfffffff0 + 0x1234));
}

void warps_that_ended_are_not_waited_for() {
    auto words =
        words_of("mov.u32 %r2, 5; setp.ge.u32 %p1, %r1, 32; @%p1 exit; bar.sync 0; mov.u32 %r2, 6;", 64);
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == (i < 32 ? 6 : 0xdddddddd));
}

void one_warp_goes_on_by_itself_while_the_others_go_on_together() {
    // 32-bit sums wrap in half of warp 1's lanes: compiled code gives it up between two barriers, in each
    // block. Warp 3 ends before the second one, and lane 5 of warp 2 stores on a way of its own.
    constexpr u32 blocks = 3, threads = 128;
    std::vector<u32> words(blocks * threads, 0xdddddddd);
    auto outcome = run_text(
        kernel_text("shl.b32 %r3, %r1, 2; mov.u32 %r4, tile; add.s32 %r5, %r4, %r3; mov.u32 %r6, %ctaid.x;\n"
                    "mad.lo.u32 %r7, %r6, 128, %r1; mul.wide.u32 %rd4, %r7, 4; add.s64 %rd4, %rd4, %rd1;\n"
                    "st.shared.u32 [%r5], %r7; bar.sync 0; xor.b32 %r8, %r3, 256; add.s32 %r8, %r8, %r4;\n"
                    "ld.shared.u32 %r9, [%r8]; add.s32 %r10, %r1, 0x7fffffd0; cvt.s64.s32 %rd5, %r10;\n"
                    "shr.u64 %rd6, %rd5, 63; cvt.u32.u64 %r11, %rd6; mad.lo.u32 %r9, %r11, 1000, %r9;\n"
                    "setp.ge.u32 %p1, %r1, 96; @%p1 bra LAST; setp.ne.u32 %p2, %r1, 69; @%p2 bra ALL;\n"
                    "add.u32 %r9, %r9, 50000;\nALL: st.shared.u32 [%r5+512], %r9; bar.sync 0;\n"
                    "xor.b32 %r8, %r3, 4; add.s32 %r8, %r8, %r4; ld.shared.u32 %r9, [%r8+512];\n"
                    "LAST: st.global.u32 [%rd4], %r9;",
                    ".shared .align 4 .b8 tile[1024];"),
        {blocks, threads}, words.data());
    EXPECT(!outcome.fault);
    for (u32 i = 0; i < blocks * threads; ++i) {
        const u32 block = i / threads * threads, thread = i % threads;
        const u32 from = thread < 96 ? thread ^ 1 : thread; // whose word it stores
        EXPECT(words[i] == block + (from ^ 64) + (from >= 48 ? 1000 : 0) + (from == 69 ? 50000 : 0));
    }
}

void blocks_on_many_threads_share_atomics() {
    constexpr u32 blocks = 300, threads = 96;
    struct {
        u32 sum, most, next, swapped;
        float total;
        u32 taken[blocks * threads];
    } memory = {};
    memory.swapped = 0xffffffff;
    auto text = kernel_text(
        "mov.u32 %r3, %ctaid.x; mov.u32 %r4, %ntid.x; mad.lo.u32 %r5, %r3, %r4, %r1;\n"
        "red.global.add.u32 [%rd1], %r5; red.global.max.u32 [%rd1+4], %r5;\n"
        "atom.global.add.u32 %r6, [%rd1+8], 1; mul.wide.u32 %rd5, %r6, 4; add.s64 %rd5, %rd5, %rd1;\n"
        "st.global.u32 [%rd5+20], 1; atom.global.cas.b32 %r7, [%rd1+12], 0xffffffff, %r5;\n"
        "mov.f32 %f1, 0f3F800000; red.global.add.f32 [%rd1+16], %f1;");
    for (unsigned host_threads : {1u, 4u}) {
        memory = {};
        memory.swapped = 0xffffffff;
        auto outcome = run_text(text, {blocks, threads}, &memory, nullptr, nullptr, host_threads);
        EXPECT(!outcome.fault);
        const u32 all = blocks * threads;
        EXPECT(memory.sum == static_cast<u32>(static_cast<std::uint64_t>(all) * (all - 1) / 2));
        EXPECT(memory.most == all - 1 && memory.next == all && memory.swapped < all);
        EXPECT(memory.total == static_cast<float>(all));
        for (u32 taken : memory.taken)
            EXPECT(taken == 1);
    }
}

/// As cooperative groups do it: one thread of a block counts in, and spins until all have.
void blocks_of_a_cooperative_launch_wait_for_one_another() {
    constexpr u32 blocks = 24, threads = 64;
    std::vector<u32> words(blocks * threads + 1);
    soft::GridWorkspace workspace;
    const std::string text = kernel_text(
        "mov.u32 %r10, %envreg2; mov.u32 %r11, %envreg1; cvt.u64.u32 %rd10, %r10; cvt.u64.u32 %rd11, %r11;\n"
        "bfi.b64 %rd12, %rd11, %rd10, 32, 32; mov.u32 %r3, %ctaid.x; mov.u32 %r4, %nctaid.x;\n"
        "setp.ne.u32 %p1, %r1, 0; red.global.add.u32 [%rd1], 1; bar.sync 0; @%p1 bra MEET;\n"
        "atom.add.release.gpu.u32 %r5, [%rd12+4], 1;\n"
        "SPIN: ld.acquire.gpu.u32 %r6, [%rd12+4]; setp.lt.u32 %p2, %r6, %r4; @%p2 bra SPIN;\n"
        "MEET: bar.sync 0; ld.volatile.global.u32 %r7, [%rd1]; mad.lo.u32 %r8, %r3, 64, %r1;\n"
        "mul.wide.u32 %rd4, %r8, 4; add.s64 %rd4, %rd4, %rd1; st.global.u32 [%rd4+4], %r7;");
    ptx::Module module(text);
    Performed::note(module);
    auto program = soft::lower(module, "k", [](const std::string &) { return std::uint64_t(0); });
    soft::Launch launch;
    launch.grid[0] = blocks;
    launch.block[0] = threads;
    launch.workspace = &workspace;
    launch.seconds = 60;
    void *parameters[] = {words.data(), nullptr, nullptr};
    launch.parameters.resize(sizeof parameters);
    std::memcpy(launch.parameters.data(), parameters, sizeof parameters);
#ifdef __SANITIZE_THREAD__ // a kernel's loads are plain ones of the host: TSan calls its spinning a race
    soft::Executor executor(1);
#else
    soft::Executor executor(2);
#endif
    const auto fault = executor.run(*program, launch);
    EXPECT(!fault);
    for (u32 seen : words)
        EXPECT(seen == blocks * threads); // what every block did before is there after
}

/// An early return on one way, jumped around or to, is no reason for those who go on to stay apart.
void lanes_meet_again_though_some_may_have_returned() {
    for (const char *returns : {"@%p2 bra ON; ret; ON:", "@!%p2 bra DONE;"})
        for (u32 some : {0u, 5u}) { // whether any does return
            auto words =
                words_of("mov.u32 %r2, 7; setp.lt.u32 %p1, %r1, 16; setp.ge.u32 %p2, %r1, " +
                             std::to_string(some) + ";\n@!%p1 bra MET;\n" + returns +
                             "\nadd.s32 %r1, %r1, 0;\nMET: vote.sync.ballot.b32 %r2, 1, -1; bra END;\n"
                             "DONE: ret;",
                         32);
            for (u32 i = some; i < 32; ++i)
                EXPECT(words[i] == 0xffffffff << some);
        }
    auto words = words_of("mov.u32 %r2, 0; mov.u32 %r3, 0;\n" // leaves the loop, or the kernel, lane by lane
                          "LOOP: setp.eq.u32 %p1, %r3, %r1; @%p1 bra LEFT;\n"
                          "add.s32 %r4, %r1, -24; setp.eq.u32 %p2, %r3, %r4; @%p2 bra DONE;\n"
                          "add.s32 %r3, %r3, 1; bra LOOP;\n"
                          "LEFT: vote.sync.ballot.b32 %r2, 1, -1; bra END;\nDONE: ret;",
                          32);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == (i < 24 ? 0x00ffffff : 0xdddddddd));
}

/// Both results of a comparison are written by what the guard was before.
void a_comparison_may_write_its_own_guard() {
    auto words = words_of("and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; setp.ne.u32 %p2, %r3, 7;\n"
                          "@!%p1 setp.lt.u32 %p1|%p2, %r1, 40;\n"
                          "selp.b32 %r4, 1, 0, %p1; selp.b32 %r5, 2, 0, %p2; or.b32 %r2, %r4, %r5;",
                          64);
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == (i % 2 == 1 ? 3u : i < 40 ? 1u : 2u));
    words = words_of("and.b32 %r3, %r1, 1; setp.eq.u32 %p1, %r3, 1; setp.ne.u32 %p2, %r3, 7;\n"
                     "@%p1 setp.lt.u32 %p2|%p1, %r1, 40;\n"
                     "selp.b32 %r4, 1, 0, %p1; selp.b32 %r5, 2, 0, %p2; or.b32 %r2, %r4, %r5;",
                     64);
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == (i % 2 == 0 || i < 40 ? 2u : 1u));
}

void a_guarded_instruction_leaves_other_lanes_alone() {
    auto words =
        words_of("mov.u32 %r2, 9; and.b32 %r3, %r1, 3; setp.eq.u32 %p1, %r3, 2; @!%p1 mov.u32 %r2, 4;", 32);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == (i % 4 == 2 ? 9u : 4u));
}

void processors_that_a_process_is_kept_off_are_not_counted() {
    std::thread held([] {
        cpu_set_t all, one;
        EXPECT(sched_getaffinity(0, sizeof all, &all) == 0);
        EXPECT(soft::usable_processors() == static_cast<unsigned>(CPU_COUNT(&all)));
        CPU_ZERO(&one);
        for (unsigned i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i)
            if (CPU_ISSET(i, &all))
                CPU_SET(i, &one);
        EXPECT(sched_setaffinity(0, sizeof one, &one) == 0); // of this thread alone
        EXPECT(soft::usable_processors() == 1);
    });
    held.join();
}

} // namespace

int main() {
    two_ways_meet_again();
    nested_ways_meet_at_their_own_places();
    lanes_leave_a_loop_one_by_one();
    a_loop_with_two_exits_and_an_early_return();
    lanes_meet_again_though_some_may_have_returned();
    a_called_function_returns_from_where_lanes_part();
    a_barrier_makes_shared_memory_seen();
    what_is_read_behind_a_barrier_is_read_before_another_warp_writes_it();
    warps_that_come_by_other_ways_are_not_waited_for_before_a_write();
    a_barrier_reduces_votes();
    a_barrier_may_be_for_some_warps_only();
    lanes_that_come_to_a_barrier_on_different_ways_wait_for_one_another();
    two_ways_go_in_step_by_their_barriers();
    lanes_that_come_to_one_barrier_one_by_one_meet_there();
    lanes_that_wait_do_not_hold_up_those_that_do_not();
    some_arrive_and_others_wait();
    what_a_function_gives_back_uniformly();
    constants_and_parameters_have_addresses();
    a_parameter_is_read_again_by_some_lanes();
    warps_that_ended_are_not_waited_for();
    one_warp_goes_on_by_itself_while_the_others_go_on_together();
    blocks_on_many_threads_share_atomics();
    blocks_of_a_cooperative_launch_wait_for_one_another();
    a_comparison_may_write_its_own_guard();
    a_guarded_instruction_leaves_other_lanes_alone();
    processors_that_a_process_is_kept_off_are_not_counted();
    std::puts("control flow as it should be");
}
