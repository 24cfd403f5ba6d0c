// Atomics on several elements of a lane: vectors, of which each element is changed by itself; 128-bit
// numbers; and what is combined in bulk.
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
using u128 = unsigned __int128;

/// op.list: with has_predicate the results, then the operands.
template <Atomic A, class T> void change_vectors(Warp &w, const Op &op) {
    const bool returns = op.flags & has_predicate;
    const unsigned count = op.count / (returns ? 2 : 1);
    const u32 *results = w.list(op), *operands = results + (returns ? count : 0);
    u64 where[lanes];
    addresses<Space::global>(w, op, static_cast<unsigned>(sizeof(T)) * count, where, "atomic");
    each_lane(w.exec, [&](unsigned i) {
        for (unsigned k = 0; k < count; ++k) {
            auto *place = reinterpret_cast<memory_of<T> *>(where[i]) + k;
            const auto old = change<A, T>(place, w.slot<u32>(operands[k])[i]);
            if (returns)
                w.slot<u32>(results[k])[i] = old;
        }
    });
}

template <class T> Handler vectors_of(const Instruction &in) {
    if (in.has("add"))
        return change_vectors<Atomic::add, T>;
    if constexpr (!std::is_same_v<T, float>) {
        if (in.has("min"))
            return change_vectors<Atomic::min, T>;
        if (in.has("max"))
            return change_vectors<Atomic::max, T>;
    }
    not_implemented(in);
}

/// op.list: lower and upper half of the result, of what is to come, and (cas) first of what must be there.
template <Space S, bool Compares> void change_wide(Warp &w, const Op &op) {
    const u32 *list = w.list(op);
    auto whole = [&](unsigned at, unsigned lane) {
        return static_cast<u128>(w.slot<u64>(list[at + 1])[lane]) << 64 | w.slot<u64>(list[at])[lane];
    };
    u64 where[lanes];
    addresses<S>(w, op, 16, where, "atomic");
    each_lane(w.exec, [&](unsigned i) {
        auto *place = reinterpret_cast<u128 *>(where[i]);
        u128 old = 0;
        if constexpr (Compares) {
            old = __sync_val_compare_and_swap(place, whole(2, i), whole(4, i));
        } else {
            for (u128 seen = 0;; seen = old) // what is there comes to be known by trying
                if ((old = __sync_val_compare_and_swap(place, seen, whole(2, i))) == seen)
                    break;
        }
        w.slot<u64>(list[0])[i] = static_cast<u64>(old);
        w.slot<u64>(list[1])[i] = static_cast<u64>(old >> 64);
    });
}

/// Where a bulk operation's bytes lie in the block's shared memory.
std::uint8_t *bulk_place(Warp &w, const Op &op, u64 offset, u32 bytes, unsigned lane) {
    if (offset > w.block->shared_size || bytes > w.block->shared_size - offset)
        raise(w, op, FaultKind::illegal_address, lane,
              access_text("cp.async.bulk", offset, bytes) + " of shared memory, which has " +
                  std::to_string(w.block->shared_size) + " bytes");
    return w.block->shared + offset;
}

/// Calls f(to, from, bytes) for each lane: a = to, in shared or global memory; b = from, an offset in shared
/// memory; c = bytes. All in multiples of 16.
template <Space To, class F> void each_bulk(Warp &w, const Op &op, F f) {
    const u32 *from = w.slot<u32>(op.b), *bytes = w.slot<u32>(op.c);
    each_lane(w.exec, [&](unsigned i) {
        const u64 to = op.flags & wide_address ? w.slot<u64>(op.a)[i] + static_cast<u64>(op.immediate)
                                               : w.slot<u32>(op.a)[i] + static_cast<u32>(op.immediate);
        if (((to | from[i] | bytes[i]) & 15) != 0)
            raise(w, op, FaultKind::misaligned_address, i, access_text("cp.async.bulk", to, bytes[i]));
        std::uint8_t *target;
        if constexpr (To == Space::shared) {
            target = bulk_place(w, op, to, bytes[i], i);
        } else {
            if (w.block->memory_check != nullptr && bytes[i] != 0)
                if (const std::string wrong = (*w.block->memory_check)(to, bytes[i]); !wrong.empty())
                    raise(w, op, FaultKind::illegal_address, i,
                          access_text("cp.async.bulk", to, bytes[i]) + ", " + wrong);
            target = reinterpret_cast<std::uint8_t *>(to);
        }
        f(target, bulk_place(w, op, from[i], bytes[i], i), bytes[i]);
    });
}

