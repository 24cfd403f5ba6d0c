// Another rounding of this thread's arithmetic, for a while.
#pragma once

#include <cfenv>

namespace soft {

/// While it lives, this thread rounds so, and no subnormal is flushed but by us: compiled code has the
/// processor do that, which decides before rounding what is one.
class Rounds {
  public:
    explicit Rounds(int mode) {
#if defined(__SSE2__)
        const unsigned ways[] = {0, 3, 1, 2}; // of MXCSR: nearest, zero, down, up
        __builtin_ia32_ldmxcsr((before_ & ~0xe040u) | ways[mode] << 13);
#else
        const int modes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
        std::fesetround(modes[mode]);
#endif
    }
    ~Rounds() {
#if defined(__SSE2__)
        __builtin_ia32_ldmxcsr(before_);
#else
        std::fesetround(before_);
#endif
    }
    Rounds(const Rounds &) = delete;

  private:
#if defined(__SSE2__)
    const unsigned before_ = __builtin_ia32_stmxcsr();
#else
    const int before_ = std::fegetround();
#endif
};

} // namespace soft
