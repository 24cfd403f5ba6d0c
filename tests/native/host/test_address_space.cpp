// Allocation, virtual memory management and what may be touched.
#include "device/address_space.hpp"
#include "device_fixture.hpp"

using namespace shimbench;

namespace {

constexpr std::uint64_t mib = 1 << 20;

void memory_is_taken_and_given_back() {
    DeviceFixture fixture;
    AddressSpace space(fixture.range(), fixture.share());
    std::uint64_t first = 0, second = 0;
    EXPECT(space.allocate(100, 1, first) == CUDA_SUCCESS);
    EXPECT(space.allocate(8 * mib, 2, second) == CUDA_SUCCESS);
    EXPECT(space.touch(first, 100) && !space.touch(first, 101) && !space.touch(first + 100, 1));
    EXPECT(!space.touch(first - 1, 1) && !space.touch(first, UINT64_MAX));
    EXPECT(space.touch(second + 8 * mib - 1, 1));
    *space.touch(second, 1) = std::byte{7};
    std::uint64_t third = 0;
    EXPECT(space.allocate(64 * mib, 1, third) == CUDA_ERROR_OUT_OF_MEMORY);
    space.free_context(2);
    EXPECT(!space.touch(second, 1) && space.touch(first, 1));
    EXPECT(space.free(second, MemoryKind::Device) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(space.allocate(8 * mib, 1, second) == CUDA_SUCCESS && *space.touch(second, 1) == std::byte{0});
    EXPECT(space.free(first, MemoryKind::Pinned) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(space.free(first, MemoryKind::Device) == CUDA_SUCCESS);
    EXPECT(space.free(second, MemoryKind::Device) == CUDA_SUCCESS);
    EXPECT(fixture.used == 0);
}

void mappings_are_one_memory_and_need_access() {
    DeviceFixture fixture;
    AddressSpace space(fixture.range(), fixture.share());
    std::uint64_t address = 0, low = 0, high = 0;
    EXPECT(space.reserve(32 * mib, 0, 0, address) == CUDA_SUCCESS);
    EXPECT(space.create(2 * mib, low) == CUDA_SUCCESS && space.create(4 * mib, high) == CUDA_SUCCESS);
    EXPECT(space.map(address, 2 * mib, 0, low) == CUDA_SUCCESS);
    EXPECT(space.map(address, 2 * mib, 0, low) == CUDA_ERROR_ALREADY_MAPPED);
    EXPECT(space.map(address + 2 * mib, 4 * mib, 0, high) == CUDA_SUCCESS);
    EXPECT(space.release(low) == CUDA_SUCCESS);
    EXPECT(!space.touch(address, 1));
    EXPECT(space.set_access(address, 6 * mib, CU_MEM_ACCESS_FLAGS_PROT_READWRITE) == CUDA_SUCCESS);
    EXPECT(space.touch(address + mib, 5 * mib) && !space.touch(address + mib, 5 * mib + 1));
    EXPECT(space.set_access(address, 3 * mib, CU_MEM_ACCESS_FLAGS_PROT_READWRITE) ==
           CUDA_ERROR_INVALID_VALUE);
    EXPECT(space.release_reservation(address, 32 * mib) == CUDA_ERROR_INVALID_VALUE);
    EXPECT(space.unmap(address, 6 * mib) == CUDA_SUCCESS);
    EXPECT(!space.touch(address, 1) && fixture.used == 4 * mib);
    EXPECT(space.release(high) == CUDA_SUCCESS && fixture.used == 0);
    EXPECT(space.release_reservation(address, 32 * mib) == CUDA_SUCCESS);
}

void pinned_memory_lies_in_the_region() {
    DeviceFixture fixture;
    AddressSpace space(fixture.range(), fixture.share());
    std::uint64_t address = 0;
    EXPECT(space.allocate_pinned(DeviceFixture::pinned_bytes + 1, 0, 1, address) == CUDA_ERROR_OUT_OF_MEMORY);
    EXPECT(space.allocate_pinned(5000, 0, 1, address) == CUDA_SUCCESS);
    *space.touch(address, 5000) = std::byte{9};
    std::byte seen{};
    EXPECT(pread(fixture.region, &seen, 1, static_cast<off_t>(address - fixture.range().pinned_base())) == 1);
    EXPECT(seen == std::byte{9} && fixture.used == 0);
}

void allocations_lie_in_the_window_while_it_has_room() {
    DeviceFixture fixture;
    AddressSpace space(fixture.windowed_range(), fixture.share());
    std::uint64_t inside = 0, outside = 0, reserved = 0;
    EXPECT(space.reserve(4 * mib, 0, 0, reserved) == CUDA_SUCCESS);
    EXPECT(space.window_offset(reserved) == UINT64_MAX);
    EXPECT(space.allocate(12 * mib, 1, inside) == CUDA_SUCCESS && space.window_offset(inside) == 0);
    EXPECT(space.allocate(12 * mib, 1, outside) == CUDA_SUCCESS &&
           space.window_offset(outside) == UINT64_MAX);
    *space.touch(inside + mib, 1) = std::byte{9};
    *space.touch(outside + mib, 1) = std::byte{9};
    std::byte seen{};
    const auto at = static_cast<off_t>(DeviceFixture::pinned_bytes + mib);
    EXPECT(pread(fixture.region, &seen, 1, at) == 1 && seen == std::byte{9});
    // What is freed is forgotten, and may not be touched until it is allocated anew.
    EXPECT(space.free(inside, MemoryKind::Device) == CUDA_SUCCESS && !space.touch(inside, 1));
    EXPECT(pread(fixture.region, &seen, 1, at) == 1 && seen == std::byte{0});
    EXPECT(space.free(outside, MemoryKind::Device) == CUDA_SUCCESS && fixture.used == 0);
    EXPECT(space.allocate(14 * mib, 1, inside) == CUDA_SUCCESS && space.window_offset(inside) == 0);
    EXPECT(space.free(inside, MemoryKind::Device) == CUDA_SUCCESS);
}

} // namespace

int main() {
    memory_is_taken_and_given_back();
    mappings_are_one_memory_and_need_access();
    pinned_memory_lies_in_the_region();
    allocations_lie_in_the_window_while_it_has_room();
}
