// How the handlers go over the lanes of a warp. A 32-bit or narrower value takes one 32-bit word of its
// slot (narrower ones zero-extended), a 64-bit value one 64-bit word.
#pragma once

#include "lane_math.hpp"
#include "warp.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace soft {

inline constexpr std::uint32_t all_lanes = 0xffffffff;

template <class T> using word_t = std::conditional_t<(sizeof(T) > 4), std::uint64_t, std::uint32_t>;

template <class T> inline T from_word(word_t<T> word) {
    if constexpr (std::is_integral_v<T>)
        return static_cast<T>(word);
    else if constexpr (sizeof(T) == sizeof(word_t<T>))
        return std::bit_cast<T>(word);
    else
        return T{static_cast<std::uint16_t>(word)};
}
template <class T> inline word_t<T> to_word(T value) {
    if constexpr (std::is_integral_v<T>)
        return static_cast<word_t<T>>(static_cast<std::make_unsigned_t<T>>(value));
    else if constexpr (sizeof(T) == sizeof(word_t<T>))
        return std::bit_cast<word_t<T>>(value);
    else
        return value.bits;
}

template <class D, class A, auto F> void unary(Warp &w, const Op &op) {
    auto *d = w.slot<word_t<D>>(op.dst);
    const auto *a = w.slot<word_t<A>>(op.a);
    if (w.exec == all_lanes) {
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i)
            d[i] = to_word<D>(F(from_word<A>(a[i])));
    } else {
        const std::uint32_t exec = w.exec;
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i) {
            auto r = to_word<D>(F(from_word<A>(a[i])));
            d[i] = (exec >> i) & 1 ? r : d[i];
        }
    }
}

template <class D, class A, class B, auto F> void binary(Warp &w, const Op &op) {
    auto *d = w.slot<word_t<D>>(op.dst);
    const auto *a = w.slot<word_t<A>>(op.a);
    const auto *b = w.slot<word_t<B>>(op.b);
    if (w.exec == all_lanes) {
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i)
            d[i] = to_word<D>(F(from_word<A>(a[i]), from_word<B>(b[i])));
    } else {
        const std::uint32_t exec = w.exec;
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i) {
            auto r = to_word<D>(F(from_word<A>(a[i]), from_word<B>(b[i])));
            d[i] = (exec >> i) & 1 ? r : d[i];
        }
    }
}

template <class D, class A, class B, class C, auto F> void ternary(Warp &w, const Op &op) {
    auto *d = w.slot<word_t<D>>(op.dst);
    const auto *a = w.slot<word_t<A>>(op.a);
    const auto *b = w.slot<word_t<B>>(op.b);
    const auto *c = w.slot<word_t<C>>(op.c);
    if (w.exec == all_lanes) {
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i)
            d[i] = to_word<D>(F(from_word<A>(a[i]), from_word<B>(b[i]), from_word<C>(c[i])));
    } else {
        const std::uint32_t exec = w.exec;
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i) {
            auto r = to_word<D>(F(from_word<A>(a[i]), from_word<B>(b[i]), from_word<C>(c[i])));
            d[i] = (exec >> i) & 1 ? r : d[i];
        }
    }
}

/// Lanes that are all ones or all zeros, as the bits of one word.
inline std::uint32_t mask_of(const std::uint32_t (&truth)[lanes]) {
#if defined(__AVX2__)
    std::uint32_t mask = 0;
    for (unsigned i = 0; i < 4; ++i) {
        __m256 part = _mm256_loadu_ps(reinterpret_cast<const float *>(truth + 8 * i));
        mask |= static_cast<std::uint32_t>(_mm256_movemask_ps(part)) << (8 * i);
    }
    return mask;
#else
    std::uint32_t mask = 0;
    for (unsigned i = 0; i < lanes; ++i)
        mask |= (truth[i] & 1) << i;
    return mask;
#endif
}

/// Calls f(lane) for each lane of the mask, in order.
template <class F> inline void each_lane(std::uint32_t mask, F f) {
    for (; mask != 0; mask &= mask - 1)
        f(static_cast<unsigned>(std::countr_zero(mask)));
}

} // namespace soft
