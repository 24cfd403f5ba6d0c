#include "block_runner.hpp"

#include "bad_access.hpp"
#include "control.hpp"

#include <algorithm>
#include <bit>
#include <optional>
#include <utility>

namespace soft {

namespace {

/// Bytes: the allocation unit of 8.x and 9.x, as the ISA gives it with %total_smem_size.
constexpr std::uint64_t shared_unit = 128;

/// While it lives, subnormal floats count as zeros on this thread.
class FlushedFloats {
  public:
    explicit FlushedFloats(bool wanted) : wanted_(wanted) {
#if defined(__SSE2__)
        if (wanted_) {
            before_ = __builtin_ia32_stmxcsr();
            __builtin_ia32_ldmxcsr(before_ | 0x8040); // flush to zero, denormals are zeros
        }
#endif
    }
    ~FlushedFloats() {
#if defined(__SSE2__)
        if (wanted_)
            __builtin_ia32_ldmxcsr(before_);
#endif
    }
    FlushedFloats(const FlushedFloats &) = delete;

  private:
    const bool wanted_;
    unsigned before_ = 0;
};

} // namespace

void BlockRunner::prepare(const Program &program, const Launch &launch, EndCheck &end) {
    program_ = &program;
    launch_ = &launch;
    begun_ = given_up_ = 0;
    counts_.assign(launch.counts ? program.ops.size() : 0, {});
    describe_block(end);
    std::size_t scalars = 0;
    for (const auto *code : {&launch.compiled, &launch.careful})
        scalars = std::max<std::size_t>(scalars, *code ? (*code)->scalar_bytes : 0);
    WarpSetKey key{launch.program_number, {}, 0};
    std::copy(launch.block, launch.block + 3, key.block);
    key.stride = (program.register_bytes + scalars + 255) / 256 * 256 +
                 128; // odd in lines: warps spread over cache sets
    set_ = &sets_.of(key, (block_.threads + lanes - 1) / lanes);
    warps_ = set_->warps;
    parked_.resize(warps_.size());
    block_.local = local_arena_.reserve(static_cast<std::size_t>(block_.local_size) * warps_.size() * lanes);
    prepare_warps();
    if (set_->filled)
        change_fixed_slots();
    else
        fill_fixed_slots();
    set_->filled = true;
}

/// What all warps know of the launch.
void BlockRunner::describe_block(EndCheck &end) {
    const Launch &launch = *launch_;
    Block &block = block_;
    std::copy(launch.block, launch.block + 3, block.size);
    std::copy(launch.grid, launch.grid + 3, block.grid);
    block.threads = launch.block[0] * launch.block[1] * launch.block[2];
    block.dynamic_shared = launch.dynamic_shared;
    // A GPU hands it out in units, and programs that read a little too far get away with it (Dr.Jit's
    // block_reduce does): so do they here, but where each access is checked.
    const std::uint64_t unit = launch.memory_check ? 1 : shared_unit;
    block.shared_size =
        (static_cast<std::uint64_t>(program_->static_shared) + launch.dynamic_shared + unit - 1) / unit *
        unit;
    block.shared = shared_arena_.reserve(block.shared_size);
    block.local_size = program_->local_bytes;
    block.parameters = launch.parameters.data();
    block.parameter_bytes = static_cast<std::uint32_t>(launch.parameters.size());
    block.grid_id = launch.id;
    block.grid_workspace = reinterpret_cast<std::uint64_t>(launch.workspace);
    block.takes_turns = launch.workspace != nullptr || program_->takes_turns;
    block.may_yield = !launch.compiled;
    block.end = &end;
    block.memory_check = launch.memory_check ? &launch.memory_check : nullptr;
    if (launch.print) {
        block.print_context = const_cast<Launch *>(&launch);
        block.print = [](void *context, const char *text, std::size_t length) {
            static_cast<const Launch *>(context)->print({text, length});
        };
    }
}

void BlockRunner::prepare_warps() {
    if (!set_->filled)
        set_->predicates.assign(static_cast<std::size_t>(program_->predicates) * warps_.size(), 0);
    const std::size_t stride = set_->stride;
    for (std::size_t i = 0; i < warps_.size(); ++i) {
        Warp &warp = warps_[i];
        if (!set_->filled) {
            warp.registers = set_->registers + stride * i;
            warp.scalars = warp.registers + program_->register_bytes;
            warp.predicates = set_->predicates.data() + program_->predicates * i;
            warp.perform = perform;
            warp.move = move;
            warp.ask = ask;
            warp.index = static_cast<std::uint32_t>(i);
            warp.block = &block_;
            warp.current = &current_;
        }
        warp.program = program_;
        warp.touching = 0;
        warp.shared = block_.shared;
        warp.shared_size = block_.shared_size;
        warp.local = block_.local + i * lanes * block_.local_size;
        warp.executed = 0;
        warp.next = nullptr;
        warp.carefully = false;
        warp.budget = block_.takes_turns ? branches_of_a_turn : branches_between_checks;
    }
}

/// Has `f` run warps of this thread, until one of them does wrong. Everything that must outlive a bad access
/// is in members: siglongjmp leaves registers' copies of locals behind.
template <class F> void BlockRunner::leaving_by_faults(F f) {
    sigjmp_buf exit;
    if (const int from = sigsetjmp(exit, 0); from != 0) {
        fault_exit = nullptr;
        if (from == 2)
            throw *std::exchange(fault_pending, std::nullopt);
        raise_bad_access(*current_);
    }
    fault_exit = &exit;
    struct Clear {
        ~Clear() { fault_exit = nullptr; }
    } clear;
    f();
}

void BlockRunner::run(const std::function<bool(std::uint64_t &)> &take) {
    const FlushedFloats flushed(launch_->compiled && launch_->compiled->flushes);
    leaving_by_faults([&] {
        sigjmp_buf *const here = std::exchange(fault_exit, nullptr);
        for (std::uint64_t number = 0;; fault_exit = nullptr) {
            if (!take(number)) // which is no kernel's doing
                return;
            fault_exit = here;
            begin(number);
            while (!advance_block())
                ;
        }
    });
}

bool BlockRunner::step() {
    leaving_by_faults([this] { advance_block(); });
    return done_ == warps_.size();
}

/// The block's place in the grid.
void BlockRunner::place(std::uint64_t number) {
    const std::uint32_t *grid = launch_->grid;
    if (number < grid[0]) { // no division for most grids
        block_.index[0] = static_cast<std::uint32_t>(number);
        block_.index[1] = block_.index[2] = 0;
        return;
    }
    block_.index[0] = static_cast<std::uint32_t>(number % grid[0]);
    block_.index[1] = static_cast<std::uint32_t>(number / grid[0] % grid[1]);
    block_.index[2] = static_cast<std::uint32_t>(number / grid[0] / grid[1]);
}

void BlockRunner::begin(std::uint64_t number) {
    ++begun_;
    place(number);
    std::fill(std::begin(block_.arrived), std::end(block_.arrived), 0);
    if (!launch_->compiled) // a program reads none before it was written; the interpreter is to be the same
                            // always
        std::fill(set_->predicates.begin(), set_->predicates.end(), 0);
    for (Warp &warp : warps_)
        start(warp);
    fill_block_specials();
    if (std::exchange(any_parked_, false))
        for (std::vector<Parked> &parked : parked_)
            parked.clear();
    done_ = 0;
    together_ = launch_->compiled != nullptr && !launch_->counts;
    line_up();
}

/// Puts those warps that can go on behind one another, for compiled code to go from one to the next.
void BlockRunner::line_up() {
    if (!together_)
        return;
    Warp **link = &first_;
    for (Warp &warp : warps_)
        if (warp.state == WarpState::running) {
            *link = &warp;
            link = &warp.next;
        }
    *link = nullptr;
}

/// Has compiled code take the warps after one another. It comes back with one that it can not go on with by
/// itself: whose lanes part or meet, for one.
void BlockRunner::advance_together() {
    const Op *ops = program_->ops.data();
    for (Warp *warp = first_; warp != nullptr;) {
        warp->carefully = false;
        launch_->compiled->run(warp, ops);
        Warp &stopped = *current_;
        settle_assumption(stopped);
        if (stopped.state == WarpState::running && !stopped.given_up) {
            warp = &stopped;
            continue;
        }
        warp = stopped.next;
        if (stopped.given_up) {
            together_ = false; // from the next barrier on
            take_over(stopped);
        }
        if (stopped.given_up ||
            (stopped.state == WarpState::at_barrier && stopped.barrier_lanes != stopped.live))
            advance_all(stopped);
        together_ = together_ && !stopped.given_up;
    }
}

/// Every warp goes on until it waits, ends, or has had its turn. True when all have ended.
bool BlockRunner::advance_block() {
    if (together_) {
        advance_together();
    } else {
        for (Warp &warp : warps_) {
            if (warp.state == WarpState::yielded)
                warp.state = WarpState::running;
            if (warp.state == WarpState::running)
                advance_all(warp);
        }
    }
    done_ = static_cast<std::size_t>(std::count_if(
        warps_.begin(), warps_.end(), [](const Warp &warp) { return warp.state == WarpState::done; }));
    if (done_ == warps_.size())
        return true;
    release_barriers(done_);
    line_up();
    return false;
}

std::uint64_t BlockRunner::executed() const {
    std::uint64_t total = 0;
    for (const Warp &warp : warps_)
        total += warp.executed;
    return total;
}

void BlockRunner::start(Warp &warp) {
    std::uint32_t first = warp.index * lanes, left = block_.threads - first;
    warp.live = left >= lanes ? 0xffffffff : (1u << left) - 1;
    warp.active = warp.exec = warp.live;
    warp.pc = 0;
    warp.state = WarpState::running;
    warp.stack.resize(1);
    warp.stack[0] = {no_join, 0, warp.live};
    warp.join = no_join;
    warp.given_up = warp.assumption_failed = 0;
}

/// Runs a warp until it waits, or is done.
void BlockRunner::advance(Warp &warp) {
    current_ = &warp;
    const Op *ops = program_->ops.data();
    if (launch_->counts)
        return interpret_counting(warp);
    if (launch_->compiled && !warp.given_up) {
        while (warp.state == WarpState::running && !warp.given_up)
            run_compiled(warp);
        if (!warp.given_up)
            return;
        take_over(warp);
    }
    while (warp.state == WarpState::running) {
        const Op &op = ops[warp.pc++];
        ++warp.executed;
        op.run(warp, op);
    }
}

/// Runs it, and no other, until compiled code comes to an end.
void BlockRunner::run_compiled(Warp &warp) {
    warp.carefully = false;
    warp.next = nullptr;
    launch_->compiled->run(&warp, program_->ops.data());
    settle_assumption(warp);
}

/// Has careful code go on with a warp that compiled code has assumed too much of, or gives it up.
void BlockRunner::settle_assumption(Warp &warp) {
    if (!warp.assumption_failed)
        return;
    warp.assumption_failed = 0;
    if (launch_->careful) {
        warp.carefully = true;
        Warp *const next = std::exchange(warp.next, nullptr); // which need not be careful
        launch_->careful->run(&warp, program_->ops.data());
        warp.next = next;
    } else {
        ++given_up_;
        warp.given_up = 1;
    }
}

void BlockRunner::interpret_counting(Warp &warp) {
    const Op *ops = program_->ops.data();
    while (warp.state == WarpState::running) {
        const Op &op = ops[warp.pc];
        std::uint32_t threads = warp.active;
        if (op.run == run_guarded)
            threads &= op.flags & guard_negated ? ~warp.predicates[op.guard] : warp.predicates[op.guard];
        OperationCount &count = counts_[warp.pc++];
        ++count.warps;
        count.threads += static_cast<unsigned>(std::popcount(threads));
        ++warp.executed;
        op.run(warp, op);
    }
}

/// Makes a warp that compiled code has given up ready for the interpreter: values that it keeps once for all
/// lanes go to the slots of the lanes that go on here, and of those that wait elsewhere.
void BlockRunner::take_over(Warp &warp) {
    auto spread = [&](std::uint32_t pc, std::uint32_t mask) {
        const std::vector<AlikeValue> *found = nullptr; // of the code that ran, or that lanes had parted in
        for (const Compiled *code : {launch_->compiled.get(), launch_->careful.get()})
            if (code != nullptr && (found == nullptr || warp.carefully))
                if (const auto at = code->alike.find(pc); at != code->alike.end())
                    found = &at->second;
        if (found == nullptr)
            return;
        for (const AlikeValue &value : *found) {
            std::uint64_t base = 0;
            std::memcpy(&base, warp.scalars + value.cell, value.wide ? 8 : 4);
            for (unsigned i = 0; i < lanes; ++i) {
                const std::uint64_t bits = base + static_cast<std::uint64_t>(value.offsets[i]);
                if (!((mask >> i) & 1))
                    continue;
                if (value.wide)
                    warp.slot<std::uint64_t>(value.slot)[i] = bits;
                else
                    warp.slot<std::uint32_t>(value.slot)[i] = static_cast<std::uint32_t>(bits);
            }
        }
    };
    for (std::size_t k = 0; k + 1 < warp.stack.size(); ++k)
        spread(warp.stack[k].pc, warp.stack[k].mask & ~warp.active);
    spread(warp.pc, warp.active);
}

} // namespace soft
