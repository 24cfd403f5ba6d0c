// Numbers that are alike in all lanes but for something known beforehand, which compiled code keeps as one
// scalar: every step of such address arithmetic against plain C, also where sums wrap, ways part, and what
// was assumed turns out not to be so.
#include <cstring>
#include <functional>
#include <sys/mman.h>
#include <vector>

#include "machine.hpp"

namespace {

using namespace soft_test;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

constexpr u32 threads = 96;

struct Row {
    const char *body; // leaves a word in %r2; %r1 is the thread, %r10 a number that only memory knows
    std::function<u32(u32 thread, u32 number)> expected;
};

const u32 numbers[] = {0, 1, 3, 12, 4096, 0x7ffffff0, 0x7fffffff, 0x80000000, 0xfffffff1, 0xffffffff};

/// Every row for every number, in one block of three warps.
void check_rows(const std::vector<Row> &rows) {
    for (const Row &row : rows)
        for (u32 number : numbers) {
            std::vector<u32> words(threads, 0xdddddddd);
            u32 in[1] = {number};
            const auto outcome = run(std::string("ld.global.u32 %r10, [%rd2];\n") + row.body +
                                         "\nmul.wide.u32 %rd60, %r1, 4; add.s64 %rd60, %rd60, %rd1;\n"
                                         "st.global.u32 [%rd60], %r2;",
                                     {1, threads}, words.data(), in);
            EXPECT(!outcome.fault);
            for (u32 thread = 0; thread < threads; ++thread)
                if (words[thread] != row.expected(thread, number)) {
                    std::fprintf(stderr, "%s\nthread %u, number %x: %x, wanted %x\n", row.body, thread,
                                 number, words[thread], row.expected(thread, number));
                    EXPECT(false);
                    break;
                }
        }
}

void bits_of_what_is_known_of_each_lane() {
    check_rows({
        {"or.b32 %r2, %r1, 1;", [](u32 t, u32) { return t | 1; }},
        {"or.b32 %r2, %r1, 64;", [](u32 t, u32) { return t | 64; }},
        {"shl.b32 %r3, %r10, 2; or.b32 %r2, %r3, 1;", [](u32, u32 n) { return n << 2 | 1; }},
        {"shl.b32 %r3, %r10, 5; or.b32 %r2, %r3, %r1;", [](u32 t, u32 n) { return n << 5 | t; }},
        {"and.b32 %r4, %r1, 31; shl.b32 %r3, %r10, 5; or.b32 %r2, %r4, %r3;",
         [](u32 t, u32 n) { return n << 5 | (t & 31); }},
        {"xor.b32 %r2, %r1, 21;", [](u32 t, u32) { return t ^ 21; }},
        {"xor.b32 %r2, %r1, 0x1f0;", [](u32 t, u32) { return t ^ 0x1f0; }},
        {"shl.b32 %r3, %r10, 3; xor.b32 %r2, %r3, -1;", [](u32, u32 n) { return ~(n << 3); }},
        {"and.b32 %r2, %r1, -4;", [](u32 t, u32) { return t & ~3u; }},
        {"and.b32 %r3, %r1, -4; sub.s32 %r2, %r1, %r3;", [](u32 t, u32) { return t % 4; }},
        {"add.s32 %r3, %r1, %r10; and.b32 %r2, %r3, 15;", [](u32 t, u32 n) { return (t + n) & 15; }},
        {"add.s32 %r3, %r1, %r10; xor.b32 %r4, %r3, 5; or.b32 %r2, %r4, 9;",
         [](u32 t, u32 n) { return ((t + n) ^ 5) | 9; }},
        {"shr.u32 %r2, %r1, 2;", [](u32 t, u32) { return t >> 2; }},
        {"shr.s32 %r3, %r1, 31; shr.u32 %r4, %r3, 30; add.s32 %r5, %r1, %r4; shr.s32 %r2, %r5, 2;",
         [](u32 t, u32) { return t / 4; }},
        {"shl.b32 %r3, %r10, 5; add.s32 %r4, %r3, %r1; shr.s32 %r2, %r4, 3;",
         [](u32 t, u32 n) { return static_cast<u32>(static_cast<s32>((n << 5) + t) >> 3); }},
        {"add.s32 %r4, %r10, %r1; shr.u32 %r2, %r4, 3;", [](u32 t, u32 n) { return (n + t) >> 3; }},
        {"mad.lo.s32 %r2, %r1, 12, %r10;", [](u32 t, u32 n) { return t * 12 + n; }},
        {"mul.lo.s32 %r3, %r1, -3; sub.s32 %r2, %r10, %r3;", [](u32 t, u32 n) { return n + 3 * t; }},
        {"mul.lo.s32 %r2, %r1, %r10;", [](u32 t, u32 n) { return t * n; }},
        {"add.s32 %r3, %r1, %r10; sub.s32 %r2, %r3, %r1;", [](u32, u32 n) { return n; }},
        {"not.b32 %r2, %r1;", [](u32 t, u32) { return ~t; }},
        {"add.s32 %r3, %r1, %r10; not.b32 %r2, %r3;", [](u32 t, u32 n) { return ~(t + n); }},
        {"add.s32 %r3, %r1, %r10; neg.s32 %r4, %r3; shl.b32 %r2, %r4, 1;",
         [](u32 t, u32 n) { return 0 - 2 * (t + n); }},
        {"mov.u32 %r3, %ntid.x; mad.lo.s32 %r2, %r3, %r10, %r1;", [](u32 t, u32 n) { return 96 * n + t; }},
        {"shl.b32 %r2, %r1, 30;", [](u32 t, u32) { return t << 30; }},
    });
}

/// The upper half of a 64-bit sum, and the lower, in one word.
#define FOLDED                                                                                               \
    " shr.u64 %rd11, %rd10, 32; cvt.u32.u64 %r20, %rd11; cvt.u32.u64 %r21, %rd10; "                          \
    "mad.lo.s32 %r2, %r20, 31, %r21;"
u32 folded(u64 x) {
    return static_cast<u32>(x >> 32) * 31 + static_cast<u32>(x);
}

void sums_that_wrap_before_they_are_made_longer() {
    auto sum = [](u32 t, u32 n) { return static_cast<s64>(static_cast<s32>(t + n)); };
    check_rows({
        {"add.s32 %r3, %r1, %r10; cvt.s64.s32 %rd10, %r3;" FOLDED,
         [&](u32 t, u32 n) { return folded(static_cast<u64>(sum(t, n))); }},
        {"add.s32 %r3, %r1, %r10; cvt.u64.u32 %rd10, %r3;" FOLDED,
         [](u32 t, u32 n) { return folded(u32(t + n)); }},
        {"add.s32 %r3, %r1, %r10; mul.wide.s32 %rd10, %r3, 34;" FOLDED,
         [&](u32 t, u32 n) { return folded(static_cast<u64>(sum(t, n) * 34)); }},
        {"sub.s32 %r3, %r10, %r1; mul.wide.u32 %rd10, %r3, 34;" FOLDED,
         [](u32 t, u32 n) { return folded(static_cast<u64>(u32(n - t)) * 34); }},
        {"shl.b32 %r4, %r10, 5; or.b32 %r3, %r4, 3; cvt.u64.u32 %rd10, %r3;" FOLDED,
         [](u32, u32 n) { return folded(u32(n << 5 | 3)); }},
        {"mov.u32 %r4, %laneid; sub.s32 %r3, %r4, 16; cvt.u64.u32 %rd10, %r3;" FOLDED,
         [](u32 t, u32) { return folded(u32(t % 32 - 16)); }},
    });
}

void a_sum_that_wraps_where_lanes_have_parted() {
    // Odd lanes wait with their own copy of a number while even ones find that a sum has wrapped.
    check_rows(
        {{"add.s32 %r3, %r1, %r10; and.b32 %r5, %r1, 1; setp.eq.u32 %p1, %r5, 1; mul.lo.s32 %r6, %r10, 7;\n"
          "add.s32 %r7, %r6, %r1; @%p1 bra ODD;\n"
          "mul.wide.s32 %rd10, %r3, 3;" FOLDED " bra JOIN;\n"
          "ODD: add.s32 %r2, %r7, %r3; JOIN: add.s32 %r2, %r2, %r7;",
          [](u32 t, u32 n) {
              const u32 seven = n * 7 + t;
              if (t % 2 == 1)
                  return seven + (t + n) + seven;
              return folded(static_cast<u64>(static_cast<s64>(static_cast<s32>(t + n)) * 3)) + seven;
          }}});
}

void what_is_alike_on_each_way_where_ways_meet() {
    // Half of the lanes go one way and come back with another number than those that went on; in the first
    // case with the same. What follows is done by all of them, and by some.
    check_rows({
        {"mov.u32 %r3, %r1; setp.gt.u32 %p1, %r1, %r10; @%p1 bra ON; add.u32 %r3, %r3, 0; ON:\n"
         "shl.b32 %r2, %r3, 2; add.u32 %r2, %r2, %r3;",
         [](u32 t, u32) { return 5 * t; }},
        {"mov.u32 %r3, %r1; setp.gt.u32 %p1, %r1, %r10; @%p1 bra ON; add.u32 %r3, %r3, 7; ON:\n"
         "shl.b32 %r2, %r3, 2; add.u32 %r2, %r2, %r3;",
         [](u32 t, u32 n) { return 5 * (t > n ? t : t + 7); }},
        {"and.b32 %r5, %r1, 3; setp.eq.u32 %p1, %r5, 1; add.u32 %r4, %r1, %r10; @%p1 bra ON;\n"
         "add.u32 %r4, %r4, 11; mul.lo.u32 %r10, %r10, 3; ON: add.u32 %r6, %r4, %r10;\n"
         "setp.gt.u32 %p2, %r1, 40; @%p2 bra END; add.u32 %r6, %r6, %r4; END: mov.u32 %r2, %r6;",
         [](u32 t, u32 n) {
             const u32 four = t + n + (t % 4 == 1 ? 0 : 11), ten = t % 4 == 1 ? n : n * 3;
             return four + ten + (t > 40 ? 0 : four);
         }},
        {"mov.u32 %r3, %r1; setp.gt.u32 %p1, %r1, 33; setp.eq.u32 %p3, %r10, 1; @%p1 bra ON;\n"
         "add.u32 %r3, %r3, 32; setp.ne.u32 %p3, %r10, 1; ON: bar.sync 0; selp.u32 %r2, %r3, %r10, %p3;",
         [](u32 t, u32 n) { return t > 33   ? (n == 1 ? t : n)
                                   : n != 1 ? t + 32
                                            : n; }},
        {"mov.u32 %r3, %r1; mov.u32 %r2, 0; and.b32 %r4, %r10, 63; and.b32 %r5, %r1, 1; setp.eq.u32 %p1, "
         "%r5, 1;\n"
         "LOOP: @%p1 bra ODD; add.u32 %r3, %r3, 5; ODD: add.u32 %r3, %r3, 7; add.u32 %r2, %r2, %r3;\n"
         "setp.lt.u32 %p2, %r3, %r4; @%p2 bra LOOP; add.u32 %r2, %r2, %r3;",
         [](u32 t, u32 n) {
             u32 at = t, sum = 0;
             do {
                 at += t % 2 ? 7 : 12;
                 sum += at;
             } while (at < (n & 63));
             return sum + at;
         }},
    });
}

/// Results that are another for each lane, though what they are made of looks alike.
void what_only_looks_alike_in_all_lanes() {
    auto words = words_of("mov.u32 %r3, %laneid; mov.b64 %rd4, {%r3, %r1}; mov.b64 {%r4, %r2}, %rd4;", 64);
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == i);
    words = words_of(
        "mov.u32 %r10, %ntid.x; shfl.sync.up.b32 %r4|%p3, %r10, 1, 0, -1; selp.b32 %r2, 1, 0, %p3;", 64);
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == (i % 32 != 0));
    words = words_of("mov.u32 %r5, m; setp.lt.u32 %p1, %r1, 4; shl.b32 %r6, %r1, 2; add.s32 %r6, %r6, %r5;\n"
                     "@%p1 st.shared.u32 [%r6], %r1; bar.sync 0;\n"
                     "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r2}, [%r5];",
                     64, ".shared .align 16 .b32 m[4];");
    for (u32 i = 0; i < 64; ++i)
        EXPECT(words[i] == i % 4);
}

