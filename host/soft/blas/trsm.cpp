// Triangular solves by substitution, sums in 64 bits: they are small, and errors add up.
#include <vector>

#include "soft/blas/kernels.hpp"
#include "soft/blas/matrix.hpp"

namespace shimbench::soft {

namespace {

// op(A)'s element; `call` says which of the stored one's triangles it is.
double element(const host_trsm &call, const Matrix<const float> &a, std::uint64_t row, std::uint64_t column) {
    return call.transpose ? a.at[row * a.ld + column] : a.at[column * a.ld + row];
}

// Solves for one vector of `size` in place: op(A) x = b, or x op(A) = b when A stands on the right, which is
// the same with op(A) turned over.
void solve(const host_trsm &call, const Matrix<const float> &a, std::vector<double> &x) {
    const std::uint64_t size = x.size();
    const bool turned = call.right;
    // Lower triangles are solved from the first unknown on, upper ones from the last.
    const bool upper = ((call.upper != 0) != (call.transpose != 0)) != turned;
    for (std::uint64_t step = 0; step < size; step++) {
        const std::uint64_t i = upper ? size - 1 - step : step;
        double sum = x[i];
        for (std::uint64_t done = 0; done < step; done++) {
            const std::uint64_t j = upper ? size - 1 - done : done;
            sum -= (turned ? element(call, a, j, i) : element(call, a, i, j)) * x[j];
        }
        x[i] = call.unit_diagonal ? sum : sum / element(call, a, i, i);
    }
}

} // namespace

void run_trsm(const host_trsm &call, const BlasContext &context) {
    if (!call.m || !call.n)
        return;
    const double alpha = scalar_of<float>(context, call.flags, call.alpha, "alpha");
    const Addresses a(context, true, call.a, 0, sizeof(float), call.batch, "the array of A");
    const Addresses b(context, true, call.b, 0, sizeof(float), call.batch, "the array of B");
    const std::uint64_t size = call.right ? call.n : call.m, count = call.right ? call.m : call.n;
    std::vector<double> x;
    for (std::uint64_t number = 0; number < call.batch; number++) {
        const auto triangle = matrix_at<const float>(context, a[number], size, size, call.lda, "A");
        const auto solved = matrix_at<float>(context, b[number], call.m, call.n, call.ldb, "B");
        x.resize(size);
        for (std::uint64_t vector = 0; vector < count; vector++) {
            check_end(context);
            float *first = solved.at + (call.right ? vector : vector * solved.ld);
            const std::uint64_t step = call.right ? solved.ld : 1;
            for (std::uint64_t i = 0; i < size; i++)
                x[i] = alpha == 0 ? 0 : alpha * first[i * step]; // B is not read when alpha is zero, nor A
            if (alpha != 0)
                solve(call, triangle, x);
            for (std::uint64_t i = 0; i < size; i++)
                first[i * step] = static_cast<float>(x[i]);
        }
    }
}

} // namespace shimbench::soft
