// Compiling while the interpreter goes on: a kernel's first launches never wait for LLVM.
#pragma once

#include "compile.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace soft {

/// A kernel that is to be compiled, and in the end what came of it.
struct Order {
    std::shared_ptr<const Program> program;
    bool whole_rows = false, only_kept = false; // as compile() has them
    Care care = Care::assuming;
    std::atomic<bool> done{false}; // what follows is there to be read
    std::shared_ptr<const Compiled> made;
    std::string why;
};

/// One thread, which starts with the first order: a process forked off before that inherits none.
class Background {
  public:
    Background() = default;
    Background(const Background &) = delete;
    /// Waits for what is being compiled; what waits behind it is dropped.
    ~Background();
    std::shared_ptr<Order> order(std::shared_ptr<const Program> program, bool whole_rows, Care care,
                                 bool only_kept);

  private:
    void work();

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::shared_ptr<Order>> waiting_;
    bool stopping_ = false;
    std::thread thread_;
};

} // namespace soft
