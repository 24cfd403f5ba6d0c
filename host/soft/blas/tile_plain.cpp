// Tiles where Eigen is not: loops that the compiler makes vectors of.
#include <vector>

#include "soft/blas/tile.hpp"

namespace shimbench::soft {

void multiply_add(const Tile &a, const Tile &b, float *c) {
    const std::size_t m = a.transposed ? a.columns : a.rows, k = a.transposed ? a.rows : a.columns;
    const std::size_t n = b.transposed ? b.rows : b.columns;
    std::vector<float> turned(a.transposed ? m * k : 0);
    for (std::size_t i = 0; i < m && a.transposed; i++)
        for (std::size_t l = 0; l < k; l++)
            turned[l * m + i] = a.at[i * k + l];
    const float *left = a.transposed ? turned.data() : a.at;
    for (std::size_t j = 0; j < n; j++)
        for (std::size_t l = 0; l < k; l++) {
            const float factor = b.transposed ? b.at[l * n + j] : b.at[j * k + l];
            for (std::size_t i = 0; i < m; i++)
                c[j * m + i] += left[l * m + i] * factor;
        }
}

} // namespace shimbench::soft
