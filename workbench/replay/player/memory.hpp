// What stands for the recording's handles and addresses now. All threads share it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace shimbench::replay {

// A value that was to be made by a call which failed: calls that need it can't be performed.
struct Missing {};

class Memory {
  public:
    void made_handle(uint8_t type, uint64_t recorded, uint64_t now);
    void made_range(uint64_t recorded, uint64_t size, uint64_t now);
    void made_extent(uint64_t recorded, uint64_t size);
    // Their making failed. What had this value before is gone as well.
    void lost_handle(uint8_t type, uint64_t recorded);
    void lost_range(uint64_t recorded, uint64_t size);

    // What stands for a handle; itself when it is no handle of a call that was recorded. Throws Missing.
    uint64_t handle(uint8_t type, uint64_t recorded);
    // Whether a call has made it, or failed to.
    bool knows_handle(uint8_t type, uint64_t recorded);
    // What stands for an address, if it lies in memory that calls of the recording made. Throws Missing.
    std::optional<uint64_t> address(uint64_t recorded);
    // The same, where memory lies behind it: a range that is merely reserved counts for nothing.
    std::optional<uint64_t> backed_address(uint64_t recorded);
    // Host memory of the recording: pinned memory, or some of our own that keeps its place.
    void *host(uint64_t recorded, uint64_t length);

    struct Extent {
        uint64_t recorded, size, now;
    };
    // Device memory that can be read as a whole around a recorded address.
    std::optional<Extent> extent(uint64_t recorded);

    // How many handles and addresses nobody had made.
    uint64_t unknown() const { return unknown_; }

  private:
    struct Range {
        uint64_t size;
        uint64_t now;
        bool missing;
    };
    void put_range(uint64_t recorded, Range range);

    std::mutex mutex_;
    std::unordered_map<uint64_t, uint64_t> handles_[256];
    std::unordered_map<uint64_t, bool> lost_[256];
    std::map<uint64_t, Range> ranges_;
    std::map<uint64_t, uint64_t> extents_; // start -> size
    std::map<uint64_t, std::vector<std::unique_ptr<std::byte[]>>> kept_;
    std::map<uint64_t, std::pair<std::byte *, uint64_t>> host_;
    uint64_t unknown_ = 0;
};

} // namespace shimbench::replay
