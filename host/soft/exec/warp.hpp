// The state of a warp and of the block it belongs to, while they run on one thread of the host.
#pragma once

#include "program.hpp"

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace soft {

/// Why a kernel was ended; becomes a CUresult at the device's edge.
enum class FaultKind : std::uint8_t {
    none,
    illegal_address,    // CUDA_ERROR_ILLEGAL_ADDRESS
    misaligned_address, // CUDA_ERROR_MISALIGNED_ADDRESS
    trap,               // CUDA_ERROR_LAUNCH_FAILED
    assert_failed,      // CUDA_ERROR_ASSERT
    timeout,            // CUDA_ERROR_LAUNCH_TIMEOUT
    not_supported,      // CUDA_ERROR_NOT_SUPPORTED
};

struct Fault : std::exception {
    FaultKind kind = FaultKind::none;
    std::string message; // what, where: kernel, block, thread, PTX line
    int line = 0;
    std::uint32_t block[3] = {}, thread[3] = {};
    const char *what() const noexcept override { return message.c_str(); }
};

/// Where two ways of a divergent branch meet, and the lanes that go on from there.
struct Reconvergence {
    std::uint32_t join; // operation at which this entry is done; no_join for the outermost
    std::uint32_t pc;   // where its lanes go on
    std::uint32_t mask;
};
inline constexpr std::uint32_t no_join = 0xffffffff;

enum class WarpState : std::uint32_t { running, at_barrier, done, yielded };

/// Whether a launch must end before its kernel does.
struct EndCheck {
    std::chrono::steady_clock::time_point deadline;
    const std::function<bool()> &abandoned;
    const std::atomic<bool> &failed; // another block had a fault

    const char *reason() const;
};

/// What %envreg1 and %envreg2 give the address of: cooperative groups' grid barrier counts in it.
struct alignas(16) GridWorkspace {
    std::uint32_t bytes = 64, barrier = 0;
    std::uint32_t reserved[14] = {};
};
static_assert(sizeof(GridWorkspace) == 64);

/// Backward branches until a warp asks whether its launch is to end, or lets others have a turn.
inline constexpr std::uint64_t branches_between_checks = 4096, branches_of_a_turn = 64;

/// What is wrong with an access to so many bytes at an address; empty when they are a program's own.
using MemoryCheck = std::function<std::string(std::uint64_t address, std::uint64_t bytes)>;

struct Block;

/// What compiled code knows of a warp, by the offsets of these members.
struct WarpCore {
    std::uint8_t *registers = nullptr;
    std::uint8_t *scalars = nullptr; // 8 bytes for each value that all lanes have alike, of compiled code
    std::uint32_t *predicates = nullptr;
    void (*perform)(Warp *, const Op *) = nullptr; // has a handler perform one operation
    void (*ask)(Warp *, const Op *) = nullptr;     // the budget is used up: whether the launch is to end
    std::uint64_t executed = 0;                    // operations
    std::uint64_t budget = 0;                      // backward branches until the watchdog is asked
    const std::uint8_t *shared = nullptr;
    std::uint64_t shared_size = 0;
    const std::uint8_t *local = nullptr; // its lanes' local memory, one's after the other's
    std::uint32_t exec = 0;              // lanes this operation is for: those active, and the guard's
    std::uint32_t active = 0;            // lanes on this way
    std::uint32_t live = 0;              // lanes that have not returned
    std::uint32_t pc = 0;
    std::uint32_t join = no_join;        // of the stack's top
    std::uint32_t touching = 0;          // an access by `where` goes on
    std::uint32_t assumption_failed = 0; // of compiled code: more careful code must go on
    std::uint32_t given_up = 0;          // compiled code assumed what is not so: interpret the rest
    WarpState state = WarpState::running;
    std::uint32_t barrier = 0;         // number, while at_barrier
    std::uint32_t barrier_lanes = 0;   // that arrived
    std::uint32_t barrier_threads = 0; // how many threads it waits for; 0 all of the block
    const Op *waiting = nullptr;       // the operation it waits in
    Warp *next = nullptr;              // goes on when this one waits or is done, without leaving the code
    Warp **current = nullptr;          // says which one runs, for those who find that it had to stop
    void (*move)(Warp *, const Op *) = nullptr;  // performs a load or store by these:
    alignas(64) std::uint64_t where[lanes] = {}; // addresses, or offsets in shared memory
    alignas(
        64) std::uint32_t moved[8 * lanes] = {}; // what was loaded, or is to be stored: element after element
};

struct Warp : WarpCore {
    std::uint32_t barrier_predicate = 0; // lanes' votes for bar.red
    std::uint32_t index = 0;             // in the block
    bool carefully = false;              // Launch::careful ran it last
    std::vector<Reconvergence> stack;
    Block *block = nullptr;
    const Program *program = nullptr;

    template <class T> T *slot(std::uint32_t offset) { return reinterpret_cast<T *>(registers + offset); }
    const std::uint32_t *list(const Op &op) const { return program->lists.data() + op.list; }
    void write_predicate(std::uint32_t index, std::uint32_t bits) {
        predicates[index] = (predicates[index] & ~exec) | (bits & exec);
    }
};

/// What all warps of a block share, and what they know of the launch.
struct Block {
    std::uint8_t *shared = nullptr; // shared memory; addresses of that space are offsets into it
    std::uint64_t shared_size = 0;
    std::uint8_t *local = nullptr; // local memory: thread t's lies at t * local_size
    std::uint64_t local_size = 0;
    const std::uint8_t *parameters = nullptr;
    std::uint32_t parameter_bytes = 0;
    std::uint32_t index[3] = {}, size[3] = {}, grid[3] = {};
    std::uint32_t threads = 0, dynamic_shared = 0;
    std::uint32_t arrived[17] = {}; // threads that arrived at a barrier and went on
    std::uint64_t grid_id = 0;
    std::uint64_t grid_workspace = 0; // of a cooperative launch: where its blocks meet
    bool takes_turns = false;         // its warps let others go on often, as they wait for one another
    bool may_yield = false;           // they may do so, being interpreted
    EndCheck *end = nullptr;
    const MemoryCheck *memory_check = nullptr; // of global memory; null: pages alone protect it
    void (*print)(void *context, const char *text, std::size_t length) = nullptr;
    void *print_context = nullptr;
};

/// Ends the kernel: throws Fault with the warp's place, `lane` being the thread that did it.
[[noreturn]] void raise(Warp &warp, const Op &op, FaultKind kind, unsigned lane, const std::string &what);

} // namespace soft
