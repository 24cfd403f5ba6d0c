// Atomics: atom and red, in global and shared memory.
#include "access.hpp"
#include "atomics.hpp"
#include "select.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Space;
using ptx::Type;

namespace {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

template <Atomic A, class T, Space S> void atomic(Warp &w, const Op &op) {
    using Memory = memory_of<T>;
    using Word = word_t<T>;
    u64 where[lanes];
    addresses<S>(w, op, sizeof(T), where, "atomic");
    const Word *b = w.slot<Word>(op.b), *c = w.slot<Word>(op.c);
    Word *d = op.flags & has_predicate ? w.slot<Word>(op.dst) : nullptr; // has_predicate: wants the old value
    each_lane(w.exec, [&](unsigned i) {
        const Memory old = change<A, T>(reinterpret_cast<Memory *>(where[i]), b[i], c[i]);
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
