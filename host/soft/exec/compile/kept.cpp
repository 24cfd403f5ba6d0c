#include "kept.hpp"

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>

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

constexpr std::string_view magic = "shimbench kernel 1\n";

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

std::string KeptCode::read() const {
    std::ifstream file(path_, std::ios::binary);
    std::string all((std::istreambuf_iterator<char>(file)), {});
    // magic, the code's own hash, the code
    if (!all.starts_with(magic) || all.size() < magic.size() + 32)
        return {};
    std::string code = all.substr(magic.size() + 32);
    return hash_of(code) == std::string_view(all).substr(magic.size(), 32) ? code : std::string();
}

void KeptCode::write(std::string_view code) const {
    if (path_.empty())
        return;
    std::error_code failed;
    std::filesystem::create_directories(folder_, failed);
    const std::string partial = path_ + "." + std::to_string(getpid());
    std::ofstream file(partial, std::ios::binary);
    file << magic << hash_of(code) << code;
    file.close();
    if (!file || (std::filesystem::rename(partial, path_, failed), failed))
        std::filesystem::remove(partial, failed);
}

} // namespace soft
