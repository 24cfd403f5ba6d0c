#include "control.hpp"

#include <bit>
#include <chrono>
#include <cinttypes>
#include <cstdio>

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
    w.state = WarpState::at_barrier;
    const std::uint32_t number = w.slot<std::uint32_t>(op.a)[0];
    w.barrier = number == cluster_barrier ? number : number & 15;
    w.barrier_threads = op.flags & has_predicate ? w.slot<std::uint32_t>(op.b)[0] : 0;
    w.barrier_lanes = w.exec;
    w.waiting = &op;
}

void barrier_arrive(Warp &w, const Op &op) {
    unsigned number = w.slot<std::uint32_t>(op.a)[0] & 15;
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

namespace {

/// One conversion of a device printf, as the host's own would print it.
void print_one(std::string &out, std::string &spec, const std::uint8_t *&arguments) {
    char text[512];
    auto take = [&](unsigned size) {
        auto at = reinterpret_cast<std::uint64_t>(arguments);
        arguments += (size - at % size) % size;
        std::uint64_t value = 0;
        std::memcpy(&value, arguments, size);
        arguments += size;
        return value;
    };
    char kind = spec.back();
    int length = 0;
    if (kind == 's') {
        auto *string = reinterpret_cast<const char *>(take(8));
        length = std::snprintf(text, sizeof text, spec.c_str(), string ? string : "(null)");
    } else if (std::string_view("fFeEgGaA").find(kind) != std::string_view::npos) {
        length = std::snprintf(text, sizeof text, spec.c_str(), std::bit_cast<double>(take(8)));
    } else if (kind == 'p' || spec.find('l') != spec.npos || spec.find('z') != spec.npos) {
        if (kind != 'p') {
            std::erase_if(spec, [](char c) { return c == 'l' || c == 'z'; });
            spec.insert(spec.size() - 1, "ll");
        }
        length =
            kind == 'p'
                ? std::snprintf(text, sizeof text, spec.c_str(), reinterpret_cast<void *>(take(8)))
                : std::snprintf(text, sizeof text, spec.c_str(), static_cast<unsigned long long>(take(8)));
    } else {
        std::erase(spec, 'h');
        length = std::snprintf(text, sizeof text, spec.c_str(), static_cast<unsigned>(take(4)));
    }
    out.append(text, static_cast<std::size_t>(length < 0 ? 0 : std::min<int>(length, sizeof text - 1)));
}

} // namespace

void print(Warp &w, const Op &op) {
    const auto *format = w.slot<std::uint64_t>(op.a), *values = w.slot<std::uint64_t>(op.b);
    auto *printed = w.slot<std::uint32_t>(op.dst);
    lanes_of(w.exec, [&](unsigned lane) {
        std::string out;
        const auto *arguments = reinterpret_cast<const std::uint8_t *>(values[lane]);
        for (const char *c = reinterpret_cast<const char *>(format[lane]); *c != 0 && out.size() < 65536;
             ++c) {
            if (*c != '%') {
                out += *c;
                continue;
            }
            std::string spec = "%";
            while (*++c != 0 && std::string_view("diouxXcsfFeEgGaAp%").find(*c) == std::string_view::npos)
                if (std::string_view("-+ #0123456789.lhz").find(*c) != std::string_view::npos &&
                    spec.size() < 24)
                    spec += *c;
            if (*c == 0)
                break;
            if (*c == '%') {
                out += '%';
                continue;
            }
            spec += *c;
            print_one(out, spec, arguments);
        }
        printed[lane] = static_cast<std::uint32_t>(out.size());
        if (w.block->print)
            w.block->print(w.block->print_context, out.data(), out.size());
    });
}

void assert_failed(Warp &w, const Op &op) {
    unsigned lane = static_cast<unsigned>(std::countr_zero(w.exec));
    auto *message = reinterpret_cast<const char *>(w.slot<std::uint64_t>(op.a)[lane]);
    raise(w, op, FaultKind::assert_failed, lane,
          std::string("assertion failed: ") + (message ? message : ""));
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
    lanes_of(w.exec, [&](unsigned i) {
        if (op.flags & wide_address)
            w.slot<std::uint64_t>(op.dst)[i] = ns;
        else
            w.slot<std::uint32_t>(op.dst)[i] = static_cast<std::uint32_t>(ns);
    });
}

} // namespace soft
