// Runs a lowered kernel over its grid.
#pragma once

#include "warp.hpp"

#include <functional>
#include <optional>

namespace soft {

struct Launch {
    std::uint32_t grid[3] = {1, 1, 1}, block[3] = {1, 1, 1};
    std::uint32_t dynamic_shared = 0;            // bytes
    std::vector<std::uint8_t> parameters;        // laid out as Program::parameters says
    std::uint64_t id = 0;                        // %gridid
    std::function<void(std::string_view)> print; // what vprintf writes; called from any thread
};

struct LaunchStatistics {
    std::uint64_t warp_operations = 0;
    double seconds = 0;
};

/// Thrown by nothing: a launch that fails returns its Fault. `threads` host threads take blocks in turn;
/// `cancelled` may be set at any time and ends the launch with FaultKind::timeout.
///
/// A device access outside mapped memory raises SIGSEGV or SIGBUS: install_fault_handler must have been
/// called once in this process, so that it becomes a Fault too.
std::optional<Fault> run(const Program &program, const Launch &launch, unsigned threads, std::atomic<bool> &cancelled,
                         LaunchStatistics *statistics = nullptr);

void install_fault_handler();

} // namespace soft
