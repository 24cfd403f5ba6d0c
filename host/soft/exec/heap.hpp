// What kernels allocate themselves.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

namespace soft {

/// Shared by all blocks of all launches of a client.
class DeviceHeap {
  public:
    /// Zero when it has no more.
    std::uint64_t allocate(std::uint64_t bytes);
    /// False when the address is none that was allocated; 0 may always be freed.
    bool release(std::uint64_t address);
    /// Whether so many bytes lie within one allocation.
    bool holds(std::uint64_t address, std::uint64_t bytes) const;

  private:
    static constexpr std::uint64_t limit = 256u << 20; // no call says how much a device has; it has 8 MiB
    static constexpr std::uint64_t slack = 16;         // so that wide copies of the last element stay inside

    mutable std::mutex mutex_;
    std::map<std::uint64_t, std::uint64_t> sizes_; // by address
    std::uint64_t used_ = 0;
};

DeviceHeap &device_heap();

} // namespace soft
