// Tiles by Eigen: blocked for the caches and in vectors.
#include <Eigen/Core>

#include "soft/blas/tile.hpp"

namespace shimbench::soft {

namespace {

using Stored = Eigen::Map<const Eigen::MatrixXf>;

Stored stored(const Tile &tile) {
    return {tile.at, static_cast<Eigen::Index>(tile.rows), static_cast<Eigen::Index>(tile.columns)};
}

} // namespace

void multiply_add(const Tile &a, const Tile &b, float *c) {
    const Stored left = stored(a), right = stored(b);
    Eigen::Map<Eigen::MatrixXf> sum(c, a.transposed ? left.cols() : left.rows(),
                                    b.transposed ? right.rows() : right.cols());
    if (a.transposed && b.transposed)
        sum.noalias() += left.transpose() * right.transpose();
    else if (a.transposed)
        sum.noalias() += left.transpose() * right;
    else if (b.transposed)
        sum.noalias() += left * right.transpose();
    else
        sum.noalias() += left * right;
}

} // namespace shimbench::soft
