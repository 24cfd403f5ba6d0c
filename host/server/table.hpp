// What workers and supervisor share: one row a client in memory that was mapped before the fork. Each row
// is written by its worker alone; the supervisor reads, and clears the row of a worker that has ended.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include <sys/types.h>

#include "server/busy.hpp"
#include "wire/protocol.h"

namespace shimbench {

inline constexpr unsigned table_rows = 256;

enum class RowState : std::uint32_t { Unused, Greeting, Connected };

// What a worker has to say when it ends; exit status of the process.
enum class WorkerEnd : int { ClientLeft = 0, Refused = 20, ProtocolBroken = 21, Internal = 22, Idle = 23 };

struct ClientRow {
    std::atomic<RowState> state;
    std::atomic<pid_t> worker;
    std::atomic<pid_t> client;
    std::atomic<std::int64_t> memory;     // bytes of device memory
    std::atomic<std::uint64_t> variables; // of these, modules' variables
    std::atomic<std::uint64_t> pinned;
    std::atomic<std::uint64_t> calls;
    std::atomic<std::uint64_t> copied; // bytes
    std::atomic<std::uint64_t> launches;
    std::atomic<std::uint64_t> allocations;
    std::atomic<std::uint64_t> streams;
    std::atomic<std::uint64_t> events;
    std::atomic<std::uint64_t> modules;
    std::atomic<std::uint64_t> graphs;
    std::atomic<std::uint64_t> errors; // calls that returned one
    std::atomic<std::uint32_t> last_error;
    std::atomic<std::uint32_t> last_function;
    std::atomic<std::uint64_t> kernel_since; // CLOCK_MONOTONIC, ns: when the one that runs began; 0 none
    std::int64_t connected_ns;               // CLOCK_REALTIME
    char command[64];
    char message[WIRE_TEXT_BYTES]; // why the worker ended; written before it does
};

// Percent of the last second in which the device was at work, as NVML has it: with kernels, and with
// kernels, copies and fills.
struct Utilization {
    unsigned kernels, memory;
};

struct Table {
    std::uint64_t device_bytes;
    std::uint64_t client_bytes;           // most that one client may take
    std::atomic<std::uint32_t> rows_ever; // those behind were never in use
    BusyMeter kernels, memory;            // at work: with kernels; with kernels, copies and fills
    ClientRow rows[table_rows];

    // Asked for by a client's cuMemGetInfo: all rows are more cache lines than the whole call otherwise
    // touches.
    std::uint64_t used() const {
        std::int64_t sum = 0;
        const std::uint32_t count = rows_ever.load(std::memory_order_acquire);
        for (std::uint32_t n = 0; n < count; n++)
            sum += rows[n].memory.load(std::memory_order_relaxed);
        return static_cast<std::uint64_t>(sum < 0 ? 0 : sum);
    }

    // `now`: CLOCK_MONOTONIC, ns.
    Utilization utilization(std::uint64_t now) const {
        std::uint64_t going = 0;
        const std::uint32_t count = rows_ever.load(std::memory_order_acquire);
        for (std::uint32_t n = 0; n < count; n++) {
            const std::uint64_t since = rows[n].kernel_since.load(std::memory_order_relaxed);
            if (since && since < now)
                going += std::min(now - since, BusyMeter::window_ns);
        }
        return {kernels.percent(now, going), memory.percent(now, going)};
    }
};

static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<RowState>::is_always_lock_free);

} // namespace shimbench
