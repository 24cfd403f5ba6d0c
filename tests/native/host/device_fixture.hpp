// A count-only device with a range of its own, in this process.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <memory>

#include "device/device.hpp"
#include "expect.hpp"

namespace shimbench {

struct DeviceFixture {
    static constexpr std::uint64_t base = 0x210000000000, device_bytes = 1ull << 34, pinned_bytes = 1 << 24;
    static constexpr std::uint64_t memory_bytes = 64 << 20, window_bytes = 16 << 20;

    DeviceFixture() {
        void *got = mmap(reinterpret_cast<void *>(base), device_bytes + pinned_bytes, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        EXPECT(got == reinterpret_cast<void *>(base));
        region = memfd_create("test-region", MFD_CLOEXEC);
        EXPECT(region >= 0 && ftruncate(region, pinned_bytes) == 0);
        EXPECT(mmap(reinterpret_cast<void *>(base + device_bytes), pinned_bytes, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_FIXED, region, 0) != MAP_FAILED);
    }
    ~DeviceFixture() {
        munmap(reinterpret_cast<void *>(base), device_bytes + pinned_bytes);
        close(region);
    }

    AddressRange range() const { return {base, device_bytes, pinned_bytes, region, 0, 0, 0}; }

    // The same with the first bytes mapped from the region, as a worker's are.
    AddressRange windowed_range() const {
        EXPECT(ftruncate(region, pinned_bytes + window_bytes) == 0);
        EXPECT(mmap(reinterpret_cast<void *>(base), window_bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, region,
                    pinned_bytes) != MAP_FAILED);
        return {base, device_bytes, pinned_bytes, region, 0, pinned_bytes, window_bytes};
    }

    MemoryShare share() {
        return {[this](std::int64_t bytes) {
                    if (bytes > 0 && used + static_cast<std::uint64_t>(bytes) > memory_bytes)
                        return false;
                    used += static_cast<std::uint64_t>(bytes);
                    return true;
                },
                [this] { return memory_bytes - used; }};
    }

    static wire_device facts() {
        wire_device facts{};
        facts.memory_bytes = memory_bytes;
        facts.attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] = 8;
        facts.attributes[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK] = 49152;
        facts.attributes[CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR] = 2048;
        facts.attributes[CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR] = 32;
        facts.attributes[CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR] = 167936;
        return facts;
    }

    int region = -1;
    std::uint64_t used = 0;
};

} // namespace shimbench
