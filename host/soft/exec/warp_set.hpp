// The warps of a block and their registers, as they are kept from one launch of a kernel to its next.
#pragma once

#include "arena.hpp"
#include "warp.hpp"

#include <memory>
#include <vector>

namespace soft {

struct WarpSetKey {
    std::uint64_t program = 0; // Launch::program_number; 0: of no use to any other launch
    std::uint32_t block[3] = {};
    std::size_t stride = 0; // of the set
    bool operator==(const WarpSetKey &) const = default;
};

/// Where a dimension of %ctaid has its slot.
struct BlockSpecial {
    std::uint32_t offset;
    unsigned dimension;
};

struct WarpSet {
    bool filled = false; // constants, special registers and parameters are in their slots
    Arena arena;
    std::uint8_t *registers = nullptr;
    std::size_t stride = 0; // bytes from one warp's to the next one's
    std::vector<Warp> warps;
    std::vector<std::uint32_t> predicates;
    std::vector<std::uint8_t> parameters; // as the slots have them
    std::vector<BlockSpecial> block_specials;
    std::uint32_t block[3] = {};      // %ctaid, as the slots have it
    std::uint64_t block_duration = 0; // nanoseconds, in the last launch; 0: unknown
};

/// Those of one thread. What was used longest ago makes room.
class WarpSets {
  public:
    /// The set for so many warps, with room for their registers, and filled when it was kept. Throws
    /// std::bad_alloc.
    WarpSet &of(const WarpSetKey &key, std::size_t warps);

  private:
    struct Entry {
        WarpSetKey key;
        std::uint64_t used = 0; // when
        std::unique_ptr<WarpSet> set;
    };
    Entry &to_be_filled(const WarpSetKey &key, std::size_t bytes);
    std::size_t bytes() const;

    std::vector<Entry> entries_;
    std::uint64_t uses_ = 0;
};

} // namespace soft
