// Memory and blocks as few programs have them: 128-bit numbers, atomics on vectors, copies in bulk, policies
// of caches, clusters of one block.
#include <algorithm>
#include <array>
#include <climits>

#include "reference.hpp"
#include "rows.hpp"

using namespace soft_test;

namespace {

constexpr u64 edge = 0x8000000000000001;

/// A number of 128 bits goes from each lane's place through registers to another.
void wide_numbers_move() {
    struct Place {
        u64 low, high;
    };
    for (const std::string load :
         {"ld.global", "ld", "ld.volatile.global", "ld.global.nc", "ldu.global", "ld.relaxed.gpu.global"})
        for (const std::string store : {"st.global", "st", "st.release.sys.global"}) {
            alignas(16) Place in[32], out[32] = {};
            for (u64 i = 0; i < 32; ++i)
                in[i] = {edge * (i + 1), ~i};
            auto outcome = run("{ .reg .b128 %q<4>; .reg .b128 one;\nmul.wide.u32 %rd4, %r1, 16; add.s64 "
                               "%rd5, %rd4, %rd2; add.s64 %rd4, %rd4, %rd1;\n" +
                                   load +
                                   ".b128 %q1, [%rd4]; mov.b128 {%rd6, %rd7}, %q1; add.s64 %rd6, %rd6, 1; "
                                   "mov.b128 %q2, {%rd6, %rd7};\n"
                                   "mov.b128 one, %q2; @%p1 bra OVER;\nOVER: mov.b128 {_, %rd8}, one; "
                                   "xor.b64 %rd8, %rd8, %rd7; setp.ne.u64 %p2, %rd8, 0; @%p2 trap;\n" +
                                   store + ".b128 [%rd5], one; }",
                               {1, 32}, in, out);
            EXPECT(!outcome.fault);
            for (u64 i = 0; i < 32; ++i)
                EXPECT(out[i].low == in[i].low + 1 && out[i].high == in[i].high);
        }
    alignas(16) Place place[1] = {};
    auto outcome =
        run("{ .reg .b128 %q<2>; mov.b128 %q1, {%rd1, %rd2}; st.global.b128 [%rd1+8], %q1; }", {1, 1}, place);
    EXPECT(outcome.fault && outcome.fault->kind == soft::FaultKind::misaligned_address);
}

/// 128-bit exchanges: each lane's place, and one that all lanes put themselves on top of.
void wide_numbers_are_exchanged() {
    for (const std::string space : {".global", "", ".shared"}) {
        alignas(16) u64 places[64] = {}, olds[64] = {};
        for (u64 i = 0; i < 32; ++i)
            places[2 * i] = i, places[2 * i + 1] = edge;
        const std::string at = space == ".shared" ? "[%r5]" : "[%rd4]";
        auto outcome = run_text(
            kernel_text(
                "{ .reg .b128 %q<5>;\nmul.wide.u32 %rd4, %r1, 16; add.s64 %rd5, %rd4, %rd2; add.s64 %rd4, "
                "%rd4, %rd1;\n"
                "shl.b32 %r5, %r1, 4; mov.u32 %r6, tile; add.s32 %r5, %r5, %r6; ld.global.b128 %q1, [%rd4]; "
                "st.shared.b128 [%r5], %q1;\n"
                "cvt.u64.u32 %rd6, %r1; and.b64 %rd7, %rd6, 30; mov.u64 %rd8, " +
                    std::to_string(edge) +
                    "; mov.b128 %q1, {%rd7, %rd8};\n"
                    "mov.u64 %rd9, 77; mov.b128 %q2, {%rd6, %rd9}; atom" +
                    space + ".cas.b128 %q3, " + at +
                    ", %q1, %q2;\n"
                    "st.global.b128 [%rd5], %q3; atom.relaxed.cta" +
                    space + ".exch.b128 %q4, " + at +
                    ", %q2; mov.b128 {%rd10, %rd11}, %q4;\n"
                    "add.s64 %rd10, %rd10, 1000; mov.b128 %q4, {%rd10, %rd11}; st.global.b128 [%rd4], %q4; }",
                ".shared .align 16 .b8 tile[512];"),
            {1, 32}, places, olds);
        EXPECT(!outcome.fault);
        for (u64 i = 0; i < 32; ++i) {
            EXPECT(olds[2 * i] == i && olds[2 * i + 1] == edge);
            const bool swapped = i % 2 == 0; // 30 & i is i itself where it is even
            EXPECT(places[2 * i] == i + 1000 && places[2 * i + 1] == (swapped ? 77 : edge));
        }
    }
    // Many blocks count both halves of one number up by compare-and-swap: no half is ever of another moment.
    alignas(16) u64 count[2] = {0, ~u64{0}};
    auto outcome = run("{ .reg .b128 %q<5>;\nmov.u64 %rd6, 0; mov.b128 %q1, {%rd6, %rd6};\n"
                       "atom.relaxed.gpu.global.cas.b128 %q1, [%rd1], %q1, %q1;\nL: mov.b128 {%rd4, "
                       "%rd5}, %q1; add.s64 %rd6, %rd4, 1; sub.s64 %rd7, %rd5, 1;\n"
                       "add.s64 %rd8, %rd4, %rd5; setp.ne.s64 %p3, %rd8, -1; @%p3 trap;\n"
                       "mov.b128 %q2, {%rd6, %rd7}; atom.acq_rel.gpu.global.cas.b128 %q3, [%rd1], %q1, %q2; "
                       "mov.b128 {%rd9, %rd10}, %q3; mov.b128 %q1, %q3;\n"
                       "setp.ne.u64 %p1, %rd9, %rd4; @%p1 bra L; }",
                       {8, 32}, count);
    EXPECT(!outcome.fault && count[0] == 256 && count[1] == ~u64{256});
}

std::string vector_of(const std::string &reg, unsigned first, unsigned count) {
    std::string text = "{";
    for (unsigned i = 0; i < count; ++i)
        text += (i ? ", " : "") + reg + std::to_string(first + i);
    return text + "}";
}

/// Each element of a vector is changed by itself, and gives what it was.
void vectors_are_changed_element_by_element() {
    struct Kind {
        const char *type;
        unsigned bytes, most;
        u32 old, operand, sum, least, largest; // of a half or a float
    };
    const Kind kinds[] = {
        {"f32", 4, 4, 0x3f800000, 0x40000000, 0x40400000, 0, 0},
        {"f16", 2, 8, 0x3c00, 0xc000, 0xbc00, 0xc000, 0x3c00},
        {"bf16", 2, 8, 0x3f80, 0xc000, 0xbf80, 0xc000, 0x3f80},
        {"f16x2", 4, 4, 0x3c00, 0xc000, 0xbc00, 0xc000, 0x3c00},
        {"bf16x2", 4, 4, 0x7fc0, 0x4000, 0x7fff, 0x4000, 0x4000}}; // what is no number loses
    for (const Kind &kind : kinds)
        for (const std::string op : {"add", "min", "max"})
            for (unsigned count = 2; count <= kind.most; count *= 2)
                for (bool returns : {false, true})
                    for (bool hint : {false, true}) {
                        const bool single = kind.type[1] == '3',
                                   pair = std::string(kind.type).ends_with("x2");
                        if (single && op != "add")
                            continue;
                        auto whole = [&](u32 half) { return pair ? half | half << 16 : half; };
                        const std::string reg = kind.bytes == 2 ? "%h" : "%r",
                                          b = ".b" + std::to_string(8 * kind.bytes);
                        alignas(32) u32 memory[8] = {}, olds[8] = {};
                        auto put = [&](u32 *to, unsigned i, u32 x) {
                            std::memcpy(reinterpret_cast<char *>(to) + i * kind.bytes, &x, kind.bytes);
                        };
                        for (unsigned i = 0; i < 32 / kind.bytes; ++i)
                            put(memory, i, whole(kind.old));
                        std::string body = "createpolicy.fractional.L2::evict_last.b64 %rd9, 0.5;\n";
                        for (unsigned i = 0; i < count; ++i)
                            body += "mov" + b + " " + reg + std::to_string(8 + i) + ", " +
                                    std::to_string(whole(i == 1 ? 0 : kind.operand)) + ";\n";
                        body += std::string(returns ? "atom" : "red") + ".relaxed.gpu.global." + op +
                                (single ? "" : ".noftz") + (hint ? ".L2::cache_hint" : "") + ".v" +
                                std::to_string(count) + "." + kind.type + " " +
                                (returns ? vector_of(reg, 16, count) + ", " : "") + "[%rd1], " +
                                vector_of(reg, 8, count) + (hint ? ", %rd9" : "") + ";\n";
                        if (returns)
                            for (unsigned i = 0; i < count; ++i)
                                body += "st.global" + b + " [%rd2+" + std::to_string(i * kind.bytes) + "], " +
                                        reg + std::to_string(16 + i) + ";\n";
                        auto outcome = run(body, {1, 1}, memory, olds);
                        EXPECT(!outcome.fault);
                        for (unsigned i = 0; i < 32 / kind.bytes; ++i) {
                            u32 got = 0, old = 0;
                            std::memcpy(&got, reinterpret_cast<char *>(memory) + i * kind.bytes, kind.bytes);
                            std::memcpy(&old, reinterpret_cast<char *>(olds) + i * kind.bytes, kind.bytes);
                            const u32 changed = op == "add"   ? kind.sum
                                                : op == "min" ? kind.least
                                                              : kind.largest;
                            if (i != 1 || i >= count)
                                EXPECT(got == whole(i < count ? changed : kind.old) ||
                                       (kind.old == 0x7fc0 && op == "add"));
                            else if (kind.old != 0x7fc0)
                                EXPECT(got == whole(op == "min" ? 0 : kind.old));
                            if (returns)
                                EXPECT(old == (i < count ? whole(kind.old) : 0));
                        }
                    }
    alignas(16) float total[4] = {};
    auto outcome = run("mov.f32 %f1, 0f3F800000; cvt.rn.f32.u32 %f2, %r1; red.global.add.v4.f32 [%rd1], "
                       "{%f1, %f2, %f1, %f2};\natom.global.add.v2.f32 {%f3, _}, [%rd1], {%f1, %f1};",
                       {4, 32}, total);
    EXPECT(!outcome.fault && total[0] == 256 && total[1] == 4 * 496 + 128 && total[2] == 128 &&
           total[3] == 4 * 496);
    outcome =
        run("mov.f32 %f1, 0f3F800000; red.global.add.v4.f32 [%rd1+4], {%f1, %f1, %f1, %f1};", {1, 1}, total);
    EXPECT(outcome.fault && outcome.fault->kind == soft::FaultKind::misaligned_address);
}

/// Who names a policy of a cache gets what he would without it.
void policies_change_nothing() {
    for (const std::string policy :
         {"createpolicy.fractional.L2::evict_last.b64 %rd9, 1.0;",
          "createpolicy.fractional.L2::evict_first.L2::evict_unchanged.b64 %rd9;",
          "createpolicy.range.global.L2::evict_last.L2::evict_first.b64 %rd9, [%rd1], 128, 256;",
          "mov.u64 %rd8, 0; createpolicy.cvt.L2.b64 %rd9, %rd8;"}) {
        std::vector<u32> in(64), out(64);
        for (u32 i = 0; i < 64; ++i)
            in[i] = 5 * i + 1;
        auto outcome = run_text(
            kernel_text(
                policy +
                    "\nmul.wide.u32 %rd4, %r1, 8; add.s64 %rd5, %rd4, %rd2; add.s64 %rd4, %rd4, %rd1; "
                    "shl.b32 %r5, %r1, 3; mov.u32 %r6, tile; add.s32 %r5, %r5, %r6;\n"
                    "ld.global.nc.L1::evict_last.L2::cache_hint.v2.u32 {%r7, %r8}, [%rd4], %rd9; mov.u32 "
                    "%r2, 3; setp.lt.u32 %p1, %r1, 16;\n"
                    "cp.async.ca.shared.global.L2::cache_hint.L2::128B [%r5], [%rd4], 8, %rd9; "
                    "cp.async.wait_all; ld.shared.v2.u32 {%r9, %r10}, [%r5];\n"
                    "add.s32 %r7, %r7, %r9; add.s32 %r8, %r8, %r10; cp.async.ca.shared.global.L2::cache_hint "
                    "[%r5], [%rd4], 8, 4, %rd9; cp.async.wait_all; ld.shared.v2.u32 {%r9, %r10}, [%r5];\n"
                    "add.s32 %r7, %r7, %r9; add.s32 %r8, %r8, %r10; cp.async.ca.shared.global [%r5], [%rd4], "
                    "8, %p1; cp.async.wait_all; ld.shared.v2.u32 {%r9, %r10}, [%r5];\n"
                    "add.s32 %r7, %r7, %r9; add.s32 %r8, %r8, %r10; @%p1 st.global.L2::cache_hint.v2.u32 "
                    "[%rd5], {%r7, %r8}, %rd9; @!%p1 st.global.v2.u32 [%rd5], {%r7, %r8};\n"
                    "red.global.add.L2::cache_hint.u32 [%rd5], %r2, %rd9; atom.global.add.L2::cache_hint.u32 "
                    "%r3, [%rd5], %r2, %rd9;\n"
                    "prefetch.global.L2::evict_last [%rd4]; prefetch.const.tensormap [%rd4]; "
                    "prefetch.param.tensormap [p1]; applypriority.global.L2::evict_normal [%rd4], 128; "
                    "discard.global.L2 [%rd3], 128;",
                ".shared .align 8 .b8 tile[256];"),
            {1, 32}, in.data(), out.data());
        EXPECT(!outcome.fault);
        for (u32 i = 0; i < 32; ++i) {
            const u32 once = i < 16 ? 0 : 1; // the last copy took nothing where the predicate holds
            EXPECT(out[2 * i] == (3 + once) * in[2 * i] + 6 && out[2 * i + 1] == (2 + once) * in[2 * i + 1]);
        }
    }
}

const char *const words_of_blocks =
    "mov.u32 %r3, %clusterid.x; mov.u32 %r4, %nclusterid.x; mov.u32 %r5, %cluster_ctaid.x; mov.u32 %r6, "
    "%cluster_nctaid.y;\n"
    "mov.u32 %r7, %cluster_ctarank; mov.u32 %r8, %cluster_nctarank; mov.u32 %r9, %clusterid.z; mov.u32 %r10, "
    "%aggr_smem_size; mov.u32 %r11, %total_smem_size;\n"
    "mov.pred %p1, %is_explicit_cluster; selp.b32 %r12, 1, 0, %p1; sub.s32 %r10, %r10, %r11; mov.u32 %r13, "
    "%pm3; mov.u32 %r14, %envreg7;\n"
    "mov.u32 %r15, %reserved_smem_offset_begin; mov.u64 %rd8, %current_graph_exec; cvt.u32.u64 %r16, %rd8; "
    "mov.u64 %rd9, %pm1_64; cvt.u32.u64 %r17, %rd9;\n";

/// A grid launched without clusters has clusters of one block.
void a_block_is_its_own_cluster() {
    std::vector<u32> out(3 * 32);
    auto outcome = run(std::string(words_of_blocks) +
                           "mad.lo.s32 %r20, %r3, 10, %r4; mad.lo.s32 %r20, %r20, 10, %r5; mad.lo.s32 %r20, "
                           "%r20, 10, %r6; mad.lo.s32 %r20, %r20, 10, %r7; mad.lo.s32 %r20, %r20, 10, %r8;\n"
                           "add.s32 %r9, %r9, %r10; add.s32 %r9, %r9, %r12; add.s32 %r9, %r9, %r13; add.s32 "
                           "%r9, %r9, %r14; add.s32 %r9, %r9, %r15; add.s32 %r9, %r9, %r16; add.s32 %r9, "
                           "%r9, %r17; mad.lo.s32 %r20, %r20, 10, %r9;\n"
                           "mad.lo.s32 %r21, %r3, 32, %r1; mul.wide.u32 %rd4, %r21, 4; add.s64 %rd4, %rd4, "
                           "%rd1; st.global.u32 [%rd4], %r20;",
                       {3, 32}, out.data());
    EXPECT(!outcome.fault);
    for (u32 block = 0; block < 3; ++block)
        for (u32 i = 0; i < 32; ++i)
            EXPECT(out[32 * block + i] == block * 1000000 + 301010);
    // Round after round each thread writes, and reads another's from before the barrier.
    for (const std::string arrive : {"barrier.cluster.arrive", "barrier.cluster.arrive.release.aligned",
                                     "barrier.cluster.arrive.relaxed"})
        for (const std::string wait : {"barrier.cluster.wait", "barrier.cluster.wait.acquire.aligned"}) {
            auto words = words_of(
                "mov.u32 %r2, 0; mov.u32 %r8, 0; mov.u32 %r4, tile; shl.b32 %r5, %r1, 2; add.s32 %r5, %r5, "
                "%r4; sub.s32 %r6, 95, %r1; shl.b32 %r6, %r6, 2; add.s32 %r6, %r6, %r4;\n"
                "mov.u64 %rd8, tile; mapa.shared::cluster.u64 %rd9, %rd8, 0; setp.ne.u64 %p4, %rd8, %rd9; "
                "@%p4 trap; getctarank.shared::cluster.u64 %r19, %rd8; getctarank.u64 %r20, %rd9;\n"
                "ROUND: mad.lo.s32 %r7, %r8, 100, %r1; st.shared::cluster.u32 [%r5], %r7; " +
                    arrive + ";\nadd.s32 %r18, %r8, %r19; add.s32 %r18, %r18, %r20; " + wait +
                    ";\n"
                    "mapa.shared::cluster.u32 %r9, %r6, %r19; ld.shared::cluster.u32 %r7, [%r9]; add.s32 "
                    "%r2, %r2, %r7; add.s32 %r8, %r18, 1;\n" +
                    arrive + "; " + wait + ";\nsetp.lt.u32 %p3, %r8, 5; @%p3 bra ROUND;",
                96, ".shared .align 4 .b8 tile[384];");
            for (u32 i = 0; i < 96; ++i)
                EXPECT(words[i] == 5 * (95 - i) + 1000);
        }
    auto words = words_of("mov.u64 %rd4, tile; cvta.shared.u64 %rd4, %rd4; mapa.u64 %rd5, %rd4, 0; st.u32 "
                          "[%rd5], 9; ld.shared.u32 %r2, [tile];",
                          1, ".shared .align 4 .b8 tile[16];");
    EXPECT(words[0] == 9);
    outcome = run_text(kernel_text("mov.u32 %r3, tile; mapa.shared::cluster.u32 %r4, %r3, 1;",
                                   ".shared .align 4 .b8 tile[16];"),
                       {1, 32});
    EXPECT(outcome.fault && outcome.fault->kind == soft::FaultKind::illegal_address &&
           outcome.fault->message.find("cluster of one") != std::string::npos);
}

void larger_clusters_are_refused() {
    std::string text = kernel_text("mov.u32 %r2, 1;");
    const std::size_t brace = text.find(")\n{");
    text.insert(brace + 1, " .reqnctapercluster 2, 1, 1 ");
    bool named = false;
    try {
        (void)soft::lower(ptx::Module(text), "k", [](const std::string &) { return std::uint64_t(0); });
    } catch (const ptx::Error &error) {
        named = std::string(error.what()).find("clusters of 2 blocks") != std::string::npos;
    }
    EXPECT(named);
    text.replace(text.find("cluster 2"), 9, "cluster 1");
    EXPECT(soft::lower(ptx::Module(text), "k", [](const std::string &) { return std::uint64_t(0); }) !=
           nullptr);
}

/// One lane of those that are named leads, always the same.
void one_lane_is_elected() {
    auto words =
        words_of("mov.u32 %r2, 0; setp.lt.u32 %p1, %r1, 20; @%p1 elect.sync %r3|%p2, 0xfffff; @!%p1 "
                 "elect.sync %r3|%p2, 0xfff00000; @%p2 add.s32 %r2, %r2, 100; add.s32 %r2, %r2, %r3;\n"
                 "elect.sync _|%p3, -1; @%p3 add.s32 %r2, %r2, 1000;",
                 32);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == (i < 20 ? 0u : 20u) + (i == 0 || i == 20 ? 100 : 0) + (i == 0 ? 1000 : 0));
}

