// Barriers of a block. A warp whose lanes all come at once waits as a whole. When only some of them come,
// those are parked, with the ways on which they wait, and the others go on until they come too, or end: each
// thread counts for itself. Lanes that are let go take their ways up again, and meet where they would have
// met.
#include "block_runner.hpp"

#include "control.hpp"

#include <algorithm>
#include <bit>

namespace soft {

namespace {

/// The ways of two groups of lanes as one stack: what lies below is common to both, and its lanes meet there.
void join_ways(std::vector<Reconvergence> &ways, const std::vector<Reconvergence> &others) {
    std::size_t common = 0;
    while (common < ways.size() && common < others.size() && ways[common].join == others[common].join &&
           ways[common].pc == others[common].pc) {
        ways[common].mask |= others[common].mask;
        ++common;
    }
    ways.insert(ways.end(), others.begin() + static_cast<std::ptrdiff_t>(common), others.end());
}

bool gives_result(const Op &op) {
    return (op.run == run_guarded ? op.guarded : op.run) == barrier_reduce;
}

} // namespace

/// Of a warp that came to a barrier with some of its lanes: sets them aside, and lets the others go on.
void BlockRunner::park(Warp &warp) {
    if (launch_->compiled && !warp.given_up) {
        take_over(warp); // lanes now go on in an order that compiled code does not know
        warp.given_up = 1;
    }
    const std::uint32_t coming = warp.barrier_lanes;
    warp.stack.back().pc = warp.pc;
    warp.stack.back().mask = warp.active;
    Parked group{warp.waiting,           warp.stack,   coming,
                 warp.barrier_predicate, warp.barrier, warp.barrier_threads};
    for (Reconvergence &way : group.ways)
        way.mask &= coming;
    std::erase_if(group.ways, [](const Reconvergence &way) { return way.mask == 0; });
    for (Reconvergence &way : warp.stack)
        way.mask &= ~coming;
    parked_[warp.index].push_back(std::move(group));
    any_parked_ = true;
    warp.state = WarpState::running;
    warp.barrier_predicate = 0;
    resume_next(warp);
}

/// Runs a warp until none of its lanes can go on for now.
void BlockRunner::advance_all(Warp &warp) {
    std::vector<Parked> &parked = parked_[warp.index];
    for (;;) {
        advance(warp);
        if (warp.state != WarpState::at_barrier || (parked.empty() && warp.barrier_lanes == warp.live))
            break;
        park(warp);
        if (warp.state != WarpState::running)
            break;
    }
    if (warp.state == WarpState::done && !parked.empty())
        warp.state = WarpState::at_barrier; // those that did not wait have ended
}

/// The lanes that wait at that barrier, and how many threads it is to have; 0 all of the block.
BlockRunner::Waiting BlockRunner::waiting_at(const Warp &warp, unsigned number) const {
    Waiting found;
    if (parked_[warp.index].empty() && warp.state == WarpState::at_barrier && warp.barrier == number)
        return {warp.barrier_lanes, warp.barrier_threads, warp.barrier_predicate, warp.waiting};
    for (const Parked &group : parked_[warp.index])
        if (group.number == number) {
            found.lanes |= group.lanes;
            found.threads = std::max(found.threads, group.threads);
            found.votes |= group.votes;
            found.op = group.op;
        }
    return found;
}

/// The common case, which a block comes to often: every warp that still runs waits as a whole, all of them
/// at one barrier, which counts no threads and gives nothing back. Lets them go; false when it is another
/// case.
bool BlockRunner::release_whole_block() {
    const Warp *first = nullptr;
    for (const Warp &warp : warps_) {
        if (warp.state == WarpState::done)
            continue;
        if (first == nullptr)
            first = &warp;
        if (warp.state != WarpState::at_barrier || warp.barrier != first->barrier ||
            warp.barrier_threads != 0 || !parked_[warp.index].empty() || gives_result(*warp.waiting))
            return false;
    }
    if (first->barrier != gathering)
        block_.arrived[first->barrier] = 0;
    for (Warp &warp : warps_)
        if (warp.state != WarpState::done)
            warp.state = WarpState::running;
    return true;
}

/// Lets those go whose barrier is complete: all threads that still run have come, or as many as it counts.
void BlockRunner::release_barriers(std::size_t done) {
    if (release_whole_block())
        return;
    bool released = false;
    const Warp *stuck = nullptr;
    for (unsigned number = 0; number <= cluster_barrier; ++number) {
        std::uint32_t threads = block_.arrived[number], wanted = 0, voters = 0, votes = 0;
        std::size_t whole = 0; // warps
        bool any = false;
        for (const Warp &warp : warps_) {
            const Waiting waiting = waiting_at(warp, number);
            if (waiting.lanes == 0)
                continue;
            any = true;
            stuck = &warp;
            whole += waiting.lanes == warp.live;
            const auto come = static_cast<std::uint32_t>(std::popcount(waiting.lanes));
            threads += waiting.lanes == warp.live ? lanes : come;
            wanted = std::max(wanted, waiting.threads);
            voters += come;
            votes += static_cast<std::uint32_t>(std::popcount(waiting.votes));
        }
        if (!any || !(wanted != 0 ? threads >= wanted : whole == warps_.size() - done))
            continue;
        for (Warp &warp : warps_)
            if (waiting_at(warp, number).lanes != 0)
                let_go(warp, number, votes, voters);
        block_.arrived[number] = 0;
        released = true;
    }
    if (released || end_gathering() || stuck == nullptr)
        return;
    if (std::none_of(warps_.begin(), warps_.end(),
                     [](const Warp &warp) { return warp.state == WarpState::yielded; }))
        raise_stuck(); // who has yielded may come to a barrier yet
}

/// Nobody else can go on: those go on that only waited for the others to come as far. False when there are
/// none.
bool BlockRunner::end_gathering() {
    bool any = false;
    for (Warp &warp : warps_)
        if (waiting_at(warp, gathering).lanes != 0) {
            let_go(warp, gathering, 0, 0);
            any = true;
        }
    return any;
}

/// No barrier can be completed any more.
void BlockRunner::raise_stuck() {
    for (Warp &warp : warps_)
        for (unsigned number = 0; number <= cluster_barrier; ++number)
            if (const Waiting waiting = waiting_at(warp, number); waiting.lanes != 0)
                soft::raise(warp, *waiting.op, FaultKind::timeout,
                            static_cast<unsigned>(std::countr_zero(waiting.lanes)),
                            "barrier that not all threads of the block come to");
}

void BlockRunner::let_go(Warp &warp, unsigned number, std::uint32_t votes, std::uint32_t voters) {
    std::vector<Parked> &parked = parked_[warp.index];
    if (parked.empty()) {
        give_result(warp, *warp.waiting, warp.barrier_lanes, votes, voters);
        warp.state = WarpState::running;
        return;
    }
    if (warp.state == WarpState::at_barrier) {
        warp.stack.clear(); // nobody is on its way
    } else {
        warp.stack.back().pc = warp.pc;
        warp.stack.back().mask = warp.active;
    }
    for (const Parked &group : parked)
        if (group.number == number) {
            give_result(warp, *group.op, group.lanes, votes, voters);
            join_ways(warp.stack, group.ways);
        }
    std::erase_if(parked, [number](const Parked &group) { return group.number == number; });
    if (warp.state == WarpState::at_barrier)
        warp.state = WarpState::running;
    resume_next(warp);
}

void BlockRunner::give_result(Warp &warp, const Op &op, std::uint32_t to, std::uint32_t votes,
                              std::uint32_t voters) {
    if (!gives_result(op))
        return;
    std::uint32_t before = warp.exec;
    warp.exec = to;
    if (op.immediate == reduce_popc) {
        for (unsigned i = 0; i < lanes; ++i)
            if ((warp.exec >> i) & 1)
                warp.slot<std::uint32_t>(op.dst)[i] = votes;
    } else {
        bool yes = op.immediate == reduce_and ? votes == voters : votes != 0;
        warp.write_predicate(op.dst, yes ? 0xffffffff : 0);
    }
    warp.exec = before;
}

} // namespace soft
