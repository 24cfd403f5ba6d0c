#include "helpers.hpp"

namespace soft {

Helpers::~Helpers() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    threads_.clear(); // joins
}

void Helpers::open(const Job &job) {
    {
        std::lock_guard lock(mutex_);
        job_ = &job;
        ++number_;
    }
    while (threads_.size() < count_)
        threads_.emplace_back([this] { help(); });
    wake_.notify_all();
}

void Helpers::close() {
    std::unique_lock lock(mutex_);
    job_ = nullptr;
    idle_.wait(lock, [this] { return busy_ == 0; });
}

void Helpers::help() {
    BlockRunner runner;
    std::uint64_t done = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [&] { return stopping_ || (job_ != nullptr && done != number_); });
        if (stopping_)
            return;
        done = number_;
        ++busy_;
        const Job &job = *job_;
        lock.unlock();
        job(runner);
        lock.lock();
        if (--busy_ == 0)
            idle_.notify_one();
    }
}

} // namespace soft