template <Space To> void bulk_copy(Warp &w, const Op &op) {
    each_bulk<To>(
        w, op, [](std::uint8_t *to, const std::uint8_t *from, u32 bytes) { std::memmove(to, from, bytes); });
}

template <Atomic A, class T, Space To> void bulk_reduction(Warp &w, const Op &op) {
    each_bulk<To>(w, op, [](std::uint8_t *to, const std::uint8_t *from, u32 bytes) {
        for (u32 at = 0; at < bytes; at += sizeof(T)) {
            memory_of<T> operand;
            std::memcpy(&operand, from + at, sizeof operand);
            change<A, T>(reinterpret_cast<memory_of<T> *>(to + at), operand);
        }
    });
}

template <class T, Space To> Handler bulk_of(const Instruction &in) {
    constexpr bool whole = std::is_integral_v<T>, half = is_small_real<T>;
    if (in.has("add"))
        return bulk_reduction<Atomic::add, T, To>;
    if constexpr (whole || half) {
        if (in.has("min"))
            return bulk_reduction<Atomic::min, T, To>;
        if (in.has("max"))
            return bulk_reduction<Atomic::max, T, To>;
    }
    if constexpr (whole) {
        if (in.has("and"))
            return bulk_reduction<Atomic::and_, T, To>;
        if (in.has("or"))
            return bulk_reduction<Atomic::or_, T, To>;
        if (in.has("xor"))
            return bulk_reduction<Atomic::xor_, T, To>;
        if (in.has("inc"))
            return bulk_reduction<Atomic::inc, T, To>;
        if (in.has("dec"))
            return bulk_reduction<Atomic::dec, T, To>;
    }
    not_implemented(in);
}

template <Space To> Handler bulk_reduction_to(const Instruction &in) {
    switch (in.type()) {
    case Type::b32:
    case Type::u32:
        return bulk_of<u32, To>(in);
    case Type::s32:
        return bulk_of<std::int32_t, To>(in);
    case Type::b64:
    case Type::u64:
        return bulk_of<u64, To>(in);
    case Type::s64:
        return bulk_of<std::int64_t, To>(in);
    case Type::f16:
        return bulk_of<f16, To>(in);
    case Type::bf16:
        return bulk_of<bf16, To>(in);
    case Type::f32:
        return bulk_of<float, To>(in);
    case Type::f64:
        return bulk_of<double, To>(in);
    default:
        not_implemented(in);
    }
}

} // namespace

Handler choose_vector_atomic(const Instruction &in) {
    if (in.has("shared"))
        not_implemented(in);
    switch (in.type()) {
    case Type::f32:
        return vectors_of<float>(in);
    case Type::f16:
        return vectors_of<f16>(in);
    case Type::bf16:
        return vectors_of<bf16>(in);
    case Type::f16x2:
        return vectors_of<PairOf<f16>>(in);
    case Type::bf16x2:
        return vectors_of<PairOf<bf16>>(in);
    default:
        not_implemented(in);
    }
}

Handler choose_wide_atomic(const Instruction &in, Space space) {
    const bool shared = space == Space::shared;
    if (in.has("cas"))
        return shared ? change_wide<Space::shared, true> : change_wide<Space::global, true>;
    if (in.has("exch"))
        return shared ? change_wide<Space::shared, false> : change_wide<Space::global, false>;
    not_implemented(in);
}

Handler choose_bulk_copy(const Instruction &in) {
    return in.has("global") ? bulk_copy<Space::global> : bulk_copy<Space::shared>;
}

Handler choose_bulk_reduction(const Instruction &in) {
    return in.has("global") ? bulk_reduction_to<Space::global>(in) : bulk_reduction_to<Space::shared>(in);
}

} // namespace soft
