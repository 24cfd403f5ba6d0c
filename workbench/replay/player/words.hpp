// Calls of functions whose prototypes nobody here knows: all arguments are words.
#pragma once

#include "plan.hpp"

#include <array>
#include <cstdint>

namespace shimbench::replay {

inline uint64_t word_of(const void *pointer) {
    return reinterpret_cast<uint64_t>(pointer);
}

using Function = int32_t (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                             uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

// More arguments than the function takes do no harm: the caller removes them.
inline int32_t call(void *function, const std::array<uint64_t, kMostArguments> &w) {
    return reinterpret_cast<Function>(function)(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9],
                                                w[10], w[11], w[12], w[13], w[14], w[15]);
}

} // namespace shimbench::replay