/// Lanes that wait have a value where those that go on find room for another, which is one for all of them.
void what_waiting_lanes_have_stays_theirs() {
    auto words = words_of("mov.u32 %r2, 0; mov.u32 %r5, %ntid.x; and.b32 %r3, %r1, 3;\n"
                          "setp.lt.u32 %p1, %r3, 1; @%p1 bra A;\n"
                          "setp.lt.u32 %p2, %r3, 2; @%p2 bra A; mov.u32 %r2, 100; bra END;\n"
                          "A: add.s32 %r4, %r5, 5; brev.b32 %r6, %r4; add.s32 %r2, %r6, %r1;\n"
                          "add.s32 %r7, %r5, 6; brev.b32 %r8, %r7; add.s32 %r2, %r2, %r8;",
                          45);   // no whole rows: %tid is no number that lanes share
    for (u32 i = 0; i < 45; ++i) // 50 and 51, reversed
        EXPECT(words[i] == (i % 4 < 2 ? 0x4c000000u + 0xcc000000u + i : 100u));
}

void a_loop_that_lanes_leave_one_by_one() {
    check_rows(
        {{"mov.u32 %r3, %r1; mov.u32 %r2, 0; and.b32 %r4, %r10, 63;\n"
          "LOOP: add.s32 %r2, %r2, %r3; add.s32 %r3, %r3, 32; setp.lt.u32 %p1, %r3, %r4; @%p1 bra LOOP;\n"
          "add.s32 %r2, %r2, %r3;",
          [](u32 t, u32 n) {
              u32 at = t, sum = 0;
              do {
                  sum += at;
                  at += 32;
              } while (at < (n & 63));
              return sum + at;
          }}});
}

