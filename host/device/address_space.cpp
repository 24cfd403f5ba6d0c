#include "device/address_space.hpp"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <utility>

namespace shimbench {

namespace {

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t huge_page = 2 << 20;

std::uint64_t rounded(std::uint64_t bytes, std::uint64_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

void *at(std::uint64_t address) {
    return reinterpret_cast<void *>(address);
}

} // namespace

std::optional<std::uint64_t> FreeRanges::take(std::uint64_t bytes, std::uint64_t alignment) {
    for (const auto &[start, length] : ranges_) {
        const std::uint64_t aligned = rounded(start, alignment);
        if (aligned - start > length || length - (aligned - start) < bytes)
            continue;
        take_at(aligned, bytes);
        return aligned;
    }
    return std::nullopt;
}

bool FreeRanges::take_at(std::uint64_t address, std::uint64_t bytes) {
    auto after = ranges_.upper_bound(address);
    if (after == ranges_.begin())
        return false;
    const auto [start, length] = *std::prev(after);
    const std::uint64_t before = address - start;
    if (before > length || length - before < bytes)
        return false;
    ranges_.erase(start);
    if (before)
        ranges_[start] = before;
    if (length - before - bytes)
        ranges_[address + bytes] = length - before - bytes;
    return true;
}

void FreeRanges::give(std::uint64_t address, std::uint64_t bytes) {
    auto after = ranges_.lower_bound(address);
    if (after != ranges_.end() && after->first == address + bytes) {
        bytes += after->second;
        after = ranges_.erase(after);
    }
    if (after != ranges_.begin()) {
        auto before = std::prev(after);
        if (before->first + before->second == address) {
            before->second += bytes;
            return;
        }
    }
    ranges_[address] = bytes;
}

AddressSpace::AddressSpace(const AddressRange &range, MemoryShare share)
    : range_(range), share_(std::move(share)), window_free_(range.base, range.window_bytes),
      device_free_(range.base + range.window_bytes, range.device_bytes - range.window_bytes),
      pinned_free_(range.pinned_base(), range.pinned_bytes) {}

AddressSpace::~AddressSpace() {
    share_.take(-static_cast<std::int64_t>(device_bytes_));
    for (const auto &[handle, physical] : physical_)
        close(physical.memory);
}

CUresult AddressSpace::allocate(std::uint64_t bytes, std::uint64_t context, std::uint64_t &address,
                                MemoryKind kind) {
    if (!bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > range_.device_bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    const std::uint64_t size = rounded(bytes, page);
    const std::uint64_t alignment = size >= huge_page ? huge_page : page;
    if (!share_.take(static_cast<std::int64_t>(size)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    auto start = window_free_.take(size, alignment);
    if (!start)
        start = device_free_.take(size, alignment);
    if (!start || mprotect(at(*start), size, PROT_READ | PROT_WRITE)) {
        if (start)
            owner(*start).give(*start, size);
        share_.take(-static_cast<std::int64_t>(size));
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (size >= huge_page)
        (void)madvise(at(*start), size, MADV_HUGEPAGE);
    allocations_[*start] = {bytes, size, kind, 0, context, next_id_++};
    device_bytes_ += size;
    if (kind == MemoryKind::Variables)
        variable_bytes_ += size;
    address = *start;
    return CUDA_SUCCESS;
}

CUresult AddressSpace::allocate_pinned(std::uint64_t bytes, std::uint32_t flags, std::uint64_t context,
                                       std::uint64_t &address) {
    if (!bytes)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > range_.pinned_bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    const std::uint64_t size = rounded(bytes, page);
    const auto start = pinned_free_.take(size, page);
    if (!start)
        return CUDA_ERROR_OUT_OF_MEMORY;
    allocations_[*start] = {bytes, size, MemoryKind::Pinned, flags, context, next_id_++};
    pinned_bytes_ += size;
    address = *start;
    return CUDA_SUCCESS;
}

FreeRanges &AddressSpace::owner(std::uint64_t address) {
    return in_window(address) ? window_free_ : device_free_;
}

// The pages go; the addresses stay reserved.
void AddressSpace::give_back_pages(std::uint64_t address, const Allocation &allocation) {
    if (allocation.kind == MemoryKind::Pinned) {
        const off_t offset = static_cast<off_t>(range_.pinned_offset + (address - range_.pinned_base()));
        (void)fallocate(range_.region, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                        static_cast<off_t>(allocation.size));
        pinned_free_.give(address, allocation.size);
        pinned_bytes_ -= allocation.size;
        return;
    }
    if (in_window(address)) {
        (void)mprotect(at(address), allocation.size, PROT_NONE);
        (void)fallocate(range_.region, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        static_cast<off_t>(range_.window_offset + (address - range_.base)),
                        static_cast<off_t>(allocation.size));
    } else {
        mmap(at(address), allocation.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
             -1, 0);
    }
    owner(address).give(address, allocation.size);
    device_bytes_ -= allocation.size;
    if (allocation.kind == MemoryKind::Variables)
        variable_bytes_ -= allocation.size;
    share_.take(-static_cast<std::int64_t>(allocation.size));
}

CUresult AddressSpace::free(std::uint64_t address, MemoryKind kind) {
    const auto found = allocations_.find(address);
    if (found == allocations_.end() || found->second.kind != kind)
        return CUDA_ERROR_INVALID_VALUE;
    give_back_pages(address, found->second);
    allocations_.erase(found);
    return CUDA_SUCCESS;
}

void AddressSpace::free_context(std::uint64_t context) {
    for (auto at = allocations_.begin(); at != allocations_.end();) {
        if (at->second.context != context || at->second.kind == MemoryKind::Mapped) {
            ++at;
            continue;
        }
        give_back_pages(at->first, at->second);
        at = allocations_.erase(at);
    }
}

CUresult AddressSpace::reserve(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t wish,
                               std::uint64_t &address) {
    if (!bytes || bytes % huge_page || (alignment & (alignment - 1)))
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > range_.device_bytes || alignment > range_.device_bytes)
        return CUDA_ERROR_OUT_OF_MEMORY;
    std::optional<std::uint64_t> start;
    if (wish && wish % huge_page == 0 && device_free_.take_at(wish, bytes))
        start = wish;
    else
        start = device_free_.take(bytes, alignment > huge_page ? alignment : huge_page);
    if (!start)
        return CUDA_ERROR_OUT_OF_MEMORY;
    reservations_[*start] = bytes;
    address = *start;
    return CUDA_SUCCESS;
}

CUresult AddressSpace::release_reservation(std::uint64_t address, std::uint64_t bytes) {
    const auto found = reservations_.find(address);
    if (found == reservations_.end() || found->second != bytes)
        return CUDA_ERROR_INVALID_VALUE;
    const auto mapped = mappings_.lower_bound(address);
    if (mapped != mappings_.end() && mapped->first < address + bytes)
        return CUDA_ERROR_INVALID_VALUE;
    reservations_.erase(found);
    device_free_.give(address, bytes);
    return CUDA_SUCCESS;
}

CUresult AddressSpace::create(std::uint64_t bytes, std::uint64_t &handle) {
    if (!bytes || bytes % huge_page)
        return CUDA_ERROR_INVALID_VALUE;
    if (bytes > range_.device_bytes || !share_.take(static_cast<std::int64_t>(bytes)))
        return CUDA_ERROR_OUT_OF_MEMORY;
    const int memory = memfd_create("shimbench-device", MFD_CLOEXEC);
    if (memory < 0 || ftruncate(memory, static_cast<off_t>(bytes))) {
        if (memory >= 0)
            close(memory);
        share_.take(-static_cast<std::int64_t>(bytes));
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    handle = next_id_++ << 8;
    physical_[handle] = {bytes, memory, 0, false};
    device_bytes_ += bytes;
    return CUDA_SUCCESS;
}

void AddressSpace::drop_when_unused(std::map<std::uint64_t, Physical>::iterator physical) {
    if (!physical->second.released || physical->second.mappings)
        return;
    close(physical->second.memory);
    device_bytes_ -= physical->second.bytes;
    share_.take(-static_cast<std::int64_t>(physical->second.bytes));
    physical_.erase(physical);
}

CUresult AddressSpace::release(std::uint64_t handle) {
    const auto found = physical_.find(handle);
    if (found == physical_.end() || found->second.released)
        return CUDA_ERROR_INVALID_VALUE;
    found->second.released = true;
    drop_when_unused(found);
    return CUDA_SUCCESS;
}

CUresult AddressSpace::map(std::uint64_t address, std::uint64_t bytes, std::uint64_t offset,
                           std::uint64_t handle) {
    const auto physical = physical_.find(handle);
    if (physical == physical_.end() || physical->second.released || !bytes ||
        (address | bytes | offset) % huge_page || bytes > physical->second.bytes ||
        offset > physical->second.bytes - bytes)
        return CUDA_ERROR_INVALID_VALUE;
    const auto after = reservations_.upper_bound(address);
    if (after == reservations_.begin())
        return CUDA_ERROR_INVALID_VALUE;
    const auto &[start, length] = *std::prev(after);
    if (address - start > length || length - (address - start) < bytes)
        return CUDA_ERROR_INVALID_VALUE;
    const auto next = mappings_.lower_bound(address);
    if (next != mappings_.end() && next->first < address + bytes)
        return CUDA_ERROR_ALREADY_MAPPED;
    if (next != mappings_.begin() && std::prev(next)->first + std::prev(next)->second.bytes > address)
        return CUDA_ERROR_ALREADY_MAPPED;
    if (mmap(at(address), bytes, PROT_NONE, MAP_SHARED | MAP_FIXED, physical->second.memory,
             static_cast<off_t>(offset)) == MAP_FAILED)
        return CUDA_ERROR_OUT_OF_MEMORY;
    mappings_[address] = {bytes, handle, CU_MEM_ACCESS_FLAGS_PROT_NONE};
    physical->second.mappings++;
    return CUDA_SUCCESS;
}

// The mappings that make up exactly [address, address + bytes) are undone.
CUresult AddressSpace::unmap(std::uint64_t address, std::uint64_t bytes) {
    auto mapping = mappings_.find(address);
    std::uint64_t covered = 0;
    for (auto walk = mapping; walk != mappings_.end() && covered < bytes && walk->first == address + covered;
         ++walk)
        covered += walk->second.bytes;
    if (!bytes || covered != bytes)
        return CUDA_ERROR_INVALID_VALUE;
    while (mapping != mappings_.end() && mapping->first < address + bytes) {
        mmap(at(mapping->first), mapping->second.bytes, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
        allocations_.erase(mapping->first);
        const auto physical = physical_.find(mapping->second.handle);
        physical->second.mappings--;
        drop_when_unused(physical);
        mapping = mappings_.erase(mapping);
    }
    return CUDA_SUCCESS;
}

CUresult AddressSpace::set_access(std::uint64_t address, std::uint64_t bytes, CUmemAccess_flags flags) {
    auto mapping = mappings_.find(address);
    std::uint64_t covered = 0;
    for (auto walk = mapping; walk != mappings_.end() && covered < bytes && walk->first == address + covered;
         ++walk)
        covered += walk->second.bytes;
    if (!bytes || covered != bytes)
        return CUDA_ERROR_INVALID_VALUE;
    const bool writable = flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    if (!writable && flags != CU_MEM_ACCESS_FLAGS_PROT_NONE)
        return CUDA_ERROR_NOT_SUPPORTED;
    for (; mapping != mappings_.end() && mapping->first < address + bytes; ++mapping) {
        if (mprotect(at(mapping->first), mapping->second.bytes,
                     writable ? PROT_READ | PROT_WRITE : PROT_NONE))
            return CUDA_ERROR_OUT_OF_MEMORY;
        mapping->second.access = flags;
        if (writable)
            allocations_[mapping->first] = {
                mapping->second.bytes, mapping->second.bytes, MemoryKind::Mapped, 0, 0, next_id_++};
        else
            allocations_.erase(mapping->first);
    }
    return CUDA_SUCCESS;
}

std::optional<CUmemAccess_flags> AddressSpace::access(std::uint64_t address) const {
    const auto after = mappings_.upper_bound(address);
    if (after == mappings_.begin())
        return std::nullopt;
    const auto &[start, mapping] = *std::prev(after);
    return address - start < mapping.bytes ? std::optional(mapping.access) : std::nullopt;
}

const Allocation *AddressSpace::find(std::uint64_t address, std::uint64_t &start) const {
    const auto after = allocations_.upper_bound(address);
    if (after == allocations_.begin())
        return nullptr;
    const auto &[begin, allocation] = *std::prev(after);
    start = begin;
    return address - begin < allocation.size ? &allocation : nullptr;
}

// A VMM mapping never lies in the window, and no allocation reaches beyond it.
std::uint64_t AddressSpace::window_offset(std::uint64_t address) const {
    return in_window(address) ? address - range_.base : UINT64_MAX;
}

std::byte *AddressSpace::touch(std::uint64_t address, std::uint64_t bytes) const {
    std::uint64_t reached = address;
    do {
        std::uint64_t start = 0;
        const Allocation *allocation = find(reached, start);
        if (!allocation)
            return nullptr;
        // Adjacent mappings of one reservation are one piece of memory; allocations are not.
        const std::uint64_t end =
            start + (allocation->kind == MemoryKind::Mapped ? allocation->size : allocation->bytes);
        if (reached >= end)
            return nullptr;
        if (bytes <= end - address)
            return static_cast<std::byte *>(at(address));
        if (allocation->kind != MemoryKind::Mapped)
            return nullptr;
        reached = end;
    } while (true);
}

std::string AddressSpace::complaint(std::uint64_t address, std::uint64_t bytes) const {
    if (touch(address, bytes))
        return {};
    auto named = [](std::uint64_t start, const Allocation &allocation) {
        char text[80];
        std::snprintf(text, sizeof(text), "an allocation of %llu bytes at 0x%llx",
                      static_cast<unsigned long long>(allocation.bytes),
                      static_cast<unsigned long long>(start));
        return std::string(text);
    };
    const auto after = allocations_.upper_bound(address);
    const auto before = after == allocations_.begin() ? allocations_.end() : std::prev(after);
    const bool follows = before != allocations_.end();
    const std::uint64_t end = follows ? before->first + before->second.bytes : 0;
    if (follows && address < end)
        return "which reaches beyond " + named(before->first, before->second);
    const bool precedes = after != allocations_.end();
    if (!follows && !precedes)
        return "where nothing is allocated";
    if (!follows || (precedes && after->first - address < address - end))
        return "which is " + std::to_string(after->first - address) + " bytes before " +
               named(after->first, after->second);
    return "which is " + std::to_string(address - end) + " bytes after " +
           named(before->first, before->second);
}

} // namespace shimbench
