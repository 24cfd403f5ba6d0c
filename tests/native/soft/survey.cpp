// Which kernels of a library the software GPU can make ready to run, and what keeps it from the others.
//
//     soft-survey FILE ARCH [EVERY]
//
// FILE is any that holds fat binaries (a shared library, an executable), or PTX text; ARCH is ten times a
// compute capability. Of each fat binary the code is chosen as for a launch, and every kernel of it (or each
// EVERY-th) is lowered, none is run. One line for each reason, then the counts. Exit status: 0 all were
// ready, 1 some were not.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "soft/exec/lower.hpp"
#include "soft/fatbin.hpp"
#include "soft/kernels.hpp"

namespace {

using Bytes = std::span<const std::byte>;

struct Reason {
    unsigned kernels = 0;
    std::string first; // kernel and line
};

struct Survey {
    std::uint32_t arch = 0;
    unsigned every = 1;
    unsigned images = 0, without_code = 0, kernels = 0, lowered = 0, ready = 0;
    std::map<std::string, Reason> reasons;

    void image(Bytes bytes) {
        ++images;
        const auto entries = shimbench::soft::code_entries(bytes);
        const auto *entry = shimbench::soft::best_ptx(entries, arch);
        const auto code = entry ? shimbench::soft::unpack(*entry) : std::nullopt;
        if (!code) {
            ++without_code;
            return;
        }
        try {
            const ptx::Module module(*code);
            for (const std::string &name : module.entry_names())
                if (kernels++ % every == 0)
                    kernel(module, name);
        } catch (const ptx::Error &error) {
            note(error, "a module");
        }
    }

    void kernel(const ptx::Module &module, const std::string &name) {
        ++lowered;
        auto address = [&](const std::string &symbol) -> std::uint64_t {
            for (const ptx::Variable &variable : module.variables())
                if (variable.name == symbol)
                    return 0x10000;
            throw ptx::Error(0, "unknown symbol " + symbol);
        };
        try {
            soft::lower(module, name, address);
            if (!shimbench::soft::ptx_kernel(module.text(), name))
                throw ptx::Error(0, "its parameters cannot be read");
            ++ready;
        } catch (const ptx::Error &error) {
            note(error, name);
        }
    }

    void note(const ptx::Error &error, const std::string &where) {
        Reason &reason = reasons[error.what()];
        if (reason.kernels++ == 0)
            reason.first = where + " line " + std::to_string(error.line);
    }
};

/// The containers of fat binaries, wherever they lie in a file; a file of PTX text is one image.
std::vector<Bytes> images_of(Bytes file) {
    constexpr std::uint32_t magic = 0xba55ed50;
    std::vector<Bytes> found;
    for (std::size_t at = 0; at + 16 <= file.size(); at += 8) {
        std::uint32_t first;
        std::uint64_t payload;
        std::memcpy(&first, file.data() + at, sizeof first);
        std::memcpy(&payload, file.data() + at + 8, sizeof payload);
        if (first != magic || payload > file.size() - at - 16)
            continue;
        found.push_back(file.subspan(at, 16 + payload));
        at += (8 + payload) / 8 * 8; // with the step of 8: behind it
    }
    if (found.empty())
        found.push_back(file);
    return found;
}

} // namespace

int main(int count, char **arguments) {
    if (count < 3) {
        std::fprintf(stderr, "usage: soft-survey FILE ARCH [EVERY]\n");
        return 2;
    }
    std::ifstream file(arguments[1], std::ios::binary);
    const std::vector<char> content{std::istreambuf_iterator<char>(file), {}};
    if (content.empty()) {
        std::fprintf(stderr, "soft-survey: %s: cannot be read, or is empty\n", arguments[1]);
        return 2;
    }
    Survey survey;
    survey.arch = static_cast<std::uint32_t>(std::atoi(arguments[2]));
    if (count > 3)
        survey.every = static_cast<unsigned>(std::max(1, std::atoi(arguments[3])));
    for (const Bytes image : images_of(std::as_bytes(std::span(content))))
        survey.image(image);
    for (const auto &[text, reason] : survey.reasons)
        std::printf("%6u %s (%s)\n", reason.kernels, text.c_str(), reason.first.c_str());
    std::printf("%u images, %u without PTX for %u; %u kernels, %u of them lowered, %u ready\n", survey.images,
                survey.without_code, survey.arch, survey.kernels, survey.lowered, survey.ready);
    return survey.ready != survey.lowered || !survey.reasons.empty();
}