void elements_of_all_sizes_at_any_distance() {
    for (unsigned stride : {1u, 2u, 3u, 34u, 36u, 68u})
        for (unsigned start : {0u, 1u, 2u, 3u}) {
            std::vector<std::uint8_t> memory(threads * stride * 8 + 64);
            for (std::size_t i = 0; i < memory.size(); ++i)
                memory[i] = static_cast<std::uint8_t>(i * 37 + i / 251);
            for (unsigned size : {1u, 2u, 4u, 8u}) {
                const unsigned step = stride * size;
                const std::string bits = std::to_string(8 * size);
                const std::string to = size == 8 ? "%rd20" : size == 4 ? "%r20" : "%h1";
                const std::string back = size == 8   ? "cvt.u32.u64 %r2, %rd20;"
                                         : size == 4 ? "mov.u32 %r2, %r20;"
                                                     : "cvt.u32.u16 %r2, %h1;";
                std::vector<u32> words(threads);
                const auto outcome = run("mul.wide.u32 %rd10, %r1, " + std::to_string(step) +
                                             "; add.s64 %rd10, %rd10, %rd2;\n" + "ld.global.u" + bits + " " +
                                             to + ", [%rd10+" + std::to_string(size * start) + "];\n" + back +
                                             "mul.wide.u32 %rd60, %r1, 4; add.s64 %rd60, %rd60, %rd1;\n" +
                                             "st.global.u32 [%rd60], %r2;",
                                         {1, threads}, words.data(), memory.data());
                EXPECT(!outcome.fault);
                for (u32 t = 0; t < threads; ++t) {
                    u32 wanted = 0;
                    std::memcpy(&wanted, memory.data() + t * step + size * start, size < 4 ? size : 4);
                    EXPECT(words[t] == wanted);
                }
            }
        }
}

