// How bad accesses and other faults leave a warp: from a signal handler, or from compiled code, whose frames
// nothing unwinds.
#pragma once

#include "warp.hpp"

#include <csetjmp>
#include <optional>

namespace soft {

/// Set while this thread runs a warp: where a bad access of its kernel goes on (1), or a fault (2).
extern constinit thread_local sigjmp_buf *fault_exit;
/// Of the bad access.
extern constinit thread_local std::uint64_t fault_address;
/// What a handler that compiled code called has thrown.
extern constinit thread_local std::optional<Fault> fault_pending;

/// What compiled code has its operations performed by. Nothing unwinds through its frames: a fault leaves
/// them by the way of a bad access.
void perform(Warp *warp, const Op *op);
/// The same for a load or store by Warp::where.
void move(Warp *warp, const Op *op);
/// Whether the launch is to end; asked when a warp's budget of backward branches is used up.
void ask(Warp *warp, const Op *op);

} // namespace soft
