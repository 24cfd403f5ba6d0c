// Ticks of targets into nanoseconds of CLOCK_MONOTONIC. The counter's frequency is measured here over
// the session's life; a region whose counter is not ours (another machine) is read by its own figures.
#pragma once

#include "shimbench/tap_abi.h"

#include <cstdint>

namespace shimbench::collector {

int64_t monotonic_ns();

class Calibration {
  public:
    Calibration();
    // Looks at both clocks again; worth it about once a second.
    void update();
    int64_t mono_ns(uint64_t ticks) const;
    int64_t duration_ns(uint64_t ticks) const;
    uint64_t ticks_per_second() const;

  private:
    struct Pair {
        uint64_t ticks;
        int64_t mono;
    };
    static Pair sample();
    Pair first_, last_;
    uint64_t scale_ = 0; // ns a tick, times 2^32
};

class TickClock {
  public:
    TickClock(const tap_region &region, const Calibration &calibration);
    int64_t mono_ns(uint64_t ticks) const;
    int64_t duration_ns(uint64_t ticks) const;

  private:
    const Calibration *calibration_ = nullptr; // null: the region's own figures
    uint64_t start_ = 0, scale_ = 0;
    int64_t start_mono_ = 0;
};

} // namespace shimbench::collector