/// A page, with pages around it that nobody may touch.
class LonePage {
  public:
    static constexpr std::size_t bytes = 4096;
    LonePage()
        : all_(static_cast<std::uint8_t *>(
              mmap(nullptr, 3 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
        mprotect(all_ + bytes, bytes, PROT_READ | PROT_WRITE);
        for (std::size_t i = 0; i < bytes; ++i)
            begin()[i] = static_cast<std::uint8_t>(i * 37 + i / 251);
    }
    LonePage(const LonePage &) = delete;
    ~LonePage() { munmap(all_, 3 * bytes); }
    std::uint8_t *begin() const { return all_ + bytes; }
    std::uint8_t *end() const { return begin() + bytes; }

  private:
    std::uint8_t *all_;
};

/// Two 16-bit loads that make a word, which compiled code loads at once: put together, apart, in another
/// order, with something else between them, and half a word before the end of what is mapped.
void halves_of_a_word() {
    const LonePage page;
    struct Case {
        const char *body; // of %rd10, into %r2
        std::function<u32(u32 low, u32 high)> expected;
    };
    const std::string get = "ld.global.u16 %h1, [%rd10]; ";
    const Case cases[] = {
        {"ld.global.u16 %h2, [%rd10+2]; mov.b32 %r2, {%h1, %h2};", [](u32 l, u32 h) { return h << 16 | l; }},
        {"ld.global.u16 %h2, [%rd10+2]; mov.b32 %r2, {%h1, %h2}; cvt.u32.u16 %r3, %h2; add.u32 %r2, %r2, "
         "%r3;",
         [](u32 l, u32 h) { return (h << 16 | l) + h; }},
        {"ld.global.u16 %h2, [%rd10+2]; mov.b32 %r2, {%h2, %h1};", [](u32 l, u32 h) { return l << 16 | h; }},
        {"ld.global.u16 %h2, [%rd10+2]; add.u16 %h1, %h1, 1; mov.b32 %r2, {%h1, %h2};",
         [](u32 l, u32 h) { return h << 16 | ((l + 1) & 0xffff); }},
        {"add.s64 %rd10, %rd10, 2; ld.global.u16 %h2, [%rd10+2]; mov.b32 %r2, {%h1, %h2}; "
         "ld.global.u16 %h3, [%rd10]; mov.b32 %r3, {%h1, %h3}; xor.b32 %r2, %r2, %r3;",
         nullptr},
        {"st.global.u16 [%rd10+2], %r1; ld.global.u16 %h2, [%rd10+2]; mov.b32 %r2, {%h1, %h2};", nullptr},
    };
    for (const Case &one : cases)
        for (unsigned stride : {4u, 6u, 34u, 120u}) {
            std::uint8_t *first = page.end() - 31 * stride - (one.expected ? 4 : 6);
            std::vector<std::uint8_t> before(page.begin(), page.end());
            const std::uint8_t *was = before.data() + (first - page.begin());
            std::vector<u32> words(32);
            const auto outcome = run("mul.wide.u32 %rd10, %r1, " + std::to_string(stride) +
                                         "; add.s64 %rd10, %rd10, %rd2; " + get + one.body +
                                         "\nmul.wide.u32 %rd60, %r1, 4; add.s64 %rd60, %rd60, %rd1;\n"
                                         "st.global.u32 [%rd60], %r2;",
                                     {1, 32}, words.data(), first);
            EXPECT(!outcome.fault);
            for (u32 t = 0; t < 32; ++t) {
                u32 half[3] = {};
                for (unsigned k = 0; k < 3; ++k)
                    if (!one.expected || k < 2)
                        std::memcpy(&half[k], was + t * stride + 2 * k, 2);
                const bool stores = std::strncmp(one.body, "st", 2) == 0;
                const u32 wanted = one.expected ? one.expected(half[0], half[1])
                                   : stores     ? t << 16 | half[0]
                                                : (half[2] << 16 | half[0]) ^ (half[1] << 16 | half[0]);
                EXPECT(words[t] == wanted);
            }
            std::memcpy(page.begin(), before.data(), before.size());
        }
}

/// One, two or four elements of a lane, at distances that overlap, touch, or leave gaps; at either end of
/// what is mapped; and with a half of the lanes elsewhere.
void nothing_is_read_but_what_lanes_ask_for() {
    const LonePage page;
    for (unsigned size : {1u, 2u, 4u, 8u})
        for (unsigned count : {1u, 2u, 4u})
            for (unsigned step : {1u, 2u, 3u, 9u, 17u}) {
                const unsigned bytes = size * count, stride = step * bytes, span = 31 * stride + bytes;
                if (span > LonePage::bytes || bytes > 16)
                    continue;
                const std::string reg = size == 8 ? "%rd2" : size == 4 ? "%r2" : "%h";
                std::string list, sum = "mov.u32 %r2, 0;\n";
                for (unsigned k = 0; k < count; ++k) {
                    const std::string one = reg + std::to_string(size < 4 ? k + 1 : k);
                    list += (k ? ", " : "") + one;
                    sum += "cvt.u32.u" + std::to_string(size < 4 ? 16 : 8 * size) + " %r30, " + one +
                           "; mad.lo.u32 %r2, %r2, 31, %r30;\n";
                }
                if (count > 1)
                    list = "{" + list + "}";
                const std::string body =
                    "cvt.u32.u64 %r4, %rd3; shr.u64 %rd9, %rd3, 32; cvt.u32.u64 %r5, %rd9;\n" // first, last
                                                                                              // lane
                    "setp.lt.u32 %p1, %r1, %r4; setp.gt.or.u32 %p1, %r1, %r5, %p1; mov.u32 %r2, 7; @%p1 bra "
                    "END;\n"
                    "mul.wide.u32 %rd10, %r1, " +
                    std::to_string(stride) + "; add.s64 %rd10, %rd10, %rd2;\nld.global" +
                    (count > 1 ? ".v" + std::to_string(count) : "") + ".u" + std::to_string(8 * size) + " " +
                    list + ", [%rd10];\n" + sum +
                    "END: mul.wide.u32 %rd60, %r1, 4; add.s64 %rd60, %rd60, %rd1; st.global.u32 [%rd60], "
                    "%r2;";
                for (bool half : {false, true})
                    for (bool last : {false, true}) {
                        std::uint8_t *first = last ? page.end() - span : page.begin();
                        if (half) // the other half would be beyond
                            first = last ? page.end() - 15 * stride - bytes : page.begin() - 16 * stride;
                        const u64 wanted_lanes = !half ? 31ull << 32 : last ? 15ull << 32 : 31ull << 32 | 16;
                        std::vector<u32> words(32);
                        const auto outcome = run(body, {1, 32}, words.data(), first,
                                                 reinterpret_cast<const void *>(wanted_lanes));
                        EXPECT(!outcome.fault);
                        for (u32 t = 0; t < 32; ++t) {
                            const bool left_out = half && last == (t >= 16);
                            u32 wanted = left_out ? 7 : 0;
                            for (unsigned k = 0; !left_out && k < count; ++k) {
                                u32 word = 0;
                                std::memcpy(&word, first + t * stride + k * size, size < 4 ? size : 4);
                                wanted = wanted * 31 + word;
                            }
                            EXPECT(words[t] == wanted);
                        }
                    }
            }
}

} // namespace

int main() {
    bits_of_what_is_known_of_each_lane();
    sums_that_wrap_before_they_are_made_longer();
    a_sum_that_wraps_where_lanes_have_parted();
    what_is_alike_on_each_way_where_ways_meet();
    what_only_looks_alike_in_all_lanes();
    what_waiting_lanes_have_stays_theirs();
    a_loop_that_lanes_leave_one_by_one();
    elements_of_all_sizes_at_any_distance();
    halves_of_a_word();
    nothing_is_read_but_what_lanes_ask_for();
    std::puts("addresses as they should be");
}
