// Products: tiles of the inputs are converted to 32-bit floats, multiplied, and the sums of a tile of C
// are scaled, added and rounded once. A tile of C is one thread's.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#ifdef __F16C__
#include <immintrin.h>
#endif

#include "soft/blas/kernels.hpp"
#include "soft/blas/matrix.hpp"
#include "soft/blas/tile.hpp"

namespace shimbench::soft {

namespace {

using ::soft::bf16, ::soft::f16;

// Of C and of the dimension that is summed over: together about 2 MB of floats, which caches hold.
constexpr std::uint64_t tile_rows = 256, tile_columns = 512, tile_depth = 512;
// Waking threads costs what so many multiplications do.
constexpr double worth_sharing = 4e6;

void convert(const float *from, std::size_t count, float *to) {
    std::memcpy(to, from, count * sizeof(float));
}

template <class Element> void convert(const Element *from, std::size_t count, float *to) {
    std::size_t n = 0;
#ifdef __F16C__
    if constexpr (std::is_same_v<Element, f16>)
        for (; n + 8 <= count; n += 8)
            _mm256_storeu_ps(to + n,
                             _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(from + n))));
#endif
    for (; n < count; n++)
        to[n] = ::soft::to_float(from[n]);
}

// The part of a stored matrix from (row, column) on, as floats without gaps.
template <class Element>
void take(const Matrix<Element> &matrix, std::uint64_t row, std::uint64_t column, std::uint64_t rows,
          std::uint64_t columns, float *to) {
    for (std::uint64_t j = 0; j < columns; j++)
        convert(matrix.at + (column + j) * matrix.ld + row, rows, to + j * rows);
}

// One product of the batch.
template <class Input, class Output> struct Product {
    Matrix<const Input> a, b;
    Matrix<Output> c;
    std::uint64_t m, n, k;
    bool transpose_a, transpose_b;
    float alpha, beta;
};

// Where the tiles of one thread lie.
struct Scratch {
    std::vector<float> a, b, c;
    Scratch(std::uint64_t m, std::uint64_t n, std::uint64_t k)
        : a(std::min(m, tile_rows) * std::min(k, tile_depth)),
          b(std::min(n, tile_columns) * std::min(k, tile_depth)),
          c(std::min(m, tile_rows) * std::min(n, tile_columns)) {}
};

template <class Input, class Output>
void sum_tile(const Product<Input, Output> &p, std::uint64_t row, std::uint64_t rows, std::uint64_t column,
              std::uint64_t columns, Scratch &scratch, const BlasContext &context) {
    std::fill_n(scratch.c.begin(), rows * columns, 0.0f);
    for (std::uint64_t at = 0; at < p.k; at += tile_depth) {
        const std::uint64_t depth = std::min(tile_depth, p.k - at);
        check_end(context);
        Tile a{scratch.a.data(), rows, depth, p.transpose_a},
            b{scratch.b.data(), depth, columns, p.transpose_b};
        if (p.transpose_a)
            std::swap(a.rows, a.columns), take(p.a, at, row, depth, rows, scratch.a.data());
        else
            take(p.a, row, at, rows, depth, scratch.a.data());
        if (p.transpose_b)
            std::swap(b.rows, b.columns), take(p.b, column, at, columns, depth, scratch.b.data());
        else
            take(p.b, at, column, depth, columns, scratch.b.data());
        multiply_add(a, b, scratch.c.data());
    }
}

// What C held does not matter when beta is zero, be it NaN.
template <class Input, class Output>
void write_tile(const Product<Input, Output> &p, std::uint64_t row, std::uint64_t rows, std::uint64_t column,
                std::uint64_t columns, const float *sums) {
    for (std::uint64_t j = 0; j < columns; j++) {
        Output *to = p.c.at + (column + j) * p.c.ld + row;
        const float *from = sums + j * rows;
        for (std::uint64_t i = 0; i < rows; i++) {
            const float scaled = p.alpha * from[i];
            to[i] =
                ::soft::from_float<Output>(p.beta == 0 ? scaled : scaled + p.beta * ::soft::to_float(to[i]));
        }
    }
}

template <class Input, class Output>
void run_tile(const Product<Input, Output> &p, std::uint64_t number, Scratch &scratch,
              const BlasContext &context) {
    const std::uint64_t down = (p.m + tile_rows - 1) / tile_rows;
    const std::uint64_t row = number % down * tile_rows, column = number / down * tile_columns;
    const std::uint64_t rows = std::min(tile_rows, p.m - row), columns = std::min(tile_columns, p.n - column);
    sum_tile(p, row, rows, column, columns, scratch, context);
    write_tile(p, row, rows, column, columns, scratch.c.data());
}

