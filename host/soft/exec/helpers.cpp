#include "helpers.hpp"

#include "wire/barrier.h"

#include <algorithm>
#include <chrono>
#include <system_error>

namespace soft {

namespace {

constexpr std::chrono::microseconds patience{100};

/// Waits until `ready`, spinning for a few microseconds and then letting others have the processor again and
/// again. False: it was in vain for as long as is worth it.
template <class Ready> bool wait_awake(Ready ready) {
    constexpr unsigned near = 64, between_looks = 16;
    for (unsigned round = 0; round < near; ++round) {
        if (ready())
            return true;
        relax();
    }
    const auto end = std::chrono::steady_clock::now() + patience;
    do {
        for (unsigned round = 0; round < between_looks; ++round) {
            if (ready())
                return true;
            std::this_thread::yield();
        }
    } while (std::chrono::steady_clock::now() < end);
    return false;
}

} // namespace

Helpers::~Helpers() {
    stopping_.store(true, std::memory_order_relaxed); // read after number_
    number_.fetch_add(1, std::memory_order_seq_cst);
    number_.notify_all();
    threads_.clear(); // joins
}

void Helpers::open(const Job &job, unsigned wanted) {
    job_ = &job; // nobody is at the last one
    number_.fetch_add(1, std::memory_order_seq_cst);
    while (threads_.size() < std::min(wanted, count_) && start_one())
        ;
    // Who falls asleep meanwhile looks at the number once more.
    for (unsigned awake = awake_.load(std::memory_order_relaxed); awake < wanted; ++awake)
        number_.notify_one();
}

/// False: the system has no thread for us. The launch goes on without.
bool Helpers::start_one() {
    awake_.fetch_add(1, std::memory_order_relaxed); // here, so that it counts at once
    try {
        threads_.emplace_back([this] { help(); });
        return true;
    } catch (const std::system_error &) {
        awake_.fetch_sub(1, std::memory_order_relaxed);
        return false;
    }
}

void Helpers::close() {
    number_.fetch_add(1, std::memory_order_seq_cst);
    // What the helpers have written is read after this.
    auto idle = [this] { return busy_.load(std::memory_order_seq_cst) == 0; };
    while (!wait_awake(idle))
        if (const std::uint32_t busy = busy_.load(std::memory_order_seq_cst); busy != 0)
            busy_.wait(busy, std::memory_order_seq_cst);
}

/// Another number than that, once there is one.
std::uint32_t Helpers::next_number(std::uint32_t seen) {
    std::uint32_t number = seen;
    auto changed = [&] { return (number = number_.load(std::memory_order_seq_cst)) != seen; };
    if (wait_awake(changed))
        return number;
    awake_.fetch_sub(1, std::memory_order_relaxed);
    while (!changed())
        number_.wait(seen, std::memory_order_seq_cst);
    awake_.fetch_add(1, std::memory_order_relaxed);
    return number;
}

void Helpers::help() {
    BlockRunner runner;
    for (std::uint32_t seen = 0;;) {
        seen = next_number(seen);
        if (stopping_.load(std::memory_order_relaxed))
            return;
        if (seen % 2 == 0)
            continue;
        busy_.fetch_add(1, std::memory_order_seq_cst);
        if (number_.load(std::memory_order_seq_cst) == seen)
            (*job_)(runner);
        if (busy_.fetch_sub(1, std::memory_order_seq_cst) == 1)
            busy_.notify_one();
    }
}

} // namespace soft
