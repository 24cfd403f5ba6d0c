// The supervisor: listens, forks a warm worker per client, and clears up behind them. It reads nothing
// that a client sends.
#pragma once

#include <cstdint>
#include <string>

#include "server/state.hpp"
#include "server/table.hpp"
#include "server/worker.hpp"

namespace shimbench {

struct HostSettings {
    std::string socket_path;
    std::string state_target;
    std::string device_kind = "soft";
    unsigned max_clients = 64;
    std::uint64_t client_bytes = 0; // 0: all of the device's memory
    WorkerSettings worker{};
};

// Serves until SIGTERM or SIGINT; the process's exit status. Throws std::system_error when it cannot begin.
int run_supervisor(const HostSettings &settings);

} // namespace shimbench