template <class Input, class Output> std::uint64_t tiles_of(const Product<Input, Output> &p) {
    return (p.m + tile_rows - 1) / tile_rows * ((p.n + tile_columns - 1) / tile_columns);
}

// Calls `work` with the numbers below `count`, shared among threads; rethrows what one of them threw.
template <class Work> void share(std::uint64_t count, unsigned threads, const Work &work) {
    std::atomic<std::uint64_t> next{0};
    std::exception_ptr failure;
    std::mutex mutex;
    const auto loop = [&] {
        try {
            work([&](std::uint64_t &number) {
                // Numbers only have to differ; results meet at the join below.
                return (number = next.fetch_add(1, std::memory_order_relaxed)) < count;
            });
        } catch (...) {
            const std::lock_guard lock(mutex);
            next.store(count, std::memory_order_relaxed); // the others end as well
            failure = std::current_exception();
        }
    };
    {
        std::vector<std::jthread> helpers;
        try {
            for (unsigned n = 1; n < threads && n < count; n++)
                helpers.emplace_back(loop);
        } catch (const std::system_error &) { // no more threads to be had: those that are there do it
        }
        loop();
    }
    if (failure)
        std::rethrow_exception(failure);
}

} // namespace

template <class Input, class Output, class Scalar>
void run_gemm(const host_gemm &call, const BlasContext &context) {
    if (!call.m || !call.n || !call.batch)
        return;
    Product<Input, Output> shape{
        {}, {}, {}, call.m, call.n, call.k, call.transpose_a != 0, call.transpose_b != 0, 0, 0};
    shape.alpha = scalar_of<Scalar>(context, call.flags, call.alpha, "alpha");
    shape.beta = scalar_of<Scalar>(context, call.flags, call.beta, "beta");
    if (shape.alpha == 0)
        shape.k = 0; // A and B are not read
    const bool arrays = call.flags & HOST_KERNEL_POINTER_ARRAYS;
    const Addresses a(context, arrays && shape.k, call.a, call.stride_a, sizeof(Input), call.batch,
                      "the array of A");
    const Addresses b(context, arrays && shape.k, call.b, call.stride_b, sizeof(Input), call.batch,
                      "the array of B");
    const Addresses c(context, arrays, call.c, call.stride_c, sizeof(Output), call.batch, "the array of C");

    const auto product = [&](std::uint64_t number) {
        Product<Input, Output> p = shape;
        const std::uint64_t a_rows = p.transpose_a ? p.k : p.m, b_rows = p.transpose_b ? p.n : p.k;
        if (p.k) {
            p.a =
                matrix_at<const Input>(context, a[number], a_rows, p.transpose_a ? p.m : p.k, call.lda, "A");
            p.b =
                matrix_at<const Input>(context, b[number], b_rows, p.transpose_b ? p.k : p.n, call.ldb, "B");
        }
        p.c = matrix_at<Output>(context, c[number], p.m, p.n, call.ldc, "C");
        return p;
    };
    const Product<Input, Output> first = product(0); // sizes that no memory holds end here
    const std::uint64_t tiles = tiles_of(first);
    std::uint64_t all = 0;
    if (__builtin_mul_overflow(tiles, call.batch, &all))
        fail(::soft::FaultKind::trap, "a batch whose size makes no sense");
    const double work =
        static_cast<double>(call.m) * call.n * std::max<std::uint64_t>(shape.k, 1) * call.batch;
    share(all, work < worth_sharing ? 1 : context.threads, [&](const auto &next) {
        Scratch scratch(shape.m, shape.n, shape.k);
        for (std::uint64_t number; next(number);) {
            check_end(context);
            run_tile(product(number / tiles), number % tiles, scratch, context);
        }
    });
}

template void run_gemm<float, float, float>(const host_gemm &, const BlasContext &);
template void run_gemm<f16, f16, f16>(const host_gemm &, const BlasContext &);
template void run_gemm<f16, f16, float>(const host_gemm &, const BlasContext &);
template void run_gemm<f16, float, float>(const host_gemm &, const BlasContext &);
template void run_gemm<bf16, bf16, float>(const host_gemm &, const BlasContext &);
template void run_gemm<bf16, float, float>(const host_gemm &, const BlasContext &);

} // namespace shimbench::soft
