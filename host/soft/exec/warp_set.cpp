#include "warp_set.hpp"

#include <algorithm>

namespace soft {

namespace {

/// A token of a llama goes through some fifteen kernels, of about 100 KiB each.
constexpr std::size_t most_bytes = 8 << 20, most_sets = 64;

} // namespace

std::size_t WarpSets::bytes() const {
    std::size_t sum = 0;
    for (const Entry &entry : entries_)
        sum += entry.set->arena.size();
    return sum;
}

/// A new one, or, when there are enough, the one that was used longest ago, whose memory serves again: fresh
/// pages cost more than filling them.
WarpSets::Entry &WarpSets::to_be_filled(const WarpSetKey &key, std::size_t bytes) {
    auto oldest = std::ranges::min_element(
        entries_, {}, [](const Entry &entry) { return entry.key.program == 0 ? 0 : entry.used; });
    const bool reused =
        oldest != entries_.end() &&
        (oldest->key.program == 0 || entries_.size() >= most_sets || this->bytes() + bytes > most_bytes);
    if (reused)
        return *oldest;
    entries_.push_back({key, 0, std::make_unique<WarpSet>()});
    return entries_.back();
}

WarpSet &WarpSets::of(const WarpSetKey &key, std::size_t warps) {
    ++uses_;
    if (key.program != 0)
        for (Entry &entry : entries_)
            if (entry.key == key) {
                entry.used = uses_;
                return *entry.set;
            }
    const std::size_t bytes = key.stride * warps + 64;
    Entry &entry = to_be_filled(key, bytes);
    entry.key = {}; // of no use, should there be no memory
    WarpSet &set = *entry.set;
    set.filled = false;
    set.block_duration = 0;
    set.registers = set.arena.reserve(bytes);
    set.stride = key.stride;
    set.warps.resize(warps);
    entry.key = key;
    entry.used = uses_;
    return set;
}

} // namespace soft
