// One block after the other on one thread of the host.
#pragma once

#include "arena.hpp"
#include "launch.hpp"
#include "warp_set.hpp"

#include <algorithm>
#include <span>

namespace soft {

class BlockRunner {
  public:
    /// Makes ready for a launch. What is passed must outlive the calls of run() that follow.
    void prepare(const Program &program, const Launch &launch, EndCheck &end);
    /// Runs blocks to their ends, by their numbers in the grid, for as long as `take` gives one. Throws
    /// Fault.
    void run(const std::function<bool(std::uint64_t &number)> &take);
    /// The same in turns: begin(), then step() until it returns true.
    void begin(std::uint64_t number);
    bool step();
    /// Operations of whole warps since prepare().
    std::uint64_t executed() const;
    /// Nanoseconds that a block took the last time that this thread ran the same kernel by blocks of this
    /// shape; 0: unknown.
    std::uint64_t block_duration() const { return set_->block_duration; }
    /// All blocks since prepare() took so many nanoseconds.
    void note_duration(std::uint64_t all) {
        if (begun_ > 0)
            set_->block_duration = std::max<std::uint64_t>(1, all / begun_);
    }
    /// Warps since prepare() that went on in the interpreter for want of careful code.
    std::uint64_t given_up() const { return given_up_; }
    /// Of each operation since prepare(); empty unless the launch counts.
    const std::vector<OperationCount> &counts() const { return counts_; }

  private:
    template <class F> void leaving_by_faults(F f);
    bool advance_block();
    void advance_together();
    void line_up();
    void place(std::uint64_t number);
    void start(Warp &warp);
    void advance(Warp &warp);
    void run_compiled(Warp &warp);
    void settle_assumption(Warp &warp);
    void interpret_counting(Warp &warp);
    void take_over(Warp &warp);
    [[noreturn]] void raise_bad_access(Warp &warp);

    void describe_block(EndCheck &end);
    void prepare_warps();

    // What is in slots before a warp starts: fixed_slots.cpp
    void fill_fixed_slots();
    void change_fixed_slots();
    void fill_block_specials();
    void fill_fixed_specials(Warp &warp);
    std::uint32_t special(Special which, std::uint32_t warp, unsigned lane) const;

    // Barriers: barriers.cpp

    /// Lanes of a warp that wait at a barrier while others of it go on.
    struct Parked {
        const Op *op;
        std::vector<Reconvergence> ways; // the warp's stack, as far as it is theirs
        std::uint32_t lanes, votes;
        std::uint32_t number;  // of the barrier
        std::uint32_t threads; // how many it waits for; 0 all of the block
    };
    struct Waiting {
        std::uint32_t lanes = 0, threads = 0, votes = 0;
        const Op *op = nullptr;
    };
    void advance_all(Warp &warp);
    void park(Warp &warp);
    Waiting waiting_at(const Warp &warp, unsigned number) const;
    bool release_whole_block();
    void release_barriers(std::size_t done);
    void let_go(Warp &warp, unsigned number, std::uint32_t votes, std::uint32_t voters);
    void give_result(Warp &warp, const Op &op, std::uint32_t to, std::uint32_t votes, std::uint32_t voters);
    bool end_gathering();
    void raise_stuck();

    const Program *program_ = nullptr;
    const Launch *launch_ = nullptr;
    Arena shared_arena_, local_arena_;
    WarpSets sets_;
    WarpSet *set_ = nullptr;                  // of the launch
    std::span<Warp> warps_;                   // its
    std::vector<std::vector<Parked>> parked_; // by warp
    std::vector<OperationCount> counts_;
    Block block_;
    Warp *current_ = nullptr;    // that runs
    Warp *first_ = nullptr;      // of those that compiled code takes after one another
    bool together_ = false;      // it does so: none of the block's warps was given up
    bool any_parked_ = false;    // in parked_
    std::size_t done_ = 0;       // warps of the block
    std::uint64_t begun_ = 0;    // blocks
    std::uint64_t given_up_ = 0; // warps
};

} // namespace soft
