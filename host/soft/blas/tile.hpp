// The inner product of two tiles that lie in this process's memory as 32-bit floats.
#pragma once

#include <cstddef>

namespace shimbench::soft {

/// A tile of `rows` x `columns`, stored column by column without gaps. Its transpose is what counts when
/// `transposed` is set.
struct Tile {
    const float *at;
    std::size_t rows, columns;
    bool transposed;
};

/// c += op(a) op(b); `c` lies column by column, without gaps.
void multiply_add(const Tile &a, const Tile &b, float *c);

} // namespace shimbench::soft
