// A worker: a process of the supervisor's that serves one client and ends with it.
#pragma once

#include <cstdint>

#include "device/device.hpp"
#include "server/table.hpp"
#include "wire/protocol.h"

namespace shimbench {

struct WorkerSettings {
    DeviceKind device = DeviceKind::CountOnly;
    wire_device facts;
    std::uint64_t pinned_bytes; // most pinned memory of one client
};

// Waits on `inbox` for a connection and the number of its row, serves the client, and ends the process.
[[noreturn]] void run_worker(int inbox, const WorkerSettings &settings, Table &table);

} // namespace shimbench
