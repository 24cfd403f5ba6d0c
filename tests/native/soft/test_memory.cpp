// Loads, stores, atomics and copies: every type, vector, space and order against plain memory.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

#include "reference.hpp"
#include "rows.hpp"

using namespace soft_test;
using u8 = std::uint8_t;

namespace {

/// Each lane's 64 bytes at first + 64 * lane and second + 64 * lane: %rd10 and %rd11.
const std::string per_lane =
    "mul.wide.u32 %rd10, %r1, 64; add.s64 %rd11, %rd10, %rd2; add.s64 %rd10, %rd10, %rd1;\n";

struct alignas(64) Bytes {
    std::array<u8, 32 * 64> at;
    u8 &operator[](std::size_t i) { return at[i]; }
    void *data() { return at.data(); }
};

Bytes pattern() {
    Bytes bytes;
    for (std::size_t i = 0; i < bytes.at.size(); ++i)
        bytes[i] = static_cast<u8>(37 * i + 129 + i / 64);
    return bytes;
}

Bytes untouched() {
    Bytes bytes;
    bytes.at.fill(0xcd);
    return bytes;
}

struct Width {
    const char *types; // of so many bits
    unsigned bytes;
};
const Width widths[] = {{"u8 b8 s8", 1}, {"u16 b16 s16", 2}, {"u32 b32 s32 f32", 4}, {"u64 b64 s64 f64", 8}};

std::vector<std::string> words_in(const std::string &list) {
    std::vector<std::string> words;
    for (std::size_t at = 0; at < list.size();) {
        const std::size_t end = std::min(list.find(' ', at), list.size());
        words.push_back(list.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

/// Copies `count` elements of each lane through registers; what lies behind them must stay.
void copied(const std::string &load, const std::string &store, unsigned bytes, unsigned count,
            const std::string &between = "", const std::string &level = "") {
    auto in = pattern();
    auto out = untouched();
    const std::string reg = bytes == 8 ? "%rd" : bytes == 4 ? "%r" : "%h";
    std::string list;
    for (unsigned i = 0; i < count; ++i)
        list += (i ? ", " : "") + reg + std::to_string(20 + i);
    if (count > 1)
        list = "{" + list + "}";
    const auto outcome = run_text(kernel_text(per_lane + load + " " + list + ", [%rd10];\n" + between +
                                                  store + " [%rd11], " + list + ";",
                                              level),
                                  {1, 32}, in.data(), out.data());
    EXPECT(!outcome.fault);
    for (unsigned lane = 0; lane < 32; ++lane)
        for (unsigned i = 0; i < 64; ++i) {
            const u8 wanted = i < bytes * count ? in[64 * lane + i] : 0xcd;
            if (out[64 * lane + i] != wanted)
                std::fprintf(stderr, "%s, %s: byte %u of lane %u\n", load.c_str(), store.c_str(), i, lane);
            EXPECT(out[64 * lane + i] == wanted);
        }
}

void every_type_and_vector() {
    for (const Width &width : widths)
        for (const std::string &type : words_in(width.types)) {
            const std::string stored = type[0] == 's' ? "b" + type.substr(1) : type;
            copied("ld.global." + type, "st.global." + stored, width.bytes, 1);
            for (unsigned count : {2u, 4u, 8u})
                if (count * width.bytes <= 32 && (count < 8 || width.bytes == 4)) {
                    const std::string v = ".v" + std::to_string(count) + ".";
                    copied("ld.global" + v + type, "st.global" + v + stored, width.bytes, count);
                }
        }
}

void signs_and_zeros_extend() {
    const std::int8_t byte[] = {-5, 100};
    const std::int16_t half[] = {-300, 3000};
    auto words = words_of("mov.u32 %r2, 0;", 1);
    std::vector<u32> out(4);
    auto outcome = run("ld.global.s8 %r3, [%rd1]; ld.global.u8 %r4, [%rd1]; ld.global.s16 %r5, [%rd2]; "
                       "ld.global.u16 %r6, [%rd2]; st.global.v4.u32 [%rd3], {%r3, %r4, %r5, %r6};",
                       {1, 1}, byte, half, out.data());
    EXPECT(!outcome.fault);
    EXPECT(out[0] == static_cast<u32>(-5) && out[1] == 251 && out[2] == static_cast<u32>(-300) &&
           out[3] == 65236);
}

void orders_and_caches_change_nothing() {
    for (const char *load : {"ld.volatile.global", "ld.relaxed.gpu.global", "ld.acquire.gpu.global",
                             "ld.acquire.sys", "ld.relaxed.cta.global", "ld.weak.global", "ld.global.nc",
                             "ld.global.ca", "ld.global.cg", "ld.global.cs", "ld.global.lu", "ld.global.cv",
                             "ldu.global", "ld.const", "ld.global.L1::no_allocate.L2::128B", "ld"})
        copied(std::string(load) + ".u32", "st.global.u32", 4, 1);
    for (const char *store : {"st.volatile.global", "st.relaxed.gpu.global", "st.release.gpu.global",
                              "st.release.sys", "st.relaxed.cta.global", "st.weak.global", "st.global.wb",
                              "st.global.cg", "st.global.cs", "st.global.wt", "st"})
        copied("ld.global.u32", std::string(store) + ".u32", 4, 1);
    copied("ldu.global.v2.u32", "st.global.v2.u32", 4, 2);
    copied("ldu.global.v4.u32", "st.global.v4.u32", 4, 4);
    for (const char *fence :
         {"membar.cta;", "membar.gl;", "membar.sys;", "fence.acq_rel.gpu;", "fence.sc.cta;", "fence.sc.sys;",
          "nanosleep.u32 100;", "prefetch.global.L1 [%rd10];", "prefetch.local.L2 [%rd10];",
          "prefetchu.L1 [%rd10];", "griddepcontrol.launch_dependents;", "griddepcontrol.wait;"})
        copied("ld.global.u32", "st.global.u32", 4, 1, std::string(fence) + "\n");
}

void every_space_holds_what_is_stored() {
    for (const char *space : {"shared", "local"}) {
        const std::string at = std::string(space) == "shared"
                                   ? "shl.b32 %r3, %r1, 3; mov.u32 %r4, place; add.s32 %r3, %r3, %r4;\n"
                                   : "mov.u32 %r3, place;\n";
        const std::string level = std::string(".") + space + " .align 16 .b8 place[256];";
        const std::string s = std::string(".") + space;
        const std::string through =
            at + "st" + s + ".u64 [%r3], %rd20; mov.u64 %rd20, 0; ld" + s + ".u64 %rd20, [%r3];\n";
        if (std::string(space) == "shared")
            copied("ld.global.u64", "st.global.u64", 8, 1, through, level);
        else
            copied("ld.global.u64", "st.global.u64", 8, 1, "{ " + level + "\n" + through + "}\n");
    }
    // Generic addresses of both, and what isspacep says of them.
    auto words = words_of(
        "{ .local .align 8 .b8 mine[16];\n"
        "mov.u64 %rd4, tile; cvta.shared.u64 %rd5, %rd4; mov.u64 %rd6, mine; cvta.local.u64 %rd7, %rd6;\n"
        "add.s32 %r3, %r1, 5; st.u32 [%rd7], %r3; ld.local.u32 %r4, [mine]; setp.eq.u32 %p5, %r1, 3;\n"
        "@%p5 st.u32 [%rd5+4], %r4; bar.sync 0; ld.shared.u32 %r2, [tile+4];\n"
        "cvta.to.shared.u64 %rd8, %rd5; setp.eq.u64 %p1, %rd8, %rd4; @%p1 add.s32 %r2, %r2, 100;\n"
        "cvta.to.local.u64 %rd8, %rd7; setp.eq.u64 %p1, %rd8, %rd6; @%p1 add.s32 %r2, %r2, 100;\n"
        "isspacep.shared %p2, %rd5; @%p2 add.s32 %r2, %r2, 1000; isspacep.local %p2, %rd7;\n"
        "@%p2 add.s32 %r2, %r2, 1000; isspacep.global %p2, %rd1; @%p2 add.s32 %r2, %r2, 1000;\n"
        "isspacep.global %p2, %rd5; @%p2 add.s32 %r2, %r2, 7; }",
        32, ".shared .align 8 .b8 tile[16];");
    for (u32 word : words)
        EXPECT(word == 8 + 200 + 3000);
}

/// What an atomic leaves behind, on numbers of `bits` bits.
template <class T> T after(const std::string &op, T old, T b, T c) {
    if (op == "exch")
        return b;
    if (op == "cas")
        return std::memcmp(&old, &b, sizeof old) == 0 ? c : old;
    if (op == "add")
        return static_cast<T>(old + b);
    if (op == "min")
        return b < old ? b : old;
    if (op == "max")
        return b > old ? b : old;
    if constexpr (std::is_integral_v<T>) {
        if (op == "and")
            return old & b;
        if (op == "or")
            return old | b;
        if (op == "xor")
            return old ^ b;
        if (op == "inc")
            return old >= b ? 0 : old + 1;
        return old == 0 || old > b ? b : old - 1;
    }
    return old;
}

/// Lane by lane on places of their own, for all pairs of edges: what is there afterwards, and what was.
template <class T> void atomics(const std::string &type, char kind, const char *operations) {
    const auto &values = edges(kind);
    for (const std::string &op : words_in(operations))
        for (const char *space : {".global", ".shared", ""})
            for (bool returns : {true, false}) {
                if (!returns && (op == "cas" || op == "exch"))
                    continue;
                struct Lane {
                    u64 place, b, c, old;
                };
                std::vector<Lane> lanes((values.size() * values.size() + 31) / 32 * 32);
                for (std::size_t i = 0; i < lanes.size(); ++i)
                    lanes[i] = {values[i % values.size()], values[i / values.size() % values.size()],
                                values[(i + 3) % values.size()], 0};
                const std::string before = std::string(returns ? "atom" : "red"),
                                  noftz = sizeof(T) == 2 ? ".noftz" : "";
                const bool shared = space[0] == '.' && space[1] == 's';
                const std::string reg = sizeof(T) == 8 ? "%rd" : "%r",
                                  b = std::string(".b") + (sizeof(T) == 8 ? "64" : "32");
                const std::string at = shared ? "[%r5]" : "[%rd10]";
                std::string body =
                    "mov.u32 %r3, %ctaid.x; shl.b32 %r3, %r3, 5; add.s32 %r3, %r3, %r1;\n"
                    "mul.wide.u32 %rd10, %r3, 32; add.s64 %rd10, %rd10, %rd1;\n"
                    "ld.global" +
                    b + " " + reg + "21, [%rd10+8]; ld.global" + b + " " + reg +
                    "22, [%rd10+16];\n"
                    "shl.b32 %r5, %r1, 3; mov.u32 %r6, tile; add.s32 %r5, %r5, %r6;\n"
                    "ld.global.u64 %rd12, [%rd10]; st.shared.u64 [%r5], %rd12;\n" +
                    before + space + "." + op + noftz + "." + type + " " + (returns ? reg + "20, " : "") +
                    at + ", " + reg + "21" + (op == "cas" ? ", " + reg + "22" : "") + ";\n" +
                    (returns ? "st.global" + b + " [%rd10+24], " + reg + "20;\n" : "") +
                    (shared ? "ld.shared.u64 %rd12, [%r5]; st.global.u64 [%rd10], %rd12;\n" : "");
                auto done = lanes;
                auto outcome = run_text(kernel_text(body, ".shared .align 8 .b8 tile[256];"),
                                        {static_cast<u32>(lanes.size() / 32), 32}, done.data());
                EXPECT(!outcome.fault);
                for (std::size_t i = 0; i < lanes.size(); ++i) {
                    const T old = value_of<T>(lanes[i].place),
                            wanted = after(op, old, value_of<T>(lanes[i].b), value_of<T>(lanes[i].c));
                    const T got = value_of<T>(done[i].place);
                    const bool same = bits_of(got) == bits_of(wanted) || (got != got && wanted != wanted);
                    if (!same)
                        std::fprintf(stderr, "%s%s.%s.%s of %llx %llx: got %llx\n", before.c_str(), space,
                                     op.c_str(), type.c_str(),
                                     static_cast<unsigned long long>(lanes[i].place),
                                     static_cast<unsigned long long>(lanes[i].b),
                                     static_cast<unsigned long long>(done[i].place));
                    EXPECT(same);
                    if (returns)
                        EXPECT(bits_of(value_of<T>(done[i].old)) == bits_of(old));
                }
            }
}

/// Half atomics on a pair of halves: the other one stays.
void half_atomics(const std::string &type, u32 one, u32 two, u32 sum) {
    for (const char *op : {"atom", "red"}) {
        u32 place = one | 0x1234u << 16, unused = 0;
        const std::string to = op == std::string("atom") ? "%h2, " : "";
        auto outcome = run("mov.b16 %h1, " + std::to_string(two) + "; " + op + ".global.add.noftz." + type +
                               " " + to + "[%rd1], %h1;",
                           {1, 1}, &place, &unused);
        EXPECT(!outcome.fault && place == (sum | 0x1234u << 16));
    }
}

/// Pairs: each half is added to by itself.
void pair_atomics(const std::string &type, u32 before, u32 added, u32 sum) {
    for (const char *op : {"atom", "red"}) {
        u32 place = before, unused = 0;
        const std::string to = op == std::string("atom") ? "%r2, " : "";
        auto outcome = run("mov.b32 %r3, " + std::to_string(added) + "; " + op + ".global.add.noftz." + type +
                               " " + to + "[%rd1], %r3;",
                           {1, 4}, &place, &unused);
        EXPECT(!outcome.fault && place == sum);
    }
}

void orders_of_atomics() {
    std::string body = "mov.u32 %r2, 0; mov.u32 %r3, word; st.shared.u32 [%r3], 0; bar.sync 0;\n";
    unsigned expected = 0;
    for (const char *order : {"relaxed", "acquire", "release", "acq_rel"})
        for (const char *scope : {"cta", "gpu", "sys"}) {
            body += std::string("atom.") + order + "." + scope + ".shared.add.u32 %r4, [%r3], 1;\n";
            ++expected;
        }
    for (const char *order : {"relaxed.cta", "relaxed.gpu", "release.sys", "release.gpu"}) {
        body += std::string("red.") + order + ".shared.add.u32 [%r3], 1;\n";
        ++expected;
    }
    auto words = words_of(body + "bar.sync 0; ld.shared.u32 %r2, [%r3];", 32, ".shared .align 4 .b32 word;");
    for (u32 word : words)
        EXPECT(word == 32 * expected);
    std::uint16_t half[2] = {7, 9};
    auto outcome =
        run("mov.b16 %h1, 7; mov.b16 %h2, 40; atom.global.cas.b16 %h3, [%rd1], %h1, %h2;", {1, 1}, half);
    EXPECT(!outcome.fault && half[0] == 40 && half[1] == 9);
}

void asynchronous_copies() {
    for (unsigned bytes : {4u, 8u, 16u})
        for (int taken : {-1, 0, 3, 4}) {
            auto in = pattern();
            auto out = untouched();
            std::string copy = std::string("cp.async.") + (bytes == 16 ? "cg" : "ca") +
                               ".shared.global.L2::128B [%r5], [%rd10], " + std::to_string(bytes) +
                               (taken < 0 ? "" : ", %r7") + ";\n";
            auto outcome = run_text(
                kernel_text(
                    per_lane +
                        "shl.b32 %r5, %r1, 4; mov.u32 %r6, tile; add.s32 %r5, %r5, %r6; mov.u32 %r7, " +
                        std::to_string(std::max(taken, 0)) + ";\n" + copy +
                        "cp.async.commit_group; cp.async.wait_group 0; cp.async.wait_all;\n"
                        "ld.shared.v4.u32 {%r20, %r21, %r22, %r23}, [%r5]; st.global.v4.u32 [%rd11], {%r20, "
                        "%r21, %r22, %r23};",
                    ".shared .align 16 .b8 tile[512];"),
                {1, 32}, in.data(), out.data());
            EXPECT(!outcome.fault);
            for (unsigned lane = 0; lane < 32; ++lane)
                for (unsigned i = 0; i < bytes; ++i)
                    EXPECT(out[64 * lane + i] ==
                           (taken >= 0 && i >= static_cast<unsigned>(taken) ? 0 : in[64 * lane + i]));
        }
}

} // namespace

int main() {
    every_type_and_vector();
    signs_and_zeros_extend();
    orders_and_caches_change_nothing();
    every_space_holds_what_is_stored();
    atomics<std::uint32_t>("u32", 'r', "add min max inc dec");
    atomics<std::uint32_t>("b32", 'r', "and or xor exch cas");
    atomics<std::int32_t>("s32", 'r', "add min max");
    atomics<std::uint64_t>("u64", 'd', "add min max");
    atomics<std::uint64_t>("b64", 'd', "and or xor exch cas");
    atomics<std::int64_t>("s64", 'd', "min max");
    atomics<float>("f32", 'F', "add");
    atomics<double>("f64", 'D', "add");
    pair_atomics("f16x2", 0x3c00u << 16 | 0xbc00, 0x3800u << 16 | 0x4000,
                 0x4200u << 16 | 0x4700); // + 4 * 0.5, 4 * 2
    pair_atomics("bf16x2", 0x3f80u << 16 | 0xbf80, 0x3f00u << 16 | 0x4000, 0x4040u << 16 | 0x40e0);
    half_atomics("f16", 0x3c00, 0x4000, 0x4200); // 1 + 2 = 3
    half_atomics("bf16", 0x3f80, 0x4000, 0x4040);
    orders_of_atomics();
    asynchronous_copies();
    std::puts("memory as it should be");
}
