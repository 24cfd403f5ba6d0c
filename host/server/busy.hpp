// How much of the last second the device was at work, over all clients. Lies in the table that all workers
// share; nothing but a part of a figure is lost when one of them dies.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>

namespace shimbench {

// One kind of work in slots of a tenth of a second: the slot's number above, microseconds of work below.
// Times are CLOCK_MONOTONIC, in nanoseconds.
class BusyMeter {
  public:
    static constexpr std::uint64_t slot_ns = 100'000'000, window_ns = 10 * slot_ns;

    void add(std::uint64_t begin, std::uint64_t end) {
        begin = std::max(begin, end < window_ns ? 0 : end - window_ns);
        while (begin < end) {
            const std::uint64_t number = begin / slot_ns, part = std::min(end, (number + 1) * slot_ns);
            // Figures alone: nothing else is read through them.
            std::atomic<std::uint64_t> &slot = slots_[number % slots_.size()];
            std::uint64_t old = slot.load(std::memory_order_relaxed), next;
            do {
                const std::uint64_t held = old >> 32 == (number & 0xffffffff) ? old & 0xffffffff : 0;
                next = (number & 0xffffffff) << 32 |
                       std::min<std::uint64_t>(held + (part - begin) / 1000, 0xffffffff);
            } while (!slot.compare_exchange_weak(old, next, std::memory_order_relaxed));
            begin = part;
        }
    }

    // Percent of the second before `now`. `going` is the time in it that work which goes on has taken.
    unsigned percent(std::uint64_t now, std::uint64_t going) const {
        const std::uint64_t last = now / slot_ns;
        std::uint64_t sum = going / 1000;
        for (const auto &slot : slots_) {
            const std::uint64_t held = slot.load(std::memory_order_relaxed);
            if (((last - (held >> 32)) & 0xffffffff) < window_ns / slot_ns)
                sum += held & 0xffffffff;
        }
        return static_cast<unsigned>(std::min<std::uint64_t>(sum * 100 / (window_ns / 1000), 100));
    }

  private:
    std::array<std::atomic<std::uint64_t>, 16> slots_;
};

} // namespace shimbench
