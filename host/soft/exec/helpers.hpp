// The threads that take part in a launch beside the one that asks for it.
#pragma once

#include "block_runner.hpp"

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

namespace soft {

using Job = std::function<void(BlockRunner &)>;

/// Threads that wait for work, each with memory of its own. They start with the first work there is for
/// them: a process that is forked off before that inherits none.
///
/// Waking a thread takes longer than most launches, and launches follow one another: so who has waited for a
/// tenth of a millisecond in vain goes to sleep, and not before; meanwhile it gives way to whoever wants its
/// processor. Nothing runs while nothing is launched.
class Helpers {
  public:
    explicit Helpers(unsigned count) : count_(count) {}
    Helpers(const Helpers &) = delete;
    ~Helpers();

    unsigned count() const { return count_; }
    /// Those that have gone to sleep, or did not start yet; a moment ago.
    unsigned asleep() const { return count_ - awake_.load(std::memory_order_relaxed); } // a hint

    /// Each helper calls the job once, unless close() comes first: those that are awake, and so many more
    /// that there are `wanted` of them.
    void open(const Job &job, unsigned wanted);

    /// Returns when no helper is at the job any more, and none will take it up.
    void close();

  private:
    bool start_one();
    void help();
    std::uint32_t next_number(std::uint32_t seen);

    const unsigned count_;
    const Job *job_ = nullptr; // read by who is counted in busy_ and has seen number_ say that it is open
    /// Of the job; odd while it is open. It and busy_ are each written by one side and then the other one is
    /// read, so that either a helper finds its job closed, or close() finds the helper: in one order for all
    /// threads, which is std::memory_order_seq_cst.
    std::atomic<std::uint32_t> number_{0};
    std::atomic<std::uint32_t> busy_{0}; // helpers at the job, or about to look whether it is still open
    std::atomic<std::uint32_t> awake_{0};
    std::atomic<bool> stopping_{false};
    std::vector<std::jthread> threads_; // the last member: gone before what they use
};

} // namespace soft
