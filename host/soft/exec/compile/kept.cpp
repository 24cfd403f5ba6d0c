#include "kept.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>
#include <vector>

namespace soft {

namespace {

/// FNV-1a, twice with different starts: 128 bits, against chance and not against malice.
std::string hash_of(std::string_view bytes) {
    std::uint64_t first = 0xcbf29ce484222325, second = 0x84222325cbf29ce4;
    for (char byte : bytes) {
        first = (first ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
        second = (second ^ static_cast<unsigned char>(byte)) * 0x9e3779b97f4a7c15;
        second ^= second >> 29;
    }
    std::array<char, 33> text{};
    std::snprintf(text.data(), text.size(), "%016llx%016llx", static_cast<unsigned long long>(first),
                  static_cast<unsigned long long>(second));
    return text.data();
}

constexpr std::string_view magic = "shimbench kernel 2\n";

} // namespace

KeptCode::KeptCode(std::string_view everything_it_depends_on) {
    const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
    if (cache != nullptr && *cache == '/')
        folder_ = std::string(cache) + "/shimbench/kernels";
    else if (home != nullptr && *home == '/')
        folder_ = std::string(home) + "/.cache/shimbench/kernels";
    else
        return;
    path_ = folder_ + "/" + hash_of(everything_it_depends_on);
}

std::uint64_t KeptCode::limit() {
    const char *wanted = std::getenv("SHIMBENCH_KERNEL_CACHE");
    char *end = nullptr;
    const unsigned long long mebibytes = wanted != nullptr ? std::strtoull(wanted, &end, 10) : 0;
    const bool said = wanted != nullptr && end != wanted && *end == 0 && mebibytes < (1u << 20);
    return (said ? mebibytes : 512) << 20;
}

/// Down to three quarters of the limit, so that it is not done for every file. Whoever has a file open that
/// goes still reads it whole.
void KeptCode::make_room() const {
    struct File {
        std::filesystem::file_time_type used;
        std::uint64_t bytes;
        std::filesystem::path path;
    };
    std::vector<File> files;
    std::uint64_t total = 0;
    std::error_code failed;
    for (const auto &entry : std::filesystem::directory_iterator(folder_, failed)) {
        const std::uint64_t bytes = entry.file_size(failed);
        if (failed || entry.path() == path_)
            continue;
        files.push_back({entry.last_write_time(failed), bytes, entry.path()});
        total += bytes;
    }
    if (total <= limit())
        return;
    std::sort(files.begin(), files.end(), [](const File &a, const File &b) { return a.used < b.used; });
    for (const File &file : files) {
        if (total <= limit() / 4 * 3)
            return;
        std::filesystem::remove(file.path, failed);
        total -= file.bytes;
    }
}

std::string KeptCode::read() const {
    std::ifstream file(path_, std::ios::binary);
    std::string all((std::istreambuf_iterator<char>(file)), {});
    // magic, the code's own hash, the code
    if (!all.starts_with(magic) || all.size() < magic.size() + 32)
        return {};
    std::string code = all.substr(magic.size() + 32);
    if (hash_of(code) != std::string_view(all).substr(magic.size(), 32))
        return {};
    std::error_code failed; // a file's time says when it was last of use
    std::filesystem::last_write_time(path_, std::filesystem::file_time_type::clock::now(), failed);
    return code;
}

void KeptCode::write(std::string_view code) const {
    if (path_.empty())
        return;
    std::error_code failed;
    std::filesystem::create_directories(folder_, failed);
    static std::atomic<unsigned> number{0}; // threads of one process write, too
    const std::string partial =
        path_ + "." + std::to_string(getpid()) + "-" + std::to_string(number.fetch_add(1));
    std::ofstream file(partial, std::ios::binary);
    file << magic << hash_of(code) << code;
    file.close();
    if (!file || (std::filesystem::rename(partial, path_, failed), failed))
        std::filesystem::remove(partial, failed);
    make_room();
}

} // namespace soft
