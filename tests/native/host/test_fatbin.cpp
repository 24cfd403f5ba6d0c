// Which code of an image a device takes: the driver's choice, whatever the packing.
#include <lz4.h>
#include <zstd.h>

#include <cstring>
#include <string>
#include <vector>

#include "expect.hpp"
#include "soft/fatbin.hpp"

using namespace shimbench::soft;

namespace {

enum class As { Plain, Lz4, Zstd };

struct Code {
    std::uint16_t kind; // 1 PTX, 2 cubin
    std::uint32_t arch;
    As packed = As::Plain;
    bool specific = false;
};

template <class T> void put_at(std::string &into, std::size_t at, T value) {
    std::memcpy(into.data() + at, &value, sizeof value);
}

std::string text_of(const Code &code) {
    return "// code for " + std::to_string(code.arch) + std::string(500, '-');
}

/// A container as nvcc writes them: facts of the format are in the header of host/soft/fatbin.cpp.
std::string container(const std::vector<Code> &codes, std::uint32_t head_bytes) {
    std::string payload;
    for (const Code &code : codes) {
        const std::string text = text_of(code) + '\0';
        std::string stored = text;
        std::uint64_t flags = 0x11;
        if (code.packed == As::Lz4) {
            stored.resize(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(text.size()))));
            stored.resize(static_cast<std::size_t>(LZ4_compress_default(
                text.data(), stored.data(), static_cast<int>(text.size()), static_cast<int>(stored.size()))));
            flags |= 0x2000;
        } else if (code.packed == As::Zstd) {
            stored.resize(ZSTD_compressBound(text.size()));
            stored.resize(ZSTD_compress(stored.data(), stored.size(), text.data(), text.size(), 3));
            flags |= 0x8000;
        }
        if (code.specific)
            flags |= 0x1100000;
        const std::uint32_t packed = code.packed == As::Plain ? 0 : static_cast<std::uint32_t>(stored.size());
        stored.resize((stored.size() + 7) / 8 * 8);
        std::string head(head_bytes, '\0');
        put_at<std::uint16_t>(head, 0, code.kind);
        put_at<std::uint16_t>(head, 2, 0x0101);
        put_at<std::uint32_t>(head, 4, head_bytes);
        put_at<std::uint64_t>(head, 8, stored.size());
        put_at<std::uint32_t>(head, 16, packed);
        put_at<std::uint32_t>(head, 28, code.arch);
        put_at<std::uint64_t>(head, 40, flags);
        put_at<std::uint64_t>(head, 56, text.size());
        payload += head + stored;
    }
    std::string all(16, '\0');
    put_at<std::uint32_t>(all, 0, 0xba55ed50);
    put_at<std::uint16_t>(all, 4, 1);
    put_at<std::uint16_t>(all, 6, 16);
    put_at<std::uint64_t>(all, 8, payload.size());
    return all + payload;
}

std::span<const std::byte> bytes_of(const std::string &text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

std::uint32_t chosen(const std::string &image, std::uint32_t capability) {
    const auto entries = code_entries(bytes_of(image));
    const CodeEntry *best = best_ptx(entries, capability);
    return best ? best->arch : 0;
}

void the_highest_ptx_that_fits_is_taken() {
    const std::string npm =
        container({{2, 86}, {1, 75}, {1, 80}, {2, 89}, {1, 90}, {2, 120, As::Plain, true}}, 80);
    for (const auto &[capability, wanted] :
         {std::pair{70u, 0u}, {75u, 75u}, {80u, 80u}, {86u, 80u}, {89u, 80u}, {90u, 90u}, {120u, 90u}})
        EXPECT(chosen(npm, capability) == wanted);
}

void code_for_one_capability_only_runs_there() {
    const std::string image = container({{1, 80}, {1, 90, As::Plain, true}}, 104);
    EXPECT(chosen(image, 90) == 90 && chosen(image, 100) == 80 && chosen(image, 80) == 80);
    const auto text = [](const char *target) {
        return std::string(".version 8.8\n.target ") + target + "\n.address_size 64\n";
    };
    EXPECT(chosen(text("sm_80"), 90) == 80 && chosen(text("sm_80"), 75) == 0);
    EXPECT(chosen(text("sm_90a"), 90) == 90 && chosen(text("sm_90a"), 100) == 0);
    EXPECT(chosen(text("sm_100f"), 103) == 100 && chosen(text("sm_100f"), 120) == 0);
    const std::string spread = "/* .target sm_50 */ .version 8.8 // .target sm_50\n.target\tsm_90, debug\n";
    EXPECT(chosen(spread, 90) == 90 && chosen(spread, 80) == 0);
}

void sass_alone_is_nothing_to_execute() {
    const std::string image = container({{2, 80}, {2, 86}}, 64);
    EXPECT(chosen(image, 80) == 0);
    const auto entries = code_entries(bytes_of(image));
    EXPECT(entries.size() == 2 && best_cubin(entries, 86)->arch == 86 && !best_cubin(entries, 90));
}

void every_packing_gives_the_text_without_its_nul() {
    for (const As packed : {As::Plain, As::Lz4, As::Zstd})
        for (const std::uint32_t head : {64u, 72u, 80u, 88u, 104u}) {
            const Code code{1, 80, packed};
            const std::string image =
                container({{2, 86, packed}, code}, head) + container({{1, 75, packed}}, head);
            const auto entries = code_entries(bytes_of(image));
            EXPECT(entries.size() == 3);
            const auto text = unpack(*best_ptx(entries, 80));
            EXPECT(text && *text == text_of(code));
            EXPECT(best_ptx(entries, 75)->arch == 75); // of the container behind
        }
}

} // namespace

int main() {
    the_highest_ptx_that_fits_is_taken();
    code_for_one_capability_only_runs_there();
    sass_alone_is_nothing_to_execute();
    every_packing_gives_the_text_without_its_nul();
    std::puts("chosen as the driver would");
}
