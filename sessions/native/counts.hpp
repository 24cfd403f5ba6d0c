// How what is written in mapped files becomes visible to readers.
#pragma once

#include "format.h"

#include <atomic>
#include <cstdint>

namespace shimbench::session {

inline void store_release(uint64_t &place, uint64_t value) {
    std::atomic_ref(place).store(value, std::memory_order_release);
}

// Release: who sees the count finds the records. The copy comes second, so a kill leaves a pair that differs.
inline void store_count(uint64_t &place, uint64_t &copy, uint64_t value) {
    store_release(place, value);
    store_release(copy, value ^ kRowsKey);
}

} // namespace shimbench::session
