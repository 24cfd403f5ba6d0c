#include "memory.hpp"

namespace shimbench::replay {

namespace {

constexpr uint64_t kFirstHandle = 16; // below are streams by number, devices and NULL

// The entry that holds `address`, of a map from starts to something with a size.
template <typename Map, typename Size> auto holding(Map &map, uint64_t address, Size size) {
    auto after = map.upper_bound(address);
    if (after == map.begin())
        return map.end();
    auto entry = std::prev(after);
    return address - entry->first < size(entry->second) ? entry : map.end();
}

} // namespace

void Memory::made_handle(uint8_t type, uint64_t recorded, uint64_t now) {
    std::lock_guard guard(mutex_);
    handles_[type][recorded] = now;
    lost_[type].erase(recorded);
}

void Memory::lost_handle(uint8_t type, uint64_t recorded) {
    std::lock_guard guard(mutex_);
    handles_[type].erase(recorded);
    lost_[type][recorded] = true;
}

// What it overlaps was freed.
void Memory::put_range(uint64_t recorded, Range range) {
    auto from = ranges_.upper_bound(recorded);
    if (from != ranges_.begin() && std::prev(from)->first + std::prev(from)->second.size > recorded)
        --from;
    ranges_.erase(from, ranges_.lower_bound(recorded + range.size));
    ranges_[recorded] = range;
}

void Memory::made_range(uint64_t recorded, uint64_t size, uint64_t now) {
    std::lock_guard guard(mutex_);
    auto known = holding(ranges_, recorded, [](const Range &range) { return range.size; });
    if (size <= 1 && known != ranges_.end()) // another name of memory that is known
        return;
    put_range(recorded, {size, now, false});
}

void Memory::lost_range(uint64_t recorded, uint64_t size) {
    std::lock_guard guard(mutex_);
    put_range(recorded, {size, 0, true});
}

void Memory::made_extent(uint64_t recorded, uint64_t size) {
    std::lock_guard guard(mutex_);
    extents_[recorded] = size;
}

bool Memory::knows_handle(uint8_t type, uint64_t recorded) {
    std::lock_guard guard(mutex_);
    return handles_[type].contains(recorded) || lost_[type].contains(recorded);
}

uint64_t Memory::handle(uint8_t type, uint64_t recorded) {
    std::lock_guard guard(mutex_);
    auto found = handles_[type].find(recorded);
    if (found != handles_[type].end())
        return found->second;
    if (lost_[type].contains(recorded))
        throw Missing{};
    if (recorded >= kFirstHandle)
        unknown_++;
    return recorded;
}

std::optional<uint64_t> Memory::address(uint64_t recorded) {
    std::lock_guard guard(mutex_);
    auto found = holding(ranges_, recorded, [](const Range &range) { return range.size; });
    if (found == ranges_.end())
        return std::nullopt;
    if (found->second.missing)
        throw Missing{};
    return found->second.now + (recorded - found->first);
}

std::optional<uint64_t> Memory::backed_address(uint64_t recorded) {
    bool device;
    {
        std::lock_guard guard(mutex_);
        device = holding(extents_, recorded, [](uint64_t size) { return size; }) != extents_.end();
        auto range = holding(ranges_, recorded, [](const Range &range) { return range.size; });
        // Pinned memory is nobody's extent; what was reserved has one inside of it.
        if (!device && range != ranges_.end()) {
            auto inner = extents_.lower_bound(range->first);
            device = inner == extents_.end() || inner->first >= range->first + range->second.size;
        }
    }
    return device ? address(recorded) : std::nullopt;
}

void *Memory::host(uint64_t recorded, uint64_t length) {
    if (auto pinned = address(recorded))
        return reinterpret_cast<void *>(*pinned);
    std::lock_guard guard(mutex_);
    auto &[memory, size] = host_[recorded];
    if (size < length) { // the smaller one stays: a copy into it may be under way
        kept_[recorded].push_back(std::make_unique<std::byte[]>(length));
        memory = kept_[recorded].back().get();
        size = length;
    }
    return memory;
}

std::optional<Memory::Extent> Memory::extent(uint64_t recorded) {
    uint64_t start, size;
    {
        std::lock_guard guard(mutex_);
        auto found = holding(extents_, recorded, [](uint64_t size) { return size; });
        if (found == extents_.end())
            return std::nullopt;
        start = found->first;
        size = found->second;
    }
    auto now = address(start);
    if (!now)
        return std::nullopt;
    return Extent{start, size, *now};
}

} // namespace shimbench::replay
