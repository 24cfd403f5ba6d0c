// Runs a lowered kernel over its grid.
#pragma once

#include "compile/compile.hpp"
#include "warp.hpp"

#include <functional>
#include <memory>
#include <optional>

namespace soft {

struct Launch {
    std::uint32_t grid[3] = {1, 1, 1}, block[3] = {1, 1, 1};
    std::uint32_t dynamic_shared = 0;     // bytes
    std::vector<std::uint8_t> parameters; // laid out as Program::parameters says
    std::uint64_t id = 0;                 // %gridid
    /// Of the program, which no other one has ever had here: what is prepared for it serves its next launch
    /// too. 0: nothing is kept.
    std::uint64_t program_number = 0;
    std::uint64_t first = 0;                  // block, in the grid's order; those before it have run
    std::shared_ptr<const Compiled> compiled; // null: interpreted
    /// Goes on where `compiled` has assumed too much; null: the interpreter does, to the warp's end.
    std::shared_ptr<const Compiled> careful;
    double seconds = 300; // after which it ends with FaultKind::timeout
    /// Of a cooperative launch: the place by which its blocks meet. All blocks are there at once
    /// then and take turns, so that they can wait for one another; such a launch is interpreted.
    GridWorkspace *workspace = nullptr;
    bool counts = false;           // performed operations one by one; interprets
    bool times_processors = false; // for LaunchStatistics::processor_seconds
    MemoryCheck memory_check;      // asked of each access to global memory, from any thread, unless
                                   // empty; for interpreted launches alone
    /// Asked between blocks by the calling thread, with the operations that it has performed: true leaves
    /// the blocks that nobody has begun. May be empty; not asked in a cooperative launch.
    std::function<bool(std::uint64_t operations)> pause;
    std::function<bool()> abandoned;             // asked now and then from any thread; true ends it too
    std::function<void(std::string_view)> print; // what vprintf writes; called from any thread
};

/// How often an operation was performed: by warps, and by the threads of theirs that its guard let through.
struct OperationCount {
    std::uint64_t warps = 0, threads = 0;
};

struct LaunchStatistics {
    std::uint64_t blocks = 0; // begun, and ended unless there was a fault
    std::uint64_t warp_operations = 0;
    double seconds = 0;
    std::uint64_t given_up = 0; // warps that careful code would have gone on with
    /// Of all threads together, if the launch asks for it: what counts while neighbours take the processors.
    double processor_seconds = 0;
    std::vector<OperationCount> counts; // one an operation of the program, when the launch counts them
    std::uint64_t counted = 0;          // blocks in `counts`

    /// Takes what another part of the same launch came to.
    void add(const LaunchStatistics &part);
};

/// Runs launches, one at a time, with threads and memory that are kept from one to the next.
///
/// A device access outside mapped memory raises SIGSEGV or SIGBUS: install_fault_handler must have been
/// called once in this process, so that it becomes a Fault too.
class Executor {
  public:
    /// Up to `threads` host threads, the calling one included, take blocks in turn. The others start when
    /// a launch first has use for them.
    explicit Executor(unsigned threads);
    ~Executor();

    /// Runs to the launch's end. One that fails returns its Fault; nothing is thrown.
    std::optional<Fault> run(const Program &program, const Launch &launch,
                             LaunchStatistics *statistics = nullptr);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

void install_fault_handler();

/// Processors that this process may run on, which are fewer than the machine has where it is held to some.
unsigned usable_processors();

} // namespace soft
