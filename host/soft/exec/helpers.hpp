// The threads that take part in a launch beside the one that asks for it.
#pragma once

#include "block_runner.hpp"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace soft {

using Job = std::function<void(BlockRunner &)>;

/// Threads that wait for work, each with memory of its own. They start with the first work there is for
/// them: a process that is forked off before that inherits none.
class Helpers {
  public:
    explicit Helpers(unsigned count) : count_(count) {}
    Helpers(const Helpers &) = delete;
    ~Helpers();

    unsigned count() const { return count_; }

    /// Each helper calls the job once, unless close() comes first.
    void open(const Job &job);

    /// Returns when no helper is at the job any more, and none will take it up.
    void close();

  private:
    void help();

    const unsigned count_;
    std::mutex mutex_;
    std::condition_variable wake_, idle_;
    const Job *job_ = nullptr;
    std::uint64_t number_ = 0; // of the job
    unsigned busy_ = 0;
    bool stopping_ = false;
    std::vector<std::jthread> threads_; // the last member: gone before what they use
};

} // namespace soft
