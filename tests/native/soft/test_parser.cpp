// PTX text that cannot be read: the error names the line. And text that can, with what it means.
#include "machine.hpp"

using namespace soft_test;

namespace {

/// The line and words of what reading and lowering "k" throws; line -1 when it goes well.
std::pair<int, std::string> error_of(const std::string &text) {
    try {
        ptx::Module module(text);
        (void)module.variables();
        (void)soft::lower(module, "k", [](const std::string &name) -> std::uint64_t {
            throw ptx::Error(0, "unknown symbol " + name);
        });
    } catch (const ptx::Error &error) {
        return {error.line, error.what()};
    }
    return {-1, ""};
}

void errors_name_their_line() {
    const std::string head = ".version 8.4\n.target sm_80\n.address_size 64\n";
    struct {
        std::string text;
        int line;
        const char *words;
    } const rows[] = {
        {head + "nonsense\n", 4, "nonsense"},
        {head + ".visible .entry k()\n{\nret;\n", 7, "not closed"},
        {head + ".visible .entry k()\n{\n.reg .b32 %r<3>;\nadd.s32 %r1, %r2\n}\n", 8, ""},
        {head + ".visible .entry k()\n{\n\n@%p9 ret;\n}\n", 7, "%p9"},
        {head + ".visible .entry k()\n{\nbra NOWHERE;\n}\n", 6, "NOWHERE"},
        {head + ".visible .entry k()\n{\n.reg .b32 %r<3>;\nmov.u32 %r1, 0x;\n}\n", 7, "0x"},
        {head + ".visible .entry k()\n{\n.reg .b32 %r<3>;\n\n\nwibble.s32 %r1, %r2;\n}\n", 9, "wibble"},
        {head + ".visible .entry k()\n{\n.reg .b32 %r<3>;\nmov.u32 %r1, nobody;\n}\n", 7, "nobody"},
        {head + ".visible .entry k()\n{\n.reg .b32 %r<3>;\nld.global.u32 %r1;\n}\n", 7, ""},
        {head + ".visible .entry k()\n{\n.reg .b64 %rd<3>;\n.reg .b32 %r<3>;\nmov.b64 %rd1, {%r1, %r2, "
                "%r1};\n}\n",
         8, ""},
    };
    bool good = true;
    for (const auto &row : rows) {
        auto [line, words] = error_of(row.text);
        if (line == row.line && words.find(row.words) != std::string::npos)
            continue;
        good = false;
        std::fprintf(stderr, "expected line %d and '%s', got line %d: %s\n%s\n", row.line, row.words, line,
                     words.c_str(), row.text.c_str());
    }
    EXPECT(good);
}

void numbers_are_read_as_written() {
    struct {
        const char *text;
        std::uint32_t value;
    } const rows[] = {{"12", 12},
                      {"-3", 0xfffffffd},
                      {"0x1F", 31},
                      {"017", 15},
                      {"0b101", 5},
                      {"0xffffffffU", 0xffffffff},
                      {"0f3F800000", 0x3f800000}};
    for (const auto &row : rows)
        EXPECT(words_of(std::string("mov.b32 %r2, ") + row.text + ";", 1)[0] == row.value);
    EXPECT(words_of("/* two\nlines */ mov.f32 %f1, 1.5; // more\nmov.b32 %r2, %f1;", 1)[0] == 0x3fc00000);
}

void elements_of_arrays_are_named_by_their_index() {
    const std::string level = ".shared .align 8 .b32 row[8];\n";
    const std::string store = "mov.u32 %r3, row; st.shared.u32 [%r3+8], 77;\n";
    EXPECT(words_of(level + store + "mov.u32 %r4, row[2]; ld.shared.u32 %r2, [%r4];", 1)[0] == 77);
    EXPECT(words_of(level + store + "ld.shared.u32 %r2, row[2];", 1)[0] == 77);
    EXPECT(words_of(level + "st.shared.u32 row[0], 5; ld.shared.u32 %r2, [row];", 1)[0] == 5);
    EXPECT(words_of(level + "mov.u32 %r4, row; mov.u32 %r5, row[3]; sub.u32 %r2, %r5, %r4;", 1)[0] == 12);
    const std::string global =
        ".global .b32 far[4];\n.visible .entry k() { .reg .b64 %rd<2>; mov.u64 %rd1, far[2]; }";
    EXPECT(
        error_of(".version 8.4\n.target sm_80\n.address_size 64\n" + global).second.find("not supported") !=
        std::string::npos);
}

void any_cut_of_a_text_ends_in_an_error_or_a_kernel() {
    const std::string text = kernel_text(
        "mov.u32 %r3, tile; ld.shared.v2.u32 {%r4, %r5}, [%r3+8];\n@!%p1 bra L; L: mov.b32 %r2, -1;",
        ".shared .align 8 .b8 tile[64];\n.const .align 4 .b32 table[2] = {1, 0x2};\n");
    for (std::size_t size = 0; size < text.size(); ++size)
        (void)error_of(text.substr(0, size));
    for (std::size_t at = 0; at < text.size(); ++at)
        for (char c : {'{', ';', '"', '[', '%', '\0', '9'}) {
            std::string changed = text;
            changed[at] = c;
            (void)error_of(changed);
        }
}

} // namespace

int main() {
    errors_name_their_line();
    numbers_are_read_as_written();
    elements_of_arrays_are_named_by_their_index();
    any_cut_of_a_text_ends_in_an_error_or_a_kernel();
    std::puts("texts read as they should be");
}