/// A kernel's parameters have generic addresses.
void parameters_have_addresses() {
    u64 out[4] = {};
    auto outcome =
        run("mov.b64 %rd4, p2; cvta.param.u64 %rd5, %rd4; ld.u64 %rd6, [%rd5]; cvta.to.param.u64 %rd7, %rd5; "
            "sub.s64 %rd7, %rd7, %rd4;\n"
            "isspacep.param %p1, %rd5; isspacep.param %p2, %rd1; isspacep.global %p3, %rd5; selp.b64 %rd8, "
            "1, 0, %p1; selp.b64 %rd9, 2, 0, %p2; selp.b64 %rd10, 4, 0, %p3;\n"
            "or.b64 %rd8, %rd8, %rd9; or.b64 %rd8, %rd8, %rd10; ld.u64 %rd11, [%rd5+8]; st.global.v2.u64 "
            "[%rd1], {%rd6, %rd7}; st.global.v2.u64 [%rd1+16], {%rd8, %rd11};",
            {1, 1}, out, reinterpret_cast<const void *>(0x1234), reinterpret_cast<const void *>(0x5678));
    EXPECT(!outcome.fault && out[0] == 0x1234 && out[1] == 0 && out[2] == 1 && out[3] == 0x5678);
}

/// What steers the machine, and changes nothing that is computed.
void hints_change_nothing() {
    auto words =
        words_of("setmaxnreg.inc.sync.aligned.u32 64; setmaxnreg.dec.sync.aligned.u32 24; "
                 "membar.proxy.alias; membar.proxy.async; pmevent.mask 3; prefetch.tensormap [%rd1];\n"
                 "fence.proxy.tensormap::generic.release.gpu; fence.proxy.tensormap::generic.acquire.sys "
                 "[%rd1], 128; fence.acquire.sync_restrict::shared::cluster.cluster; "
                 "fence.release.sync_restrict::shared::cta.cluster;\n"
                 "cp.async.bulk.commit_group; cp.async.bulk.wait_group.read 0; cp.async.bulk.wait_group 0; "
                 "cp.async.bulk.prefetch.L2.global [%rd1], 128; mov.u32 %r2, %r1;",
                 32);
    for (u32 i = 0; i < 32; ++i)
        EXPECT(words[i] == i);
    std::vector<u32> one = {5};
    auto outcome = run(
        "ld.mmio.relaxed.sys.global.u32 %r3, [%rd1]; ld.relaxed.cluster.global.u32 %r4, [%rd1]; "
        "ld.acquire.cluster.u32 %r5, [%rd1]; add.s32 %r3, %r3, %r4; add.s32 %r3, %r3, %r5; "
        "st.relaxed.cluster.global.u32 [%rd1], %r3;\n"
        "st.release.cluster.u32 [%rd1], %r3; st.mmio.relaxed.sys.global.u32 [%rd1], %r3; "
        "atom.acq_rel.cluster.global.add.u32 %r6, [%rd1], 2; red.release.cluster.global.add.u32 [%rd1], %r6;",
        {1, 1}, one.data());
    EXPECT(!outcome.fault && one[0] == 32);
}

