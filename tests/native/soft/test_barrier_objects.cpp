// mbarrier: phases, counts, states, and copies that tell one.
#include "machine.hpp"

using namespace soft_test;

namespace {

using u32 = std::uint32_t;

const char *const object = ".shared .align 8 .b64 object; .shared .align 16 .b8 tile[1024];";
const char *const make =
    "mov.u32 %r3, object; setp.eq.u32 %p1, %r1, 0; @%p1 mbarrier.init.shared::cta.b64 [%r3], 96;\n"
    "bar.sync 0;\n";

/// Each round every thread writes, arrives, waits, and reads what its opposite has written.
void threads_meet_round_after_round() {
    for (std::string wait : {"mbarrier.test_wait.shared.b64 %p2, [%r3], %rd4;",
                             "mbarrier.try_wait.shared.b64 %p2, [%r3], %rd4, %r20;",
                             "mbarrier.test_wait.parity.acquire.cta.shared.b64 %p2, [%r3], %r9;",
                             "mbarrier.try_wait.parity.shared.b64 %p2, [%r3], %r9;"}) {
        auto words = words_of(std::string(make) +
                                  "mov.u32 %r20, 1000; mov.u32 %r2, 0; mov.u32 %r8, 0; mov.u32 %r4, tile; "
                                  "shl.b32 %r5, %r1, 2; add.s32 %r5, %r5, %r4;\n"
                                  "sub.s32 %r6, 95, %r1; shl.b32 %r6, %r6, 2; add.s32 %r6, %r6, %r4;\n"
                                  "ROUND: and.b32 %r9, %r8, 1; shl.b32 %r10, %r9, 9; add.s32 %r11, %r5, "
                                  "%r10; add.s32 %r12, %r6, %r10;\n"
                                  "mad.lo.s32 %r7, %r8, 100, %r1; st.shared.u32 [%r11], %r7;\n"
                                  "mbarrier.arrive.release.cta.shared.b64 %rd4, [%r3];\n"
                                  "WAIT: " +
                                  wait +
                                  " @!%p2 bra WAIT;\n"
                                  "ld.shared.u32 %r7, [%r12]; add.s32 %r2, %r2, %r7; add.s32 %r8, %r8, 1; "
                                  "setp.lt.u32 %p3, %r8, 5; @%p3 bra ROUND;\n"
                                  "bar.sync 0; @%p1 mbarrier.inval.shared.b64 [%r3];",
                              96, object);
        for (u32 i = 0; i < 96; ++i)
            EXPECT(words[i] == 5 * (95 - i) + 100 * (0 + 1 + 2 + 3 + 4));
    }
}

void arrivals_are_counted() {
    // 3 are awaited; one thread arrives with 2, and the state shows what was left before; then one drops out.
    auto words =
        words_of("mov.u32 %r3, object; mov.u32 %r4, 3; mbarrier.init.shared.b64 [%r3], %r4;\n"
                 "mov.u64 %rd9, object; cvta.shared.u64 %rd9, %rd9;\n"
                 "mbarrier.arrive.noComplete.b64 %rd4, [%rd9], 2; mbarrier.pending_count.b64 %r5, %rd4;\n"
                 "mbarrier.arrive_drop.shared.b64 %rd5, [%r3]; mbarrier.pending_count.b64 %r6, %rd5;\n"
                 "mbarrier.test_wait.shared.b64 %p2, [%r3], %rd5; selp.b32 %r7, 1, 0, %p2;\n"
                 "mbarrier.arrive.shared.b64 %rd6, [%r3]; mbarrier.pending_count.b64 %r8, %rd6;\n"
                 "mad.lo.s32 %r2, %r5, 10, %r6; mad.lo.s32 %r2, %r2, 10, %r7; mad.lo.s32 %r2, %r2, 10, %r8;",
                 1, object);
    EXPECT(words[0] == 3112);
}

void copies_are_awaited() {
    std::vector<u32> words(64), source(64);
    for (u32 i = 0; i < 64; ++i)
        source[i] = 7 * i;
    std::string arrives =
        "mov.u32 %r4, tile; shl.b32 %r5, %r1, 4; add.s32 %r6, %r4, %r5; cvt.u64.u32 %rd5, %r5; add.s64 %rd5, "
        "%rd5, %rd2;\n"
        "setp.lt.u32 %p4, %r1, 16; @%p4 cp.async.ca.shared.global [%r6], [%rd5], 16;\n"
        "cp.async.mbarrier.arrive.shared.b64 [%r3]; cp.async.mbarrier.arrive.noinc.shared.b64 [%r3];\n";
    std::string wait = "WAIT: mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 0; @!%p2 bra WAIT;\n";
    std::string read = "shl.b32 %r7, %r1, 2; add.s32 %r7, %r7, tile; ld.shared.u32 %r2, [%r7];\n"
                       "mul.wide.u32 %rd6, %r1, 4; add.s64 %rd6, %rd6, %rd1; setp.lt.u32 %p3, %r1, 64; @%p3 "
                       "st.global.u32 [%rd6], %r2;";
    auto outcome =
        run_text(kernel_text(make + arrives + wait + read, object), {1, 96}, words.data(), source.data());
    EXPECT(!outcome.fault && words == source);
    // One thread has all of it copied, and says how many bytes will come.
    std::fill(words.begin(), words.end(), 0);
    std::string bulk =
        "mov.u32 %r4, tile; mov.u32 %r10, 1; mov.u32 %r5, 256; @%p1 mbarrier.init.shared.b64 [%r3], %r10; "
        "bar.sync 0;\n"
        "@!%p1 bra WAIT;\n"
        "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [%r4], [%rd2], %r5, [%r3];\n"
        "mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%r3], %r5;\n";
    outcome = run_text(kernel_text(make + bulk + wait + read, object), {1, 96}, words.data(), source.data());
    EXPECT(!outcome.fault && words == source);
    // The same by hand.
    std::fill(words.begin(), words.end(), 0);
    std::string hand =
        "mov.u32 %r10, 1; mov.u32 %r4, tile; @%p1 mbarrier.init.shared.b64 [%r3], %r10; bar.sync 0;\n@!%p1 "
        "bra WAIT;\n"
        "mbarrier.expect_tx.relaxed.cta.shared.b64 [%r3], 8; mbarrier.arrive.shared.b64 %rd9, [%r3];\n"
        "mbarrier.test_wait.parity.shared.b64 %p2, [%r3], 0; @%p2 trap; mov.u32 %r8, 0;\n"
        "COPY: shl.b32 %r9, %r8, 2; cvt.u64.u32 %rd7, %r9; add.s64 %rd7, %rd7, %rd2; ld.global.u32 %r12, "
        "[%rd7];\n"
        "add.s32 %r9, %r9, %r4; st.shared.u32 [%r9], %r12; add.s32 %r8, %r8, 1; setp.lt.u32 %p5, %r8, 64; "
        "@%p5 bra COPY;\n"
        "mbarrier.complete_tx.relaxed.cta.shared.b64 [%r3], 8;\n";
    outcome = run_text(kernel_text(make + hand + wait + read, object), {1, 96}, words.data(), source.data());
    EXPECT(!outcome.fault && words == source);
}

void what_nobody_completes_ends_by_the_limit() {
    auto outcome = run_text(
        kernel_text(std::string(make) + "WAIT: mbarrier.try_wait.parity.shared.b64 %p2, [%r3], 0; @!%p2 bra "
                                        "WAIT;",
                    object),
        {1, 96, 0, 0.05});
    EXPECT(outcome.fault && outcome.fault->kind == soft::FaultKind::timeout);
}

void a_bulk_copy_beyond_shared_memory_is_a_fault() {
    std::vector<u32> source(1024);
    auto outcome = run_text(kernel_text(std::string(make) + "mov.u32 %r4, tile; mov.u32 %r5, 2048;\n"
                                                            "cp.async.bulk.shared::cluster.global.mbarrier::"
                                                            "complete_tx::bytes [%r4], [%rd2], %r5, [%r3];",
                                        object),
                            {1, 96}, nullptr, source.data());
    EXPECT(outcome.fault && outcome.fault->kind == soft::FaultKind::illegal_address);
}

/// All is performed at once and in order: nothing is left for these to do.
void fences_change_nothing() {
    auto words = words_of(
        "fence.proxy.async; fence.proxy.async.shared::cta; fence.proxy.async.global; fence.proxy.alias;\n"
        "fence.mbarrier_init.release.cluster; fence.acquire.cta; pmevent 3; mov.u32 %r2, %r1;",
        32);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == i);
}

} // namespace

int main() {
    fences_change_nothing();
    threads_meet_round_after_round();
    arrivals_are_counted();
    copies_are_awaited();
    what_nobody_completes_ends_by_the_limit();
    a_bulk_copy_beyond_shared_memory_is_a_fault();
    std::puts("barrier objects as they should be");
}
