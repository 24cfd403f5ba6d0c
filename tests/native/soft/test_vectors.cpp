// Stores and loads of one, two or four elements of a lane in global, shared and local memory, at places that
// are known beforehand and at such as only memory knows, by all lanes of a warp and by some: against plain C.
// Compiled code moves what lies together at once, four words of a lane as a row.
#include <cstring>
#include <string>
#include <vector>

#include "machine.hpp"

namespace {

using namespace soft_test;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr u32 places = 40; // of 16 bytes

enum class Where { own, others, one }; // a lane's own, a place that memory names, the first for all

struct Case {
    std::string space;
    unsigned size, count;
    Where stored, loaded;
    u32 threads;
    std::string who; // a condition in %p1 on %r1, or nothing
    bool guarded;    // its accesses are, else a branch goes around them
    unsigned bytes() const { return size * count; }
};

bool takes_part(const Case &c, u32 t) {
    return c.who.empty() || (c.who == "odd" ? t % 2 == 1 : t < 9);
}

u32 place_of(const Case &c, Where where, u32 t) {
    const u32 named = (t * 7 + 3) % (c.space == "local" ? 4 : places);
    return where == Where::own ? (c.space == "local" ? 2 : t) : where == Where::others ? named : 0;
}

u64 element(u32 t, unsigned k) {
    return (t + 1) * 0x9e3779b97f4a7c15ull * (k + 3);
}

/// The places' table is at %rd2, and global memory of the test behind it at %rd3.
std::string address_of(const Case &c, Where where, const char *to) {
    std::string text;
    if (where == Where::others)
        text = "mul.wide.u32 %rd11, %r1, 4; add.s64 %rd11, %rd11, %rd2; ld.global.u32 %r11, [%rd11];\n";
    else
        text = where == Where::one || c.space == "local"
                   ? "mov.u32 %r11, " + std::to_string(where == Where::one ? 0 : 2) + ";\n"
                   : "mov.u32 %r11, %r1;\n";
    text += std::string("mul.wide.u32 ") + to + ", %r11, " + std::to_string(c.bytes()) + "; ";
    const std::string begin = c.space == "global" ? "%rd3" : c.space == "shared" ? "%rd5" : "%rd6";
    return text + "add.s64 " + to + ", " + to + ", " + begin + ";\n";
}

std::string body_of(const Case &c) {
    const std::string bits = std::to_string(8 * c.size), kind = c.space + (c.count > 1 ? ".v" : "") +
                                                                (c.count > 1 ? std::to_string(c.count) : "") +
                                                                ".u" + bits;
    const std::string guard = c.guarded && !c.who.empty() ? "@%p1 " : "";
    std::string text = "{ .shared .align 16 .b8 tile[" + std::to_string(16 * places) +
                       "]; .local .align 16 .b8 mine[64];\nmov.u64 %rd5, tile; mov.u64 %rd6, mine;\n"
                       "mul.wide.u32 %rd9, %r1, 16; add.s64 %rd9, %rd9, %rd5; mov.u64 %rd8, 0;\n";
    for (unsigned at = 0; at < 64; at += 8)
        text += "st.local.u64 [mine+" + std::to_string(at) + "], %rd8;\n";
    text += "st.shared.v2.u64 [%rd9], {%rd8, %rd8}; st.shared.v2.u64 [%rd9+" +
            std::to_string(16 * (places - c.threads)) + "], {%rd8, %rd8}; bar.sync 0;\n";
    text += c.who == "odd" ? "and.b32 %r5, %r1, 1; setp.eq.u32 %p1, %r5, 1;\n" : "setp.lt.u32 %p1, %r1, 9;\n";
    std::string list, loaded, sum = "mov.u64 %rd40, 7;\n";
    text +=
        "cvt.u64.u32 %rd12, %r1; add.s64 %rd12, %rd12, 1; mul.lo.s64 %rd12, %rd12, -7046029254386353131;\n";
    for (unsigned k = 0; k < c.count; ++k) {
        const std::string n = std::to_string(k + 1), wide = "%rd" + std::to_string(20 + k),
                          reg = c.size == 8   ? wide
                                : c.size == 4 ? "%r2" + n
                                              : "%h" + n,
                          back = c.size == 8   ? "%rd3" + n
                                 : c.size == 4 ? "%r3" + n
                                               : "%h1" + n;
        text += "mul.lo.s64 " + wide + ", %rd12, " + std::to_string(k + 3) + ";\n";
        if (c.size < 8)
            text += "cvt.u" + std::to_string(c.size == 4 ? 32 : 16) + ".u64 " + reg + ", " + wide + ";\n";
        text += (c.size == 8 ? "mov.u64 " : c.size == 4 ? "mov.u32 " : "mov.u16 ") + back + ", 5;\n";
        list += (k ? ", " : "") + reg;
        loaded += (k ? ", " : "") + back;
        sum += (c.size == 8   ? "mov.u64 %rd41, " + back
                : c.size == 4 ? "cvt.u64.u32 %rd41, " + back
                              : "cvt.u64.u16 %rd41, " + back) +
               "; mad.lo.s64 %rd40, %rd40, 31, %rd41;\n";
    }
    if (c.count > 1) {
        list = "{" + list + "}";
        loaded = "{" + loaded + "}";
    }
    const bool around = !c.who.empty() && !c.guarded;
    text += address_of(c, c.stored, "%rd10");
    text += (around ? "@!%p1 bra NOT;\n" : "") + guard + "st." + kind + " [%rd10], " + list + ";\n" +
            (around ? "NOT:\n" : "") + "bar.sync 0;\n" + address_of(c, c.loaded, "%rd13") +
            (around ? "@!%p1 bra NOR;\n" : "") + guard + "ld." + kind + " " + loaded + ", [%rd13];\n" +
            (around ? "NOR:\n" : "") + sum +
            "mul.wide.u32 %rd60, %r1, 8; add.s64 %rd60, %rd60, %rd1; st.global.u64 [%rd60], %rd40; }";
    return text;
}

void check(const Case &c) {
    std::vector<u64> results(c.threads);
    alignas(16) std::uint8_t global[16 * places] = {};
    std::vector<u32> named(c.threads);
    for (u32 t = 0; t < c.threads; ++t)
        named[t] = place_of(c, Where::others, t);
    const auto outcome =
        run(body_of(c), {1, c.threads}, results.data(), named.data(), static_cast<void *>(global));
    EXPECT(!outcome.fault);
    const bool local = c.space == "local";
    std::vector<std::uint8_t> memory(local ? 64 * c.threads : 16 * places);
    auto at = [&](Where where, u32 t) {
        return memory.data() + (local ? 64 * t : 0) + place_of(c, where, t) * c.bytes();
    };
    for (u32 t = 0; t < c.threads; ++t)
        for (unsigned k = 0; k < c.count && takes_part(c, t); ++k) {
            const u64 value = element(t, k);
            std::memcpy(at(c.stored, t) + k * c.size, &value, c.size);
        }
    for (u32 t = 0; t < c.threads; ++t) {
        u64 wanted = 7;
        for (unsigned k = 0; k < c.count; ++k) {
            u64 value = takes_part(c, t) ? 0 : 5;
            if (takes_part(c, t))
                std::memcpy(&value, at(c.loaded, t) + k * c.size, c.size);
            wanted = wanted * 31 + value;
        }
        if (results[t] != wanted) {
            std::fprintf(stderr, "%s\n%u threads, %s: thread %u has %llx, wanted %llx\n", body_of(c).c_str(),
                         c.threads, c.who.c_str(), t, static_cast<unsigned long long>(results[t]),
                         static_cast<unsigned long long>(wanted));
            EXPECT(false);
            break;
        }
    }
}

} // namespace

int main() {
    using enum Where;
    for (const char *space : {"global", "shared", "local"})
        for (unsigned size : {1u, 2u, 4u, 8u})
            for (unsigned count : {1u, 2u, 4u}) {
                if (size * count > 16)
                    continue;
                check({space, size, count, own, others, 32, "", false});
                check({space, size, count, others, own, 20, "", false});
                check({space, size, count, others, others, 32, "odd", true});
                check({space, size, count, one, one, 32, "first", false});
            }
    std::puts("every element where it belongs");
}