/// Shared memory goes out, or into other shared memory, in one piece.
void copies_in_bulk() {
    std::vector<u32> out(72, 0xdddddddd);
    for (bool hint : {false, true}) {
        std::fill(out.begin(), out.end(), 0xdddddddd);
        auto outcome = run_text(
            kernel_text(std::string("createpolicy.fractional.L2::evict_first.b64 %rd9; mov.u32 %r4, tile; "
                                    "shl.b32 %r5, %r1, 2; add.s32 %r5, %r5, %r4; st.shared.u32 [%r5], %r1; "
                                    "bar.sync 0; setp.eq.u32 %p1, %r1, 5; mov.u32 %r6, 256;\n"
                                    "@%p1 cp.async.bulk.global.shared::cta.bulk_group") +
                            (hint ? ".L2::cache_hint" : "") + " [%rd1], [%r4], %r6" + (hint ? ", %rd9" : "") +
                            "; cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;",
                        ".shared .align 16 .b8 tile[256];"),
            {1, 64}, out.data());
        EXPECT(!outcome.fault);
        for (u32 i = 0; i < 72; ++i)
            EXPECT(out[i] == (i < 64 ? i : 0xdddddddd));
    }
    // Within shared memory, told to a barrier; then added there.
    auto words = words_of(
        "mov.u32 %r3, object; mov.u32 %r4, tile; mov.u32 %r16, other; shl.b32 %r5, %r1, 2; add.s32 %r6, %r5, "
        "%r4; add.s32 %r7, %r5, %r16; mov.u32 %r8, 256; setp.eq.u32 %p1, %r1, 0; @%p1 "
        "mbarrier.init.shared.b64 [%r3], 1; st.shared.u32 [%r6], %r1; st.shared.u32 [%r7], 7; bar.sync 0;\n"
        "@!%p1 bra WAIT; mbarrier.arrive.expect_tx.relaxed.cluster.shared::cluster.b64 _, [%r3], "
        "512;\ncp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r16], [%r4], %r8, "
        "[%r3];\n"
        "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes.add.u32 [%r16], "
        "[%r4], %r8, [%r3];\nWAIT: mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 %p2, [%r3], 0; "
        "@!%p2 bra WAIT; ld.shared.u32 %r2, [%r7];",
        64,
        ".shared .align 8 .b64 object; .shared .align 16 .b8 tile[256]; .shared .align 16 .b8 other[256];");
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == 2 * i);
    auto outcome = run_text(kernel_text("mov.u32 %r4, tile; mov.u32 %r6, 512; "
                                        "cp.async.bulk.global.shared::cta.bulk_group [%rd1], [%r4], %r6;",
                                        ".shared .align 16 .b8 tile[256];"),
                            {1, 1}, out.data());
    EXPECT(outcome.fault && outcome.fault->kind == soft::FaultKind::illegal_address);
}

