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
    double seconds = 300;                        // after which it ends with FaultKind::timeout
    std::function<bool()> abandoned;             // asked now and then from any thread; true ends it too
    std::function<void(std::string_view)> print; // what vprintf writes; called from any thread
};

struct LaunchStatistics {
    std::uint64_t warp_operations = 0;
    double seconds = 0;
};

/// Runs to its end, on `threads` host threads that take blocks in turn. A launch that fails returns its
/// Fault; nothing is thrown.
///
/// A device access outside mapped memory raises SIGSEGV or SIGBUS: install_fault_handler must have been
/// called once in this process, so that it becomes a Fault too.
std::optional<Fault> run(const Program &program, const Launch &launch, unsigned threads,
                         LaunchStatistics *statistics = nullptr);

void install_fault_handler();

} // namespace soft
