// Products that the host performs for our libcublas: against sums in 64 bits, and with calls that nobody
// sane would make. Built twice: with Eigen, where it is there, and with the plain loops.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "../fuzz_rounds.hpp"
#include "cublas/host_kernels.h"
#include "expect.hpp"
#include "soft/blas/blas.hpp"
#include "soft/exec/lane_math.hpp"
#include "soft/exec/warp.hpp"

using namespace shimbench::soft;
using soft::bf16, soft::f16;

namespace {

// Device memory: allocations, each by itself, so that the sanitizers see what lies beyond its end.
struct Memory {
    std::map<std::uint64_t, std::vector<std::byte>> allocations;

    template <class T> std::uint64_t add(const std::vector<T> &content) {
        std::vector<std::byte> bytes(content.size() * sizeof(T));
        if (!content.empty())
            std::memcpy(bytes.data(), content.data(), bytes.size());
        const auto at = reinterpret_cast<std::uint64_t>(bytes.data());
        allocations[at] = std::move(bytes); // keeps its place
        return at;
    }
    template <class T> std::vector<T> get(std::uint64_t at) {
        const auto &bytes = allocations.at(at);
        std::vector<T> content(bytes.size() / sizeof(T));
        if (!content.empty())
            std::memcpy(content.data(), bytes.data(), bytes.size());
        return content;
    }
    std::byte *touch(std::uint64_t at, std::uint64_t bytes) {
        auto found = allocations.upper_bound(at);
        if (found == allocations.begin())
            return nullptr;
        --found;
        const std::uint64_t offset = at - found->first;
        return offset <= found->second.size() && bytes <= found->second.size() - offset
                   ? found->second.data() + offset
                   : nullptr;
    }
};

struct Bench {
    Memory memory;
    std::mt19937_64 random = fuzz::random(7);
    BlasContext context{[this](std::uint64_t at, std::uint64_t bytes) { return memory.touch(at, bytes); },
                        2,
                        std::chrono::steady_clock::now() + std::chrono::hours(1),
                        {}};

    template <class T> std::vector<T> any(std::uint64_t count) {
        std::normal_distribution<float> normal;
        std::vector<T> values(count);
        for (T &value : values)
            value = soft::from_float<T>(normal(random));
        return values;
    }

    // The fault that the call ends in, if any.
    template <class Call> std::optional<soft::Fault> run(const std::string &kernel, const Call &call) {
        try {
            run_blas(kernel, std::as_bytes(std::span(&call, 1)), context);
            return {};
        } catch (const soft::Fault &fault) {
            EXPECT(!fault.message.empty());
            return fault;
        }
    }
};

template <class T> std::uint64_t bits_of(T value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(value));
    return bits;
}

template <class T> double relative_epsilon() {
    return std::is_same_v<T, f16> ? 0x1p-11 : std::is_same_v<T, bf16> ? 0x1p-8 : 0x1p-24;
}

struct Sizes {
    std::uint64_t m, n, k;
};

template <class Input, class Output, class Scalar>
void a_product_is_what_sums_in_64_bits_are(const std::string &kernel, Sizes size, bool transpose_a,
                                           bool transpose_b, float alpha, float beta) {
    Bench bench;
    const std::uint64_t a_rows = transpose_a ? size.k : size.m, a_columns = transpose_a ? size.m : size.k;
    const std::uint64_t b_rows = transpose_b ? size.n : size.k, b_columns = transpose_b ? size.k : size.n;
    const std::uint64_t lda = a_rows + 3, ldb = b_rows + 1, ldc = size.m + 2;
    const auto a = bench.any<Input>(lda * a_columns), b = bench.any<Input>(ldb * b_columns);
    const auto before = bench.any<Output>(ldc * size.n);
    host_gemm call{};
    call.a = bench.memory.add(a), call.b = bench.memory.add(b), call.c = bench.memory.add(before);
    call.lda = static_cast<std::int64_t>(lda), call.ldb = static_cast<std::int64_t>(ldb);
    call.ldc = static_cast<std::int64_t>(ldc);
    call.m = size.m, call.n = size.n, call.k = size.k, call.batch = 1;
    call.transpose_a = transpose_a, call.transpose_b = transpose_b;
    call.alpha = bits_of(soft::from_float<Scalar>(alpha)),
    call.beta = bits_of(soft::from_float<Scalar>(beta));
    EXPECT(!bench.run(kernel, call));
    const auto after = bench.memory.get<Output>(call.c);
    for (std::uint64_t j = 0; j < size.n; j++)
        for (std::uint64_t i = 0; i < ldc; i++) {
            const float old = soft::to_float(before[j * ldc + i]), now = soft::to_float(after[j * ldc + i]);
            if (i >= size.m) {
                EXPECT(bits_of(after[j * ldc + i]) == bits_of(before[j * ldc + i])); // between columns
                continue;
            }
            double sum = 0, size_of_terms = 0;
            for (std::uint64_t l = 0; l < size.k; l++) {
                const double left = soft::to_float(transpose_a ? a[i * lda + l] : a[l * lda + i]);
                const double right = soft::to_float(transpose_b ? b[l * ldb + j] : b[j * ldb + l]);
                sum += left * right, size_of_terms += std::abs(left * right);
            }
            const double wanted = alpha * sum + (beta == 0 ? 0 : beta * old);
            const double slack = relative_epsilon<Output>() * std::abs(wanted) +
                                 0x1p-22 * (std::abs(alpha) * size_of_terms + std::abs(beta * old)) + 1e-7;
            EXPECT(std::abs(now - wanted) <= slack);
        }
}