/// What many numbers at once are combined with, element by element.
template <class T>
void combined_in_bulk(const std::string &type,
                      std::initializer_list<std::pair<const char *, T (*)(T, T)>> operations,
                      const std::vector<T> &there, const std::vector<T> &added) {
    for (auto [op, combine] : operations) {
        constexpr std::size_t count = 16 / sizeof(T);
        alignas(16) T memory[2 * count], operand[count];
        for (std::size_t i = 0; i < 2 * count; ++i)
            memory[i] = there[i % there.size()];
        for (std::size_t i = 0; i < count; ++i)
            operand[i] = added[i % added.size()];
        const std::vector<T> before(memory, memory + 2 * count);
        auto outcome = run_text(
            kernel_text(
                "mov.u32 %r4, tile; ld.global.v2.u64 {%rd4, %rd5}, [%rd2]; st.shared.v2.u64 [%r4], {%rd4, "
                "%rd5}; mov.u32 %r6, 16;\ncp.reduce.async.bulk.global.shared::cta.bulk_group." +
                    std::string(op) + "." + type + " [%rd1], [%r4], %r6;",
                ".shared .align 16 .b8 tile[16];"),
            {1, 1}, memory, operand);
        EXPECT(!outcome.fault);
        for (std::size_t i = 0; i < 2 * count; ++i) {
            const T wanted = i < count ? combine(before[i], operand[i]) : before[i];
            if (std::memcmp(&memory[i], &wanted, sizeof(T)) != 0)
                std::fprintf(stderr, "cp.reduce.async.bulk %s.%s: element %zu\n", op, type.c_str(), i);
            EXPECT(std::memcmp(&memory[i], &wanted, sizeof(T)) == 0);
        }
    }
}

