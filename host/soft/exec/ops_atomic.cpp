// Atomics: atom and red, in global and shared memory.
#include "access.hpp"
#include "select.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Space;
using ptx::Type;

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

enum class Atomic { add, min, max, and_, or_, xor_, exch, cas, inc, dec };

/// Two 16-bit floats, of which each is added to by itself.
template <class H> struct PairOf {
    u32 bits;
};
template <class H> u32 pair_sum(u32 a, u32 b) {
    auto half = [&](unsigned at) -> u32 {
        const float sum = to_float(H{static_cast<u16>(a >> at)}) + to_float(H{static_cast<u16>(b >> at)});
        return u32{from_float<H>(sum).bits} << at;
    };
    return half(0) | half(16);
}

template <Atomic A, class T, class Word> Word combine(Word old, Word operand, Word other) {
    T a = from_word<T>(old), b = from_word<T>(operand);
    switch (A) {
    case Atomic::add:
        if constexpr (std::is_same_v<T, PairOf<f16>>)
            return pair_sum<f16>(old, operand);
        else if constexpr (std::is_same_v<T, PairOf<bf16>>)
            return pair_sum<bf16>(old, operand);
        else if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
            return to_word<T>(from_float<T>(to_float(a) + to_float(b)));
        else if constexpr (std::is_integral_v<T>)
            return static_cast<Word>(old + operand);
        else
            return to_word<T>(a + b);
    case Atomic::exch:
        return operand;
    case Atomic::cas:
        return old == operand ? other : old;
    default:
        break;
    }
    if constexpr (std::is_integral_v<T>) {
        switch (A) {
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
        case Atomic::dec:
            return old == 0 || old > operand ? operand : old - 1;
        default:
            break;
        }
    }
    return old;
}

template <Atomic A, class T, Space S> void atomic(Warp &w, const Op &op) {
    using Memory = std::conditional_t<sizeof(T) == 2, u16, word_t<T>>;
    using Word = word_t<T>;
    u64 where[lanes];
    addresses<S>(w, op, sizeof(T), where, "atomic");
    const Word *b = w.slot<Word>(op.b), *c = w.slot<Word>(op.c);
    Word *d = op.flags & has_predicate ? w.slot<Word>(op.dst) : nullptr; // has_predicate: wants the old value
    // Lane by lane, with the host's own atomics: other blocks run on other threads.
    each_lane(w.exec, [&](unsigned i) {
        auto *place = reinterpret_cast<Memory *>(where[i]);
        Memory old = __atomic_load_n(place, __ATOMIC_RELAXED);
        Memory next;
        do
            next = static_cast<Memory>(combine<A, T, Word>(old, b[i], c[i]));
        while (!__atomic_compare_exchange_n(place, &old, next, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
        if (d)
            d[i] = old;
    });
}

template <class T, Space S> Handler atomic_of(const Instruction &in) {
    struct Row {
        const char *name;
        Handler handler;
        bool floats;
    };
    static constexpr Row rows[] = {
        {"add", atomic<Atomic::add, T, S>, true},  {"exch", atomic<Atomic::exch, T, S>, true},
        {"cas", atomic<Atomic::cas, T, S>, true},  {"min", atomic<Atomic::min, T, S>, false},
        {"max", atomic<Atomic::max, T, S>, false}, {"and", atomic<Atomic::and_, T, S>, false},
        {"or", atomic<Atomic::or_, T, S>, false},  {"xor", atomic<Atomic::xor_, T, S>, false},
        {"inc", atomic<Atomic::inc, T, S>, false}, {"dec", atomic<Atomic::dec, T, S>, false},
    };
    for (const Row &row : rows)
        if (in.has(row.name) && (row.floats || std::is_integral_v<T>))
            return row.handler;
    not_implemented(in);
}

template <Space S> Handler atomic_in(const Instruction &in) {
    switch (in.type()) {
    case Type::b16:
    case Type::u16:
        return atomic_of<u16, S>(in);
    case Type::f16:
        return atomic_of<f16, S>(in);
    case Type::bf16:
        return atomic_of<bf16, S>(in);
    case Type::f16x2:
        return atomic_of<PairOf<f16>, S>(in);
    case Type::bf16x2:
        return atomic_of<PairOf<bf16>, S>(in);
    case Type::b32:
    case Type::u32:
        return atomic_of<u32, S>(in);
    case Type::s32:
        return atomic_of<std::int32_t, S>(in);
    case Type::f32:
        return atomic_of<float, S>(in);
    case Type::b64:
    case Type::u64:
        return atomic_of<u64, S>(in);
    case Type::s64:
        return atomic_of<std::int64_t, S>(in);
    case Type::f64:
        return atomic_of<double, S>(in);
    default:
        not_implemented(in);
    }
}

} // namespace

Handler choose_atomic(const Instruction &in, Space space) {
    return space == Space::shared ? atomic_in<Space::shared>(in) : atomic_in<Space::global>(in);
}

} // namespace soft