template <class Input, class Output, class Scalar> void products(const std::string &kernel) {
    for (const Sizes size : {Sizes{1, 1, 1}, {5, 3, 7}, {33, 9, 64}, {1, 40, 100}, {40, 1, 100}, {4, 4, 0}})
        for (const int transposes : {0, 1, 2, 3})
            for (const auto &[alpha, beta] : {std::pair{1.0f, 0.0f}, {0.5f, 1.0f}, {-2.0f, 0.25f}})
                a_product_is_what_sums_in_64_bits_are<Input, Output, Scalar>(kernel, size, transposes & 1,
                                                                             transposes & 2, alpha, beta);
    for (const int transposes : {0, 1, 2, 3}) // over the edges of tiles
        a_product_is_what_sums_in_64_bits_are<Input, Output, Scalar>(kernel, {300, 530, 20}, transposes & 1,
                                                                     transposes & 2, 1, 0);
    a_product_is_what_sums_in_64_bits_are<Input, Output, Scalar>(kernel, {270, 3, 1100}, true, false, 1, 1);
}

host_gemm small_product(Bench &bench) {
    host_gemm call{};
    call.a = bench.memory.add(bench.any<float>(16)), call.b = bench.memory.add(bench.any<float>(16));
    call.c = bench.memory.add(bench.any<float>(16));
    call.lda = call.ldb = call.ldc = 4;
    call.m = call.n = call.k = 4, call.batch = 1;
    call.alpha = bits_of(1.0f);
    return call;
}

void what_c_held_does_not_matter_without_beta() {
    Bench bench;
    host_gemm call = small_product(bench);
    call.c = bench.memory.add(std::vector<float>(16, NAN));
    EXPECT(!bench.run("gemm_f32_f32_f32", call));
    for (const float value : bench.memory.get<float>(call.c))
        EXPECT(!std::isnan(value));
}

void a_and_b_are_not_read_without_alpha() {
    Bench bench;
    host_gemm call = small_product(bench);
    call.a = call.b = 16;
    call.alpha = bits_of(0.0f), call.beta = bits_of(2.0f);
    const auto before = bench.memory.get<float>(call.c);
    EXPECT(!bench.run("gemm_f32_f32_f32", call));
    const auto after = bench.memory.get<float>(call.c);
    for (std::size_t n = 0; n < before.size(); n++)
        EXPECT(after[n] == 2 * before[n]);
}

void batches_go_by_strides_or_by_arrays_of_addresses_and_scalars_may_be_the_devices() {
    Bench bench;
    const std::uint64_t batch = 5;
    const auto a = bench.any<f16>(16 * batch), b = bench.any<f16>(16); // B is the same for all
    host_gemm strided = small_product(bench);
    strided.a = bench.memory.add(a), strided.b = bench.memory.add(b);
    strided.c = bench.memory.add(std::vector<float>(16 * batch, 1.0f));
    strided.stride_a = strided.stride_c = 16, strided.batch = batch;
    strided.beta = bits_of(3.0f);
    EXPECT(!bench.run("gemm_f16_f32_f32", strided));

    host_gemm arrays = strided;
    arrays.stride_a = arrays.stride_c = 0;
    arrays.flags = HOST_KERNEL_POINTER_ARRAYS | HOST_KERNEL_DEVICE_SCALARS;
    std::vector<std::uint64_t> as, bs, cs;
    for (std::uint64_t n = 0; n < batch; n++) {
        as.push_back(strided.a + n * 16 * sizeof(f16)), bs.push_back(strided.b);
        cs.push_back(bench.memory.add(std::vector<float>(16, 1.0f)));
    }
    arrays.a = bench.memory.add(as), arrays.b = bench.memory.add(bs), arrays.c = bench.memory.add(cs);
    arrays.alpha = bench.memory.add(std::vector<float>{1.0f});
    arrays.beta = bench.memory.add(std::vector<float>{3.0f});
    EXPECT(!bench.run("gemm_f16_f32_f32", arrays));
    const auto together = bench.memory.get<float>(strided.c);
    for (std::uint64_t n = 0; n < batch; n++) {
        const auto one = bench.memory.get<float>(cs[n]);
        EXPECT(std::equal(one.begin(), one.end(), together.begin() + static_cast<std::ptrdiff_t>(n * 16)));
    }
    EXPECT(together[0] != together[16]);
}

