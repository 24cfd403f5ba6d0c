// malloc and free of kernels. Allocations live on from launch to launch, as a device's heap does, until they
// are freed or the client's process ends.
#include "heap.hpp"

#include "control.hpp"

#include <bit>
#include <cstdlib>

namespace soft {

namespace {

template <class F> void lanes_of(std::uint32_t mask, F f) {
    for (; mask != 0; mask &= mask - 1)
        f(static_cast<unsigned>(std::countr_zero(mask)));
}

} // namespace

DeviceHeap &device_heap() {
    static DeviceHeap heap;
    return heap;
}

std::uint64_t DeviceHeap::allocate(std::uint64_t bytes) {
    const std::lock_guard lock(mutex_);
    if (bytes == 0 || bytes > limit - used_)
        return 0;
    void *memory = std::calloc(1, bytes + slack);
    if (memory == nullptr)
        return 0;
    used_ += bytes;
    const auto address = reinterpret_cast<std::uint64_t>(memory);
    sizes_[address] = bytes;
    return address;
}

bool DeviceHeap::release(std::uint64_t address) {
    if (address == 0)
        return true;
    const std::lock_guard lock(mutex_);
    const auto found = sizes_.find(address);
    if (found == sizes_.end())
        return false;
    used_ -= found->second;
    sizes_.erase(found);
    std::free(reinterpret_cast<void *>(address));
    return true;
}

bool DeviceHeap::holds(std::uint64_t address, std::uint64_t bytes) const {
    const std::lock_guard lock(mutex_);
    auto after = sizes_.upper_bound(address);
    if (after == sizes_.begin())
        return false;
    const auto &[begin, size] = *--after;
    return bytes <= size && address - begin <= size - bytes;
}

void allocate(Warp &w, const Op &op) {
    const auto *bytes = w.slot<std::uint64_t>(op.a);
    auto *address = w.slot<std::uint64_t>(op.dst);
    lanes_of(w.exec, [&](unsigned lane) { address[lane] = device_heap().allocate(bytes[lane]); });
}

void release(Warp &w, const Op &op) {
    const auto *address = w.slot<std::uint64_t>(op.a);
    lanes_of(w.exec, [&](unsigned lane) {
        if (!device_heap().release(address[lane]))
            raise(w, op, FaultKind::trap, lane, "free of what malloc has not given");
    });
}

} // namespace soft
