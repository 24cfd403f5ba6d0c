// What a kernel prints, conversion by conversion, against this host's own printf; and clocks, which need no
// more than a kernel that reads them.
#include "machine.hpp"

using namespace soft_test;

namespace {

/// What one thread prints of a format and its arguments, which lie one behind the other in 8 bytes each;
/// `result` is what vprintf gave back.
std::string printed(const char *format, std::initializer_list<std::uint64_t> values,
                    std::int32_t *result = nullptr) {
    std::int32_t words[32] = {};
    const std::vector<std::uint64_t> arguments(values);
    auto outcome = run_text(
        kernel_text("{ .param .b64 a; .param .b64 b; .param .b32 c; setp.ne.u32 %p1, %r1, 1; @%p1 bra OUT;\n"
                    "st.param.b64 [a], %rd1; st.param.b64 [b], %rd2;\n"
                    "call.uni (c), vprintf, (a, b); ld.param.b32 %r2, [c]; st.global.u32 [%rd3], %r2; } OUT:",
                    ".extern .func (.param .b32 r) vprintf (.param .b64 f, .param .b64 v);"),
        {1, 32}, format, arguments.data(), words);
    EXPECT(!outcome.fault);
    if (result)
        *result = words[0];
    return outcome.printed;
}

std::uint64_t of(const char *text) {
    return reinterpret_cast<std::uint64_t>(text);
}
std::uint64_t of(double real) {
    std::uint64_t bits;
    std::memcpy(&bits, &real, sizeof bits);
    return bits;
}
/// Two words that lie in 8 bytes.
std::uint64_t both(std::uint32_t first, std::uint32_t second) {
    return first | std::uint64_t{second} << 32;
}

void conversions_are_the_hosts() {
    EXPECT(printed("%d %s %5.2f %llx %%\n", {std::uint32_t(-7), of("word"), of(2.5), 0xabcdef0123}) ==
           "-7 word  2.50 abcdef0123 %\n");
    EXPECT(printed("%lld|%lu|%zu", {~std::uint64_t{0}, 1ull << 40, 3}) == "-1|1099511627776|3");
    EXPECT(printed("%jd %td", {~std::uint64_t{1}, 1ull << 33}) == "-2 8589934592");
    EXPECT(printed("%u %i", {both(4000000000u, 0xffffffff)}) == "4000000000 -1");
    EXPECT(printed("%c%c%c", {both('a', 'b'), 'c'}) == "abc");
    EXPECT(printed("%hd %hhu", {both(70000, 300)}) == "4464 44");
    EXPECT(printed("%p", {0x7f0012345678}) == "0x7f0012345678");
    EXPECT(printed("%#x %#o %+d % d", {both(255, 8), both(5, 5)}) == "0xff 010 +5  5");
    EXPECT(printed("%08.3e|%g|%a", {of(1234.5), of(1e-5), of(1.0)}) == "1.234e+03|1e-05|0x1p+0");
    EXPECT(printed("%-6d|%06d|%.3s|", {both(42, 42), of("abcdef")}) == "42    |000042|abc|");
    EXPECT(printed("%lf %ls", {of(0.5), of("s")}) == "0.500000 s");
    EXPECT(printed("%s", {0}) == "(null)");
}

void stars_take_arguments() {
    EXPECT(printed("%*d|", {both(5, 42)}) == "   42|");
    EXPECT(printed("%-*d|", {both(5, 42)}) == "42   |");
    EXPECT(printed("%*d|", {both(std::uint32_t(-5), 42)}) == "42   |");
    EXPECT(printed("%*.*f|", {both(7, 2), of(3.14159)}) == "   3.14|");
    EXPECT(printed("%.*f|", {std::uint32_t(-1), of(0.5)}) == "0.500000|");
}

/// A device's printf says how many arguments it took.
void the_result_counts_arguments() {
    std::int32_t result = 99;
    EXPECT(printed("no arguments %%\n", {}, &result) == "no arguments %\n" && result == 0);
    EXPECT(printed("%d %*d %s", {both(1, 4), 2, of("x")}, &result) == "1    2 x" && result == 4);
    EXPECT(printed(nullptr, {}, &result).empty() && result == -1);
}

/// Formats that mean harm, or nothing.
void formats_of_any_kind_are_survived() {
    const std::string long_text(10000, 'x');
    EXPECT(printed("%s!", {of(long_text.c_str())}) == long_text + "!");
    EXPECT(printed("%70000d", {1}).size() <= 65536);
    EXPECT(printed("%999999999999999999d|", {1}).size() <= 65536);
    EXPECT(printed("%", {}).empty() && printed("100%", {}) == "100");
    EXPECT(printed("%n%d", {5}).find('n') == std::string::npos);
    EXPECT(printed("%-+ #0-+ #0-+ #0-+ #0-+ #0-+ #0d", {5}) == "+5");
    EXPECT(printed("%hhhhhhhhd", {5}) == "5" && printed("%lllllld", {5}) == "5");
}

/// The upper word is that of the same clock.
void clocks_have_upper_words() {
    for (const auto &[whole, high] :
         {std::pair{"%clock64", "%clock_hi"}, {"%globaltimer", "%globaltimer_hi"}}) {
        auto words = words_of(
            std::string("mov.u64 %rd4, ") + whole + "; mov.u32 %r3, " + high + "; mov.u64 %rd5, " + whole +
                ";\nshr.u64 %rd4, %rd4, 32; shr.u64 %rd5, %rd5, 32; cvt.u32.u64 %r4, %rd4; " +
                "cvt.u32.u64 %r5, %rd5;\nsetp.le.u32 %p1, %r4, %r3; setp.le.u32 %p2, %r3, %r5; "
                "and.pred %p1, %p1, %p2; selp.b32 %r2, 1, 0, %p1;",
            32);
        for (std::uint32_t word : words)
            EXPECT(word == 1);
    }
}

} // namespace

int main() {
    conversions_are_the_hosts();
    stars_take_arguments();
    the_result_counts_arguments();
    formats_of_any_kind_are_survived();
    clocks_have_upper_words();
    std::puts("printed as it should be");
}
