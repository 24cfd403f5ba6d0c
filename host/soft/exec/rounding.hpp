// How an instruction rounds, saturates and flushes, as one number.
#pragma once

#include "../ptx/ast.hpp"

namespace soft {

/// Packed into Op::immediate of a conversion, and of arithmetic with a directed rounding.
enum Mode : std::int64_t {
    nearest = 0,
    zero = 1,
    down = 2,
    up = 3,
    round_bits = 3,
    saturating = 4,
    flushing = 8,
    whole = 16,
    relu = 32,
    finite = 64 // what is beyond the largest number becomes that
};

inline Mode mode_of(const ptx::Instruction &in) {
    std::int64_t mode = nearest;
    bool integral = in.has("rni") || in.has("rzi") || in.has("rmi") || in.has("rpi");
    if (in.has("rz") || in.has("rzi"))
        mode = zero;
    else if (in.has("rm") || in.has("rmi"))
        mode = down;
    else if (in.has("rp") || in.has("rpi"))
        mode = up;
    if (integral)
        mode |= whole;
    if (in.has("sat"))
        mode |= saturating;
    if (in.has("satfinite"))
        mode |= finite;
    if (in.has("ftz"))
        mode |= flushing;
    if (in.has("relu"))
        mode |= relu;
    return static_cast<Mode>(mode);
}

} // namespace soft
