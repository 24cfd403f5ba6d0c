// Kernels as machine code of this host, made by LLVM from what the interpreter would run.
#pragma once

#include "../program.hpp"

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace soft {

/// What compiled code takes for granted of lanes that went different ways and meet again.
enum class Care : std::uint8_t {
    assuming, // that what was alike on each way still is; code asks where they meet, and stops if it is not
    careful,  // nothing: what is written on one way only is a value of each lane
};

/// A value that compiled code keeps once for all lanes: its base in a cell, what lanes add, and its slot.
struct AlikeValue {
    std::uint32_t cell = 0,
                  slot = 0; // offsets into a warp's scalars and registers; slot of a predicate: index
    bool wide = false;
    std::array<std::int64_t, lanes> offsets{};
};

/// A compiled kernel. Runs a warp from its pc until its lanes part or meet, it waits or is done. When all of
/// it waits at a plain barrier, or is done, WarpCore::next goes on, if there is one; WarpCore::current says
/// which warp ran last. Where compiled code ends, its state is what the interpreter's would be, except for
/// values that all lanes have alike, which live in `scalar_bytes` of their own.
struct Compiled {
    void (*run)(Warp *, const Op *operations) = nullptr;
    std::uint32_t scalar_bytes = 0;                         // of one warp
    std::map<std::uint32_t, std::vector<AlikeValue>> alike; // by operation that lanes may wait at
    /// Accesses that are not left to handlers, by operation, for the report of a bad one: what lanes add to
    /// WarpCore::where[0]; nothing when all of `where` is theirs.
    std::map<std::uint32_t, std::optional<std::array<std::int64_t, lanes>>> touched;
    bool assumes = false;       // Care::assuming, and there is something to assume
    bool flushes = false;       // wants the processor to treat subnormal floats as zeros
    double seconds = 0;         // that compiling took
    std::uint32_t native = 0;   // operations that need no handler
    std::shared_ptr<void> code; // keeps it in memory
};

/// Whether this build can compile at all.
bool can_compile();

/// Compiles for blocks whose rows are whole warps (x a multiple of 32: y and z are alike in all lanes of
/// a warp), or for any. Null, with the reason in `why`, when it cannot: the interpreter can.
///
/// What was made is kept in files under the user's cache directory (shimbench/kernels), by the hash of
/// everything it depends on: compiling takes about a millisecond an operation, reading it back next to
/// nothing. `only_kept` asks for no more than that, and leaves `why` empty when there is none.
std::shared_ptr<const Compiled> compile(const Program &program, bool whole_rows, Care care, std::string &why,
                                        bool only_kept = false);

} // namespace soft
