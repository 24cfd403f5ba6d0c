#include "clock.hpp"

#include <cstdlib>
#include <ctime>
#include <limits>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace shimbench::collector {

namespace {

constexpr uint64_t kOne = 1ull << 32;
constexpr int64_t kAgree = 20'000'000; // ns between our reading of a region's start and its own

uint64_t ticks_now() {
#if defined(__x86_64__)
    return __rdtsc();
#else
    return static_cast<uint64_t>(monotonic_ns());
#endif
}

// Saturates: what a target wrote may be any number.
int64_t scaled(int64_t ticks, uint64_t scale) {
    __int128 ns = (static_cast<__int128>(ticks) * scale) >> 32;
    constexpr int64_t limit = std::numeric_limits<int64_t>::max() / 4;
    if (ns > limit)
        return limit;
    return ns < -limit ? -limit : static_cast<int64_t>(ns);
}

int64_t span_ns(uint64_t ticks, uint64_t scale) {
    return scaled(ticks > uint64_t{1} << 62 ? 0 : static_cast<int64_t>(ticks), scale);
}

} // namespace

int64_t monotonic_ns() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

// The tightest of a few readings of both clocks.
Calibration::Pair Calibration::sample() {
    Pair best{0, 0};
    uint64_t narrowest = ~0ull;
    for (int i = 0; i < 5; i++) {
        uint64_t before = ticks_now();
        int64_t mono = monotonic_ns();
        uint64_t width = ticks_now() - before;
        if (width < narrowest) {
            narrowest = width;
            best = {before + width / 2, mono};
        }
    }
    return best;
}

Calibration::Calibration() : first_(sample()), last_(first_) {
    while (monotonic_ns() - first_.mono < 2'000'000) {
    }
    update();
}

void Calibration::update() {
    last_ = sample();
    uint64_t ticks = last_.ticks - first_.ticks;
    if (ticks > 0)
        scale_ = static_cast<uint64_t>((static_cast<__int128>(last_.mono - first_.mono) << 32) / ticks);
}

int64_t Calibration::mono_ns(uint64_t ticks) const {
    return last_.mono + scaled(static_cast<int64_t>(ticks - last_.ticks), scale_);
}

int64_t Calibration::duration_ns(uint64_t ticks) const {
    return span_ns(ticks, scale_);
}

uint64_t Calibration::ticks_per_second() const {
    return scale_ ? static_cast<uint64_t>((static_cast<__int128>(1'000'000'000) << 32) / scale_) : 0;
}

TickClock::TickClock(const tap_region &region, const Calibration &calibration)
    : start_(region.start), start_mono_(static_cast<int64_t>(region.start_mono_ns)) {
    if (region.ticks_per_second == 0) { // ticks are nanoseconds already
        scale_ = kOne;
        start_ = 0;
        start_mono_ = 0;
        return;
    }
    scale_ = static_cast<uint64_t>((static_cast<__int128>(1'000'000'000) << 32) / region.ticks_per_second);
    __int128 apart = static_cast<__int128>(calibration.mono_ns(region.start)) - start_mono_;
    if (apart < kAgree && apart > -kAgree)
        calibration_ = &calibration;
}

int64_t TickClock::mono_ns(uint64_t ticks) const {
    if (calibration_)
        return calibration_->mono_ns(ticks);
    return static_cast<int64_t>(static_cast<uint64_t>(start_mono_) +
                                static_cast<uint64_t>(scaled(static_cast<int64_t>(ticks - start_), scale_)));
}

int64_t TickClock::duration_ns(uint64_t ticks) const {
    return calibration_ ? calibration_->duration_ns(ticks) : span_ns(ticks, scale_);
}

} // namespace shimbench::collector
