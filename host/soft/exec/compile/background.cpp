#include "background.hpp"

#include <utility>

namespace soft {

Background::~Background() {
    {
        std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable())
        thread_.join();
}

std::shared_ptr<Order> Background::order(std::shared_ptr<const Program> program, bool whole_rows, Care care,
                                         bool only_kept) {
    auto order = std::make_shared<Order>();
    order->program = std::move(program);
    order->whole_rows = whole_rows;
    order->care = care;
    order->only_kept = only_kept;
    {
        std::lock_guard lock(mutex_);
        waiting_.push_back(order);
    }
    if (!thread_.joinable())
        thread_ = std::thread([this] { work(); });
    wake_.notify_one();
    return order;
}

void Background::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        wake_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
        if (stopping_)
            return;
        const std::shared_ptr<Order> order = std::move(waiting_.front());
        waiting_.pop_front();
        lock.unlock();
        order->made = compile(*order->program, order->whole_rows, order->care, order->why, order->only_kept);
        order->done.store(true, std::memory_order_release); // publishes `made` and `why`
        lock.lock();
    }
}

} // namespace soft
