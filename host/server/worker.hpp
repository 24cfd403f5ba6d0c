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
    KernelRules rules{};
    int state = -1; // descriptor of the host's state lines; -1: nobody reads them
};

// Waits on `inbox` for a connection and the number of its row, serves the client, and ends the process.
[[noreturn]] void run_worker(int inbox, const WorkerSettings &settings, Table &table);

} // namespace shimbench