void results_beyond_half_precision_are_infinite() {
    Bench bench;
    host_gemm call{};
    const std::vector<f16> large(1, soft::half_of(60000.0f));
    call.a = bench.memory.add(large), call.b = bench.memory.add(large), call.c = bench.memory.add(large);
    call.lda = call.ldb = call.ldc = 1;
    call.m = call.n = call.k = call.batch = 1;
    call.alpha = bits_of(soft::half_of(1.0f));
    EXPECT(!bench.run("gemm_f16_f16_f16", call));
    EXPECT(bench.memory.get<f16>(call.c)[0].bits == 0x7c00);
}

// op(A)'s element, of the triangle that counts.
double triangle(const std::vector<float> &a, const host_trsm &call, std::uint64_t i, std::uint64_t j) {
    if (call.transpose)
        std::swap(i, j);
    if (i == j)
        return call.unit_diagonal ? 1 : a[j * static_cast<std::uint64_t>(call.lda) + i];
    return (call.upper ? i < j : i > j) ? a[j * static_cast<std::uint64_t>(call.lda) + i] : 0;
}

void triangular_solves_multiply_back(unsigned variant) {
    Bench bench;
    const std::uint64_t m = 7, n = 5, batch = 3;
    host_trsm call{};
    call.right = variant & 1, call.upper = variant >> 1 & 1, call.transpose = variant >> 2 & 1;
    call.unit_diagonal = variant >> 3 & 1;
    call.m = m, call.n = n, call.batch = batch, call.lda = 9, call.ldb = 8;
    call.alpha = bits_of(2.0f);
    const std::uint64_t size = call.right ? n : m;
    std::vector<std::vector<float>> as, bs;
    std::vector<std::uint64_t> a_at, b_at;
    for (std::uint64_t number = 0; number < batch; number++) {
        as.push_back(bench.any<float>(9 * size));
        for (std::uint64_t i = 0; i < size; i++)
            as.back()[i * 9 + i] = 4 + static_cast<float>(i); // far from singular
        bs.push_back(bench.any<float>(8 * n));
        a_at.push_back(bench.memory.add(as.back())), b_at.push_back(bench.memory.add(bs.back()));
    }
    call.a = bench.memory.add(a_at), call.b = bench.memory.add(b_at);
    EXPECT(!bench.run("trsm_f32", call));
    for (std::uint64_t number = 0; number < batch; number++) {
        const auto x = bench.memory.get<float>(b_at[number]);
        for (std::uint64_t j = 0; j < n; j++)
            for (std::uint64_t i = 0; i < m; i++) {
                double sum = 0;
                for (std::uint64_t l = 0; l < size; l++)
                    sum += call.right ? x[l * 8 + i] * triangle(as[number], call, l, j)
                                      : triangle(as[number], call, i, l) * x[j * 8 + l];
                EXPECT(std::abs(sum - 2.0 * bs[number][j * 8 + i]) < 1e-3 * (1 + std::abs(sum)));
            }
        EXPECT(x[7] == bs[number][7]); // between columns
    }
}

/// BLAS: without alpha the solution is zero, whatever A and B hold.
void a_and_b_are_not_read_without_alpha_by_solves() {
    Bench bench;
    const std::vector<float> nothing(4, NAN);
    const std::uint64_t b = bench.memory.add(nothing);
    host_trsm call{};
    call.a = bench.memory.add(std::vector<std::uint64_t>{bench.memory.add(nothing)});
    call.b = bench.memory.add(std::vector<std::uint64_t>{b});
    call.m = call.n = 2, call.lda = call.ldb = 2, call.batch = 1;
    EXPECT(!bench.run("trsm_f32", call));
    EXPECT(bench.memory.get<float>(b) == std::vector<float>(4, 0.0f));
}