void reductions_in_bulk() {
    const std::vector<u32> u = {0, 0xffffffff, 7, 0x80000000};
    combined_in_bulk<u32>("u32",
                          {{"add", [](u32 a, u32 b) { return a + b; }},
                           {"min", [](u32 a, u32 b) { return std::min(a, b); }},
                           {"max", [](u32 a, u32 b) { return std::max(a, b); }},
                           {"inc", [](u32 a, u32 b) { return a >= b ? 0 : a + 1; }},
                           {"dec", [](u32 a, u32 b) { return a == 0 || a > b ? b : a - 1; }}},
                          u, {1, 2, 0x80000001, 3});
    combined_in_bulk<u32>("b32",
                          {{"and", [](u32 a, u32 b) { return a & b; }},
                           {"or", [](u32 a, u32 b) { return a | b; }},
                           {"xor", [](u32 a, u32 b) { return a ^ b; }}},
                          u, {0x55555555, 0xf0f0f0f0});
    combined_in_bulk<s32>(
        "s32",
        {{"add", [](s32 a, s32 b) { return static_cast<s32>(static_cast<u32>(a) + static_cast<u32>(b)); }},
         {"min", [](s32 a, s32 b) { return std::min(a, b); }},
         {"max", [](s32 a, s32 b) { return std::max(a, b); }}},
        {INT_MAX, -1, 0, INT_MIN}, {1, 5, -7, 0});
    combined_in_bulk<u64>(
        "u64",
        {{"add", [](u64 a, u64 b) { return a + b; }}, {"min", [](u64 a, u64 b) { return std::min(a, b); }}},
        {~u64{0}, 5}, {2, 7});
    combined_in_bulk<s64>("s64", {{"max", [](s64 a, s64 b) { return std::max(a, b); }}}, {LLONG_MIN, 5},
                          {-2, 4});
    combined_in_bulk<float>("f32", {{"add", [](float a, float b) { return a + b; }}}, {1, -2.5f, 1e30f, 0},
                            {0.25f, 3, 1e30f, -0.0f});
    combined_in_bulk<double>("f64", {{"add", [](double a, double b) { return a + b; }}}, {1, 1e300},
                             {1e-3, 1e300});
    combined_in_bulk<u16>(
        "noftz.f16",
        {{"add",
          [](u16 a, u16 b) { return static_cast<u16>(Half16::of(number_of('H', a) + number_of('H', b))); }}},
        {0x3c00, 1, 0x7bff, 0x8001}, {0x3c00, 2, 0x7bff, 0x0003});
    combined_in_bulk<u16>(
        "f16",
        {{"min", [](u16 a, u16 b) { return number_of('H', a) < number_of('H', b) ? a : b; }},
         {"max", [](u16 a, u16 b) { return number_of('H', a) > number_of('H', b) ? a : b; }}},
        {0x3c00, 0xbc00, 0x7bff, 0x8001}, {0x3800, 0xfc00, 0x7c00, 0x0003});
    combined_in_bulk<u16>("noftz.bf16",
                          {{"add",
                            [](u16 a, u16 b) {
                                return static_cast<u16>(Bfloat16::of(number_of('B', a) + number_of('B', b)));
                            }}},
                          {0x3f80, 0x4000}, {0x3f80, 0xbf00});
}

} // namespace

int main() {
    wide_numbers_move();
    wide_numbers_are_exchanged();
    vectors_are_changed_element_by_element();
    policies_change_nothing();
    a_block_is_its_own_cluster();
    larger_clusters_are_refused();
    one_lane_is_elected();
    parameters_have_addresses();
    hints_change_nothing();
    copies_in_bulk();
    reductions_in_bulk();
    std::puts("what few programs have is as it should be");
}
