// How long and from which seed hostile input is made: the usual rounds in a test run, more in `./dev fuzz`.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>

namespace fuzz {

inline std::uint64_t setting(const char *variable, std::uint64_t otherwise) {
    const char *text = std::getenv(variable);
    return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// `usual` rounds, times SHIMBENCH_FUZZ_TIMES.
inline int rounds(int usual) {
    return static_cast<int>(usual * setting("SHIMBENCH_FUZZ_TIMES", 1));
}

/// The same numbers each time, unless SHIMBENCH_FUZZ_SEED says otherwise.
inline std::mt19937_64 random(std::uint64_t usual_seed) {
    return std::mt19937_64(usual_seed + 1'000'003 * setting("SHIMBENCH_FUZZ_SEED", 0));
}

} // namespace fuzz
