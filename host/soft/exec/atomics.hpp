// What atomics make of the old value and their operands, and how they change memory that others may change
// at the same time.
#pragma once

#include "lanes.hpp"

namespace soft {

enum class Atomic : std::uint8_t { add, min, max, and_, or_, xor_, exch, cas, inc, dec };

/// Two 16-bit floats, each of which is changed by itself.
template <class H> struct PairOf {
    using half = H;
    std::uint32_t bits;
};
template <class T> constexpr bool is_pair = false;
template <class H> constexpr bool is_pair<PairOf<H>> = true;
template <class T> constexpr bool is_small_real = std::is_same_v<T, f16> || std::is_same_v<T, bf16>;

/// The memory of a T, which lies in a register's word.
template <class T> using memory_of = std::conditional_t<sizeof(T) == 2, std::uint16_t, word_t<T>>;

/// add, min and max of 16-bit floats; what is no number loses against a number.
template <Atomic A, class H> std::uint16_t combine_halves(std::uint16_t old, std::uint16_t operand) {
    const float a = to_float(H{old}), b = to_float(H{operand});
    if constexpr (A == Atomic::add)
        return from_float<H>(a + b).bits;
    else
        return from_float<H>(A == Atomic::min ? float_min(a, b) : float_max(a, b)).bits;
}

template <Atomic A, class T, class Word> Word combine(Word old, Word operand, Word other) {
    if constexpr (A == Atomic::exch)
        return operand;
    else if constexpr (A == Atomic::cas)
        return old == operand ? other : old;
    else if constexpr (is_pair<T>)
        return static_cast<Word>(
            combine_halves<A, typename T::half>(static_cast<std::uint16_t>(old),
                                                static_cast<std::uint16_t>(operand)) |
            static_cast<Word>(combine_halves<A, typename T::half>(static_cast<std::uint16_t>(old >> 16),
                                                                  static_cast<std::uint16_t>(operand >> 16)))
                << 16);
    else if constexpr (is_small_real<T>)
        return combine_halves<A, T>(static_cast<std::uint16_t>(old), static_cast<std::uint16_t>(operand));
    else {
        const T a = from_word<T>(old), b = from_word<T>(operand);
        switch (A) {
        case Atomic::add:
            if constexpr (std::is_integral_v<T>)
                return static_cast<Word>(old + operand);
            else
                return to_word<T>(a + b);
        case Atomic::min:
            return to_word<T>(a < b ? a : b);
        case Atomic::max:
            return to_word<T>(a > b ? a : b);
        case Atomic::and_:
            return old & operand;
        case Atomic::or_:
            return old | operand;
        case Atomic::xor_:
            return old ^ operand;
        case Atomic::inc:
            return old >= operand ? 0 : old + 1;
        default:
            return old == 0 || old > operand ? operand : old - 1;
        }
    }
}

/// Changes what lies there, by the host's own atomics as other blocks run on other threads; gives back what
/// was there.
template <Atomic A, class T>
memory_of<T> change(memory_of<T> *place, word_t<T> operand, word_t<T> other = 0) {
    using Memory = memory_of<T>;
    Memory old = __atomic_load_n(place, __ATOMIC_RELAXED), next;
    do
        next = static_cast<Memory>(combine<A, T, word_t<T>>(old, operand, other));
    while (!__atomic_compare_exchange_n(place, &old, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
    return old;
}

} // namespace soft