void bad_calls_end_in_the_fault_that_a_gpu_gives() {
    Bench bench;
    const auto kind = [&](auto change) {
        host_gemm call = small_product(bench);
        change(call);
        const auto fault = bench.run("gemm_f32_f32_f32", call);
        return fault ? fault->kind : soft::FaultKind::none;
    };
    EXPECT(kind([](host_gemm &) {}) == soft::FaultKind::none);
    EXPECT(kind([](host_gemm &call) { call.a = 0; }) == soft::FaultKind::illegal_address);
    EXPECT(kind([](host_gemm &call) { call.b += 4; }) == soft::FaultKind::illegal_address);
    EXPECT(kind([](host_gemm &call) { call.n = 5; }) == soft::FaultKind::illegal_address);
    EXPECT(kind([](host_gemm &call) { call.c += 2, call.n = 3; }) == soft::FaultKind::misaligned_address);
    EXPECT(kind([](host_gemm &call) { call.lda = 3; }) == soft::FaultKind::trap);
    EXPECT(kind([](host_gemm &call) { call.batch = 2, call.stride_c = 1ll << 40; }) ==
           soft::FaultKind::illegal_address);
    EXPECT(kind([](host_gemm &call) { call.k = UINT64_MAX / 2; }) != soft::FaultKind::none);
    EXPECT(kind([](host_gemm &call) { call.flags = HOST_KERNEL_POINTER_ARRAYS; }) ==
           soft::FaultKind::illegal_address);
    EXPECT(kind([](host_gemm &call) { call.flags = HOST_KERNEL_DEVICE_SCALARS; }) ==
           soft::FaultKind::illegal_address);
    EXPECT(bench.run("gemm_f64_f64_f64", small_product(bench))->kind == soft::FaultKind::not_supported);
    EXPECT(bench.run("trsm_f32", std::uint64_t{0})->kind == soft::FaultKind::trap);
}

void a_long_product_ends_when_its_time_is_over_or_nobody_waits() {
    Bench bench;
    bench.context.deadline = std::chrono::steady_clock::now() - std::chrono::seconds(1);
    EXPECT(bench.run("gemm_f32_f32_f32", small_product(bench))->kind == soft::FaultKind::timeout);
    bench.context.deadline += std::chrono::hours(1);
    bench.context.abandoned = [] { return true; };
    EXPECT(bench.run("gemm_f32_f32_f32", small_product(bench))->kind == soft::FaultKind::trap);
}

// Whatever a call says, only allocations are touched; the sanitizers watch.
void hostile_calls_touch_nothing_else() {
    Bench bench;
    bench.context.deadline = std::chrono::steady_clock::now() + std::chrono::minutes(5);
    auto &random = bench.random;
    const char *const kernels[] = {"gemm_f32_f32_f32", "gemm_f16_f16_f16", "gemm_bf16_f32_f32", "trsm_f32"};
    const host_gemm plain = small_product(bench);
    std::vector<std::uint64_t> addresses{plain.a, plain.b, plain.c, 0, 8, UINT64_MAX - 7};
    addresses.push_back(
        bench.memory.add(std::vector<std::uint64_t>{plain.a, plain.b, plain.c, 3, plain.a + 4}));
    const auto any_size = [&]() -> std::uint64_t {
        return random() % 4 ? random() % 6 : random() % 2 ? std::uint64_t{1} << random() % 64 : random();
    };
    int performed = 0;
    for (int round = fuzz::rounds(20000); round > 0; round--) {
        std::uint64_t words[HOST_GEMM_BYTES / 8];
        for (std::uint64_t &word : words)
            word = random() % 3 ? any_size() : addresses[random() % addresses.size()] + random() % 5 * 4;
        for (int n = 0; n < 3; n++)
            words[n] = addresses[random() % addresses.size()] + random() % 3 * 4;
        host_gemm call;
        std::memcpy(&call, words, sizeof(call));
        call.batch %= 64; // long ones end by the clock
        call.flags = random() % 4;
        performed += !bench.run(kernels[random() % 4], call);
    }
    EXPECT(performed > 0);
}

} // namespace

int main() {
    EXPECT(is_blas_module(HOST_KERNELS_MARK ".version 6.0") && !is_blas_module(".version 6.0"));
    products<float, float, float>("gemm_f32_f32_f32");
    products<f16, f16, f16>("gemm_f16_f16_f16");
    products<f16, f16, float>("gemm_f16_f16_f32");
    products<f16, float, float>("gemm_f16_f32_f32");
    products<bf16, bf16, float>("gemm_bf16_bf16_f32");
    products<bf16, float, float>("gemm_bf16_f32_f32");
    what_c_held_does_not_matter_without_beta();
    a_and_b_are_not_read_without_alpha();
    batches_go_by_strides_or_by_arrays_of_addresses_and_scalars_may_be_the_devices();
    results_beyond_half_precision_are_infinite();
    for (unsigned variant = 0; variant < 16; variant++)
        triangular_solves_multiply_back(variant);
    a_and_b_are_not_read_without_alpha_by_solves();
    bad_calls_end_in_the_fault_that_a_gpu_gives();
    a_long_product_ends_when_its_time_is_over_or_nobody_waits();
    hostile_calls_touch_nothing_else();
}
