// Device memory as host RAM: what is allocated where in the reserved range, and what may be touched. Its
// window, when it has one, is memory that the client maps as well.
// Pages are real and come when they are first written.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "device/device.hpp"

namespace shimbench {

// Addresses that are not in use, by start; first fit.
class FreeRanges {
  public:
    FreeRanges(std::uint64_t base, std::uint64_t bytes) {
        if (bytes)
            ranges_[base] = bytes;
    }
    std::optional<std::uint64_t> take(std::uint64_t bytes, std::uint64_t alignment);
    bool take_at(std::uint64_t address, std::uint64_t bytes);
    void give(std::uint64_t address, std::uint64_t bytes);

  private:
    std::map<std::uint64_t, std::uint64_t> ranges_;
};

enum class MemoryKind : std::uint8_t { Device, Pinned, Mapped, Variables };

// Memory that may be read and written. `bytes` is what was asked for, `size` what was taken.
struct Allocation {
    std::uint64_t bytes;
    std::uint64_t size;
    MemoryKind kind;
    std::uint32_t flags;
    std::uint64_t context;
    std::uint64_t id;
};

class AddressSpace {
  public:
    AddressSpace(const AddressRange &range, MemoryShare share);
    AddressSpace(const AddressSpace &) = delete;
    AddressSpace &operator=(const AddressSpace &) = delete;
    ~AddressSpace();

    // Memory of zeros. Context 0: it goes with no context.
    CUresult allocate(std::uint64_t bytes, std::uint64_t context, std::uint64_t &address,
                      MemoryKind kind = MemoryKind::Device);
    CUresult allocate_pinned(std::uint64_t bytes, std::uint32_t flags, std::uint64_t context,
                             std::uint64_t &address);
    CUresult free(std::uint64_t address, MemoryKind kind);

    CUresult reserve(std::uint64_t bytes, std::uint64_t alignment, std::uint64_t wish,
                     std::uint64_t &address);
    CUresult release_reservation(std::uint64_t address, std::uint64_t bytes);
    CUresult create(std::uint64_t bytes, std::uint64_t &handle);
    CUresult release(std::uint64_t handle);
    CUresult map(std::uint64_t address, std::uint64_t bytes, std::uint64_t offset, std::uint64_t handle);
    CUresult unmap(std::uint64_t address, std::uint64_t bytes);
    CUresult set_access(std::uint64_t address, std::uint64_t bytes, CUmemAccess_flags flags);
    std::optional<CUmemAccess_flags> access(std::uint64_t address) const;

    // The bytes at `address`, when all of them may be touched; else NULL.
    std::byte *touch(std::uint64_t address, std::uint64_t bytes) const;
    // Why touch() refuses them, in words that name the nearest allocation; empty when it does not.
    std::string complaint(std::uint64_t address, std::uint64_t bytes) const;
    // Where allocated bytes lie in the window; UINT64_MAX: not in it.
    std::uint64_t window_offset(std::uint64_t address) const;
    // The allocation that `address` lies in; `start` is where it begins.
    const Allocation *find(std::uint64_t address, std::uint64_t &start) const;

    // Frees whatever belongs to a context.
    void free_context(std::uint64_t context);

    std::uint64_t device_bytes() const { return device_bytes_; }
    std::uint64_t pinned_bytes() const { return pinned_bytes_; }
    // Of the device's bytes those of modules' variables, which no call of the client asked for.
    std::uint64_t variable_bytes() const { return variable_bytes_; }
    std::uint64_t count() const { return allocations_.size(); }
    std::uint64_t free_bytes() const { return share_.free(); }

  private:
    struct Mapping {
        std::uint64_t bytes;
        std::uint64_t handle;
        CUmemAccess_flags access;
    };
    struct Physical {
        std::uint64_t bytes;
        int memory;
        std::uint32_t mappings;
        bool released;
    };

    FreeRanges &owner(std::uint64_t address);
    bool in_window(std::uint64_t address) const { return address - range_.base < range_.window_bytes; }
    void give_back_pages(std::uint64_t address, const Allocation &allocation);
    void drop_when_unused(std::map<std::uint64_t, Physical>::iterator physical);

    AddressRange range_;
    MemoryShare share_;
    FreeRanges window_free_; // for allocations
    FreeRanges device_free_; // the rest: for reservations, and allocations once the window is full
    FreeRanges pinned_free_;
    std::map<std::uint64_t, Allocation> allocations_;
    std::map<std::uint64_t, std::uint64_t> reservations_;
    std::map<std::uint64_t, Mapping> mappings_;
    std::map<std::uint64_t, Physical> physical_;
    std::uint64_t device_bytes_ = 0;
    std::uint64_t pinned_bytes_ = 0;
    std::uint64_t variable_bytes_ = 0;
    std::uint64_t next_id_ = 1;
};

} // namespace shimbench
