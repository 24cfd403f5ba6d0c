// Reading and writing memory that a target writes too.
#pragma once

#include <atomic>
#include <type_traits>

namespace shimbench::collector {

// What the other side stored with release before is seen after a load_acquire; what we store before a
// store_release is seen by whoever loads it with acquire.
template <typename T> T load_acquire(T &place) {
    return std::atomic_ref(place).load(std::memory_order_acquire);
}
template <typename T> void store_release(T &place, std::type_identity_t<T> value) {
    std::atomic_ref(place).store(value, std::memory_order_release);
}

} // namespace shimbench::collector
