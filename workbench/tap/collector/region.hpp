// One process's shared memory, read as something somebody else wrote: offsets are checked, loops are
// bounded, cells are copied before they are looked at. What is damaged is left alone and said so.
#pragma once

#include "files.hpp"
#include "shimbench/tap_abi.h"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace shimbench::collector {

struct DrainedCall {
    tap_record record;
    uint32_t thread = 0; // tid
    uint8_t nesting = 0;
    uint32_t payload_offset = 0; // in Drained::payloads
    uint32_t payload_length = 0;
};

struct Drained {
    std::vector<DrainedCall> calls;
    std::vector<std::byte> payloads;
    void clear() {
        calls.clear();
        payloads.clear();
    }
};

struct FlyingCall {
    tap_slot slot;
    uint32_t thread = 0;
    uint8_t nesting = 0;
};

// A call that a breakpoint stopped.
struct HeldCall {
    uint32_t thread = 0; // tid
    uint32_t sequence = 0;
    uint16_t function = 0;
    bool after = false; // it has returned from the shim, with `result`
    int32_t result = 0;
    bool operator==(const HeldCall &) const = default;
};

// A breakpoint on a function; `nth` 0 stops at each match.
struct Breakpoint {
    uint16_t function = 0;
    tap_break_kind kind = TAP_BREAK_NONE;
    int32_t value = 0;
    uint32_t nth = 0;
    bool operator==(const Breakpoint &) const = default;
};

// Items of a payload in their one form: padding zeroed, cut at the end or at the first impossible item.
// Appends to `out`; false when something was cut.
bool append_items(std::span<const std::byte> cells, std::vector<std::byte> &out);

class Region {
  public:
    // Maps what a target handed over. Null, with the reason in `why`, when it is no region that can be
    // read safely: of another version, of impossible layout, or one its owner could shrink.
    static std::unique_ptr<Region> adopt(int memfd, std::string &why);
    ~Region();
    Region(const Region &) = delete;
    Region &operator=(const Region &) = delete;

    const tap_region &head() const { return head_; } // as it was when it was adopted
    // Completed calls since the last time, at most about `limit`; returns drained chunks.
    void drain(Drained &out, size_t limit);
    // Calls under way, outermost first within a thread.
    void in_flight(std::vector<FlyingCall> &out);
    // Calls stopped at a breakpoint.
    void held(std::vector<HeldCall> &out);
    // How often calls stopped so far: unchanged, and nothing has to be looked for.
    uint32_t holds();
    // Lets a stopped call go on; false when it is not stopped.
    bool release(uint32_t tid, uint32_t sequence);
    void release_all();
    // These and no others. Those that stay as they were keep their count of matches.
    void set_breakpoints(std::span<const Breakpoint> wanted);
    // Which buffers are recorded (enum tap_buffers), and how many bytes of them it may have put into lanes.
    void set_buffers(uint32_t which, uint64_t limit);
    // How many it has.
    uint64_t buffers_taken();
    // How many forked children could not register, and the last of them: its pid, and errno << 32.
    std::pair<uint32_t, uint64_t> refused_children();
    // Says that there is still somebody who can release calls.
    void beat();
    // Records dropped by the target so far.
    uint64_t lost();
    const std::string &damage() const { return damage_; }

  private:
    struct Thread {
        uint32_t chunk = 0; // number + 1
        uint32_t position = 0;
        bool damaged = false;
        uint64_t lost = 0;
        std::array<uint32_t, 32> recent{}; // sequences of the last completed calls
        uint32_t recent_at = 0;
    };

    Region(std::byte *base, size_t mapped, const tap_region &head);
    tap_region &shared() { return *reinterpret_cast<tap_region *>(base_); }
    tap_thread &thread(uint32_t index);
    tap_break &breakpoint(uint16_t function);
    bool let_go(tap_thread &thread, uint32_t sequence);
    std::byte *chunk(uint32_t number) {
        return base_ + head_.chunks_offset + size_t{number} * TAP_CHUNK_SIZE;
    }
    void drain_thread(uint32_t index, Drained &out, size_t limit);
    bool take_records(uint32_t index, uint32_t tid, uint32_t committed, Drained &out, size_t limit);
    void set_nesting(uint32_t index, std::span<DrainedCall> calls);
    bool owned(uint32_t number, uint32_t index);
    void give_back(uint32_t number);
    void count_lost(uint32_t index);
    void damaged(uint32_t index, const char *what);

    std::byte *base_;
    size_t mapped_;
    tap_region head_;
    std::vector<Thread> threads_; // grows with what the target uses
    uint64_t lost_ended_ = 0;
    std::vector<Breakpoint> breakpoints_;
    std::string damage_;
};

} // namespace shimbench::collector
