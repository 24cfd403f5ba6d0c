#include "control.hpp"

#include <bit>
#include <chrono>

namespace soft {

namespace {

void set_active(Warp &w, std::uint32_t mask) {
    w.active = w.exec = mask;
}

/// Backward jumps ask now and then whether the kernel is to end.
void go(Warp &w, const Op &op, std::uint32_t target) {
    if (target < w.pc && --w.budget == 0) {
        w.budget = w.block->takes_turns ? branches_of_a_turn : branches_between_checks;
        if (const char *reason = w.block->end->reason())
            raise(w, op, FaultKind::timeout, 0, reason);
        if (w.block->may_yield)
            w.state = WarpState::yielded; // it may wait for what another warp does
    }
    w.pc = target;
}

/// What the first lane that is here has in a slot: others may have anything there.
std::uint32_t first_of(Warp &w, std::uint32_t slot) {
    return w.slot<std::uint32_t>(slot)[std::countr_zero(w.exec | 1u << 31)];
}

template <class F> void lanes_of(std::uint32_t mask, F f) {
    for (; mask != 0; mask &= mask - 1)
        f(static_cast<unsigned>(std::countr_zero(mask)));
}

} // namespace

const char *EndCheck::reason() const {
    if (failed.load(std::memory_order_relaxed)) // a flag alone: nothing is read through it
        return "another block of the launch failed";
    if (std::chrono::steady_clock::now() > deadline)
        return "the launch ran longer than its limit";
    if (abandoned && abandoned())
        return "nobody waits for the launch any more";
    return nullptr;
}

void resume_next(Warp &w) {
    while (!w.stack.empty()) {
        Reconvergence &top = w.stack.back();
        top.mask &= w.live;
        if (top.mask != 0) {
            set_active(w, top.mask);
            w.join = top.join;
            w.pc = top.pc;
            return;
        }
        w.stack.pop_back();
    }
    w.state = WarpState::done;
}

void run_guarded(Warp &w, const Op &op) {
    std::uint32_t guard = w.predicates[op.guard];
    w.exec = w.active & (op.flags & guard_negated ? ~guard : guard);
    if (w.exec != 0)
        op.guarded(w, op);
    // What runs under a guard may have ended lanes (exit) or the warp: `active` is up to date either way.
    w.exec = w.active;
}

void jump(Warp &w, const Op &op) {
    go(w, op, static_cast<std::uint32_t>(op.immediate));
}

void branch_if(Warp &w, const Op &op) {
    std::uint32_t guard = w.predicates[op.guard];
    std::uint32_t taken = w.active & (op.flags & guard_negated ? ~guard : guard);
    auto target = static_cast<std::uint32_t>(op.immediate);
    if (taken == 0)
        return;
    if (taken == w.active)
        return go(w, op, target);
    // Lanes part. The entry on top is this way's; it stays as what comes after the two ways, unless a
    // way below waits at the same place already.
    const std::uint32_t others = w.active & ~taken, after = w.pc;
    if (w.stack.back().join == op.join)
        w.stack.pop_back();
    else
        w.stack.back() = {w.stack.back().join, op.join, w.active};
    if (after != op.join)
        w.stack.push_back({op.join, after, others});
    if (target != op.join)
        w.stack.push_back({op.join, target, taken});
    // A backward branch that splits the warp counts as one too.
    w.pc = after;
    if (target < after)
        go(w, op, target);
    resume_next(w);
}

void meet(Warp &w, const Op &op) {
    if (w.stack.back().join != static_cast<std::uint32_t>(op.immediate))
        return;
    w.stack.pop_back();
    resume_next(w);
}

void finish(Warp &w, const Op &) {
    w.live &= ~w.exec;
    w.active &= ~w.exec;
    w.exec = w.active;
    if (w.active == 0)
        resume_next(w);
}

void barrier(Warp &w, const Op &op) {
    const std::uint32_t number = barrier_number(first_of(w, op.a));
    if (number == gathering && w.exec != w.live)
        return; // lanes that have parted meet again first
    w.state = WarpState::at_barrier;
    w.barrier = number;
    w.barrier_threads = op.flags & has_predicate ? first_of(w, op.b) : 0;
    w.barrier_lanes = w.exec;
    w.waiting = &op;
}

void barrier_arrive(Warp &w, const Op &op) {
    unsigned number = first_of(w, op.a) & 15;
    // Whole warps count as such, threads that have ended included; else each thread counts.
    w.block->arrived[number] += w.exec == w.live ? lanes : static_cast<std::uint32_t>(std::popcount(w.exec));
}

void barrier_reduce(Warp &w, const Op &op) {
    barrier(w, op);
    std::uint32_t votes = w.predicates[op.predicate];
    w.barrier_predicate = (op.flags & predicate_negated ? ~votes : votes) & w.exec;
}

void trap(Warp &w, const Op &op) {
    raise(w, op, FaultKind::trap, static_cast<unsigned>(std::countr_zero(w.exec)),
          op.immediate == trap_of_pointer
              ? "call by a pointer to no function of the module, or to one that is under way"
              : "trap");
}

void is_space(Warp &w, const Op &op) {
    const auto *a = w.slot<std::uint64_t>(op.a);
    auto shared = reinterpret_cast<std::uint64_t>(w.block->shared),
         local = reinterpret_cast<std::uint64_t>(w.block->local);
    std::uint32_t result = 0;
    for (unsigned i = 0; i < lanes; ++i) {
        bool in_shared = a[i] - shared < w.block->shared_size;
        bool in_local = a[i] - local < w.block->local_size * w.block->threads;
        auto space = static_cast<ptx::Space>(op.immediate);
        const bool in_parameters =
            a[i] - reinterpret_cast<std::uint64_t>(w.block->parameters) < w.block->parameter_bytes;
        bool yes = space == ptx::Space::shared  ? in_shared
                   : space == ptx::Space::local ? in_local
                   : space == ptx::Space::param ? in_parameters
                                                : !in_shared && !in_local && !in_parameters;
        result |= static_cast<std::uint32_t>(yes) << i;
    }
    w.write_predicate(op.dst, result);
}

void read_clock(Warp &w, const Op &op) {
    auto now = std::chrono::steady_clock::now().time_since_epoch();
    auto ns = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
    ns >>= op.immediate; // %clock_hi and %globaltimer_hi are the upper words
    lanes_of(w.exec, [&](unsigned i) {
        if (op.flags & wide_address)
            w.slot<std::uint64_t>(op.dst)[i] = ns;
        else
            w.slot<std::uint32_t>(op.dst)[i] = static_cast<std::uint32_t>(ns);
    });
}

} // namespace soft
