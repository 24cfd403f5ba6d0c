// One client's messages: each is checked, performed on the client's device, and answered. Knows the
// region's bytes, but neither sockets nor processes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <unordered_map>
#include <vector>

#include "device/device.hpp"
#include "server/message.hpp"
#include "server/table.hpp"

namespace shimbench {

// Where the parts of a region lie. The whole is `head->region_bytes` long; only what stands before the
// pinned memory is mapped here.
struct Region {
    wire_region *head = nullptr;
    std::byte *bytes() const { return reinterpret_cast<std::byte *>(head); }
    std::byte *ring() const { return bytes() + head_copy.ring_offset; }
    wire_slot *slot(std::uint32_t n) const {
        return reinterpret_cast<wire_slot *>(bytes() + head_copy.slots_offset) + n;
    }
    std::byte *upload() const { return bytes() + head_copy.upload_offset; }
    std::byte *download() const { return bytes() + head_copy.download_offset; }

    wire_region head_copy{}; // the client can write the shared one
};

// The head of a region with all its offsets, and with room for `pinned_bytes` and the window at its end.
wire_region region_layout(std::uint64_t pinned_bytes, std::uint64_t window_bytes, bool in_order);

class Client {
  public:
    Client(Device &device, const Region &region, ClientRow &row, const Table &table);

    // Performs what stands in the ring between `tail` and the client's head. Returns how many bytes
    // were consumed; -1: the client broke the protocol (why() says how).
    std::int64_t consume(std::uint64_t tail);

    // Performs one message, which nobody else can change any more.
    bool handle(std::span<const std::byte> message);

    const char *why() const { return why_; }

    // Called when a thread of the client sleeps until the ring's tail is where it is now.
    std::function<void()> bell;

  private:
    void ring(std::uint64_t tail);
    bool perform(const wire_message &head, Reader in, CUresult &result);
    bool copy(Reader &in, bool blocking, CUresult &result);
    bool window(Reader &in, CUresult &result);
    bool blob(const wire_message &head, Reader &in, CUresult &result);
    bool load(const wire_message &head, Reader &in, CUresult &result);
    bool launch(Reader &in, CUresult &result);
    bool layout(Reader &in, CUresult &result);
    bool nodes(Reader &in, CUresult &result);
    bool synchronize(Reader &in, CUresult &result);
    bool fail(const char *why);
    void answer(const wire_message &head, CUresult result);
    CUresult posted_error(CUresult result);
    void report(const wire_message &head, CUresult result);

    Device &device_;
    Region region_;
    ClientRow &row_;
    const Table &table_;
    Writer out_;
    alignas(16) std::byte message_[WIRE_MESSAGE_MAX];
    std::unordered_map<std::uint32_t, std::vector<std::byte>> blobs_; // by thread
    std::uint64_t downloads_ = 0;
    std::uint64_t upload_tail_ = 0;
    const char *why_ = "";
};

} // namespace shimbench
