// Loads, stores, atomics and asynchronous copies, in all state spaces.
//
// Addresses: of global and constant memory, and generic ones, are addresses of this process, since
// device memory lies at the same place in guest and worker; of shared memory, offsets into the block's;
// of local memory, offsets into each thread's own. A bad global access raises SIGSEGV, which the launch
// turns into a fault; offsets are checked here, as they would hit other memory of ours.
#include "lanes.hpp"
#include "select.hpp"

#include <algorithm>
#include <cstdio>

namespace soft {

using ptx::Instruction;
using ptx::Space;
using ptx::Type;

namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

std::string access_text(const char *what, u64 address, unsigned bytes) {
    char text[96];
    std::snprintf(text, sizeof text, "%s of %u bytes at 0x%llx", what, bytes,
                  static_cast<unsigned long long>(address));
    return text;
}

/// Whether an access lies in what generic addresses reach beside global memory, or in the grid's workspace.
bool of_the_block(const Block &block, u64 address, unsigned bytes) {
    auto within = [&](u64 begin, u64 size) { return bytes <= size && address - begin <= size - bytes; };
    return within(reinterpret_cast<u64>(block.shared), block.shared_size) ||
           within(reinterpret_cast<u64>(block.local), block.local_size * block.threads) ||
           within(reinterpret_cast<u64>(block.parameters), block.parameter_bytes) ||
           (block.grid_workspace != 0 && within(block.grid_workspace, sizeof(GridWorkspace)));
}

/// Asks of each lane's access to global memory whether it stays within an allocation.
void check_allocations(Warp &w, const Op &op, unsigned bytes, const u64 (&where)[lanes], const char *what) {
    const Block &block = *w.block;
    u64 first = ~u64{0}, last = 0;
    each_lane(w.exec, [&](unsigned i) {
        first = std::min(first, where[i]);
        last = std::max(last, where[i]);
    });
    // Mostly one allocation has them all, and need be asked for once.
    if (w.exec == 0 ||
        (last <= ~u64{0} - bytes && (*block.memory_check)(first, last - first + bytes).empty()))
        return;
    each_lane(w.exec, [&](unsigned i) {
        if (of_the_block(block, where[i], bytes))
            return;
        const std::string wrong = (*block.memory_check)(where[i], bytes);
        if (!wrong.empty())
            raise(w, op, FaultKind::illegal_address, i, access_text(what, where[i], bytes) + ", " + wrong);
    });
}

/// Checks each lane's address for its space, and makes it the host's. `bytes` is that of the whole access.
template <Space S>
inline void check(Warp &w, const Op &op, unsigned bytes, u64 (&where)[lanes], const char *what) {
    const u32 exec = w.exec;
    // First what all lanes' addresses have together: no less than any one of them, and as aligned as the
    // least. Only what that does not settle is looked at lane by lane.
    u64 together = 0;
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i)
        together |= where[i];
    u64 odd = together & (bytes - 1);
    if (odd != 0 && exec != all_lanes) {
        odd = 0;
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i)
            odd |= (exec >> i) & 1 ? where[i] & (bytes - 1) : 0;
    }
    if (odd != 0)
        each_lane(exec, [&](unsigned i) {
            if (where[i] & (bytes - 1))
                raise(w, op, FaultKind::misaligned_address, i, access_text(what, where[i], bytes));
        });
    if constexpr (S == Space::shared || S == Space::local || S == Space::param) {
        const u64 size = S == Space::shared  ? w.block->shared_size
                         : S == Space::local ? w.block->local_size
                                             : w.block->parameter_bytes;
        const u64 last = size < bytes ? 0 : size - bytes + 1;
        u64 beyond = 0;
        if (together >= last) {
#pragma GCC ivdep
            for (unsigned i = 0; i < lanes; ++i)
                beyond |= (exec >> i) & 1 ? static_cast<u64>(where[i] >= last) : 0;
        }
        if (beyond != 0)
            each_lane(exec, [&](unsigned i) {
                if (where[i] >= last)
                    raise(w, op, FaultKind::illegal_address, i,
                          access_text(what, where[i], bytes) +
                              (S == Space::shared ? " of shared memory, which has "
                                                  : " of local memory, which has ") +
                              std::to_string(size) + " bytes");
            });
        if constexpr (S == Space::shared) {
            const u64 base = reinterpret_cast<u64>(w.block->shared);
            for (unsigned i = 0; i < lanes; ++i)
                where[i] += base;
        } else if constexpr (S == Space::param) {
            const u64 base = reinterpret_cast<u64>(w.block->parameters);
            for (unsigned i = 0; i < lanes; ++i)
                where[i] += base;
        } else {
            const u64 base = reinterpret_cast<u64>(w.block->local) + static_cast<u64>(w.index) * lanes * size;
            for (unsigned i = 0; i < lanes; ++i)
                where[i] += base + i * size;
        }
    } else if (w.block->memory_check != nullptr) {
        check_allocations(w, op, bytes, where, what);
    }
}

/// The host's address of each lane's access, from its register.
template <Space S>
inline void addresses(Warp &w, const Op &op, unsigned bytes, u64 (&where)[lanes], const char *what) {
    if (op.flags & wide_address) {
        const u64 *a = w.slot<u64>(op.a);
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i)
            where[i] = a[i] + static_cast<u64>(op.immediate);
    } else {
        const u32 *a = w.slot<u32>(op.a);
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i)
            where[i] = static_cast<u32>(a[i] + static_cast<u32>(op.immediate));
    }
    check<S>(w, op, bytes, where, what);
}

/// True when lane i's address is lane 0's plus i * bytes: one copy serves all.
inline bool consecutive(const u64 (&where)[lanes], unsigned bytes) {
    u64 differs = 0;
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i)
        differs |= where[i] ^ (where[0] + static_cast<u64>(i) * bytes);
    return differs == 0;
}
inline bool uniform(const u64 (&where)[lanes]) {
    u64 differs = 0;
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i)
        differs |= where[i] ^ where[0];
    return differs == 0;
}

/// Memory type M, register word R (sign- or zero-extended), N elements.
template <class M, class R, unsigned N, bool MaybeAlike>
inline void load_lanes(const Warp &w, const u64 (&where)[lanes], word_t<R> *(&d)[N]) {
    using Word = word_t<R>;
    auto extend = [](M value) -> Word {
        if constexpr (std::is_signed_v<M>)
            return static_cast<Word>(static_cast<std::make_unsigned_t<R>>(static_cast<R>(value)));
        else
            return static_cast<Word>(value);
    };
    if (w.exec == all_lanes) {
        if constexpr (N == 1 && sizeof(M) == sizeof(Word)) {
            if (consecutive(where, sizeof(M))) {
                std::memcpy(d[0], reinterpret_cast<const void *>(where[0]), sizeof(M) * lanes);
                return;
            }
        }
        if (MaybeAlike && uniform(where)) {
            M value[N];
            std::memcpy(value, reinterpret_cast<const void *>(where[0]), sizeof value);
            for (unsigned k = 0; k < N; ++k)
                for (unsigned i = 0; i < lanes; ++i)
                    d[k][i] = extend(value[k]);
            return;
        }
#if defined(__AVX2__)
        if constexpr (N == 4 && sizeof(M) == 4 && sizeof(Word) == 4) { // four lanes of four words: transposed
            for (unsigned i = 0; i < lanes; i += 4) {
                __m128 rows[4];
                for (unsigned k = 0; k < 4; ++k)
                    rows[k] = _mm_loadu_ps(reinterpret_cast<const float *>(where[i + k]));
                _MM_TRANSPOSE4_PS(rows[0], rows[1], rows[2], rows[3]);
                for (unsigned k = 0; k < 4; ++k)
                    _mm_storeu_ps(reinterpret_cast<float *>(d[k] + i), rows[k]);
            }
            return;
        }
#endif
        for (unsigned i = 0; i < lanes; ++i) {
            M value[N];
            std::memcpy(value, reinterpret_cast<const void *>(where[i]), sizeof value);
            for (unsigned k = 0; k < N; ++k)
                d[k][i] = extend(value[k]);
        }
        return;
    }
    each_lane(w.exec, [&](unsigned i) {
        M value[N];
        std::memcpy(value, reinterpret_cast<const void *>(where[i]), sizeof value);
        for (unsigned k = 0; k < N; ++k)
            d[k][i] = extend(value[k]);
    });
}

template <class M, class R, unsigned N, Space S> void load(Warp &w, const Op &op) {
    using Word = word_t<R>;
    u64 where[lanes];
    addresses<S>(w, op, sizeof(M) * N, where, "load");
    Word *d[N];
    if constexpr (N == 1)
        d[0] = w.slot<Word>(op.dst);
    else
        for (unsigned k = 0; k < N; ++k)
            d[k] = w.slot<Word>(w.list(op)[k]);
    load_lanes<M, R, N, true>(w, where, d);
}

/// What compiled code calls: addresses are in `where` already, the result goes to `moved`.
template <class M, class R, unsigned N, Space S> void load_moved(Warp &w, const Op &op) {
    using Word = word_t<R>;
    check<S>(w, op, sizeof(M) * N, w.where, "load");
    Word *d[N];
    for (unsigned k = 0; k < N; ++k)
        d[k] = reinterpret_cast<Word *>(w.moved) + k * lanes;
    load_lanes<M, R, N, false>(w, w.where, d); // what is known to be alike does not come here
}

template <class M, unsigned N>
inline void store_lanes(const Warp &w, const u64 (&where)[lanes], const word_t<M> *(&s)[N]) {
    using Word = word_t<M>;
    if constexpr (N == 1 && sizeof(M) == sizeof(Word)) {
        if (w.exec == all_lanes && consecutive(where, sizeof(M))) {
            std::memcpy(reinterpret_cast<void *>(where[0]), s[0], sizeof(M) * lanes);
            return;
        }
    }
    each_lane(w.exec, [&](unsigned i) {
        M value[N];
        for (unsigned k = 0; k < N; ++k)
            value[k] = static_cast<M>(s[k][i]);
        std::memcpy(reinterpret_cast<void *>(where[i]), value, sizeof value);
    });
}

template <class M, unsigned N, Space S> void store(Warp &w, const Op &op) {
    using Word = word_t<M>;
    u64 where[lanes];
    addresses<S>(w, op, sizeof(M) * N, where, "store");
    const Word *s[N];
    if constexpr (N == 1)
        s[0] = w.slot<Word>(op.dst);
    else
        for (unsigned k = 0; k < N; ++k)
            s[k] = w.slot<Word>(w.list(op)[k]);
    store_lanes<M, N>(w, where, s);
}

template <class M, unsigned N, Space S> void store_moved(Warp &w, const Op &op) {
    using Word = word_t<M>;
    check<S>(w, op, sizeof(M) * N, w.where, "store");
    const Word *s[N];
    for (unsigned k = 0; k < N; ++k)
        s[k] = reinterpret_cast<const Word *>(w.moved) + k * lanes;
    store_lanes<M, N>(w, w.where, s);
}

template <class M, class R, Space S> Handler moved_of(unsigned elements, bool stores) {
    switch (elements) {
    case 1:
        return stores ? store_moved<M, 1, S> : load_moved<M, R, 1, S>;
    case 2:
        return stores ? store_moved<M, 2, S> : load_moved<M, R, 2, S>;
    case 4:
        return stores ? store_moved<M, 4, S> : load_moved<M, R, 4, S>;
    default:
        return nullptr;
    }
}

template <Space S> Handler moved_in(Type type, unsigned elements, bool stores) {
    if (!stores && type == Type::s8)
        return moved_of<std::int8_t, std::int32_t, S>(elements, false);
    if (!stores && type == Type::s16)
        return moved_of<std::int16_t, std::int32_t, S>(elements, false);
    switch (ptx::size_of(type)) {
    case 1:
        return moved_of<u8, u32, S>(elements, stores);
    case 2:
        return moved_of<u16, u32, S>(elements, stores);
    case 4:
        return moved_of<u32, u32, S>(elements, stores);
    case 8:
        return moved_of<u64, u64, S>(elements, stores);
    default:
        return nullptr;
    }
}

template <class M, class R, Space S> Handler load_of(const Instruction &in, unsigned elements) {
    switch (elements) {
    case 1:
        return load<M, R, 1, S>;
    case 2:
        return load<M, R, 2, S>;
    case 4:
        return load<M, R, 4, S>;
    case 8:
        if constexpr (sizeof(M) <= 4)
            return load<M, R, 8, S>;
        [[fallthrough]];
    default:
        not_implemented(in, "vector of " + std::to_string(elements));
    }
}
template <class M, Space S> Handler store_of(const Instruction &in, unsigned elements) {
    switch (elements) {
    case 1:
        return store<M, 1, S>;
    case 2:
        return store<M, 2, S>;
    case 4:
        return store<M, 4, S>;
    case 8:
        if constexpr (sizeof(M) <= 4)
            return store<M, 8, S>;
        [[fallthrough]];
    default:
        not_implemented(in, "vector of " + std::to_string(elements));
    }
}

template <Space S> Handler load_in(const Instruction &in, unsigned elements) {
    Type type = in.type();
    switch (type) {
    case Type::s8:
        return load_of<std::int8_t, std::int32_t, S>(in, elements);
    case Type::s16:
        return load_of<std::int16_t, std::int32_t, S>(in, elements);
    default:
        break;
    }
    switch (ptx::size_of(type)) {
    case 1:
        return load_of<u8, u32, S>(in, elements);
    case 2:
        return load_of<u16, u32, S>(in, elements);
    case 4:
        return load_of<u32, u32, S>(in, elements);
    case 8:
        return load_of<u64, u64, S>(in, elements);
    default:
        not_implemented(in);
    }
}
template <Space S> Handler store_in(const Instruction &in, unsigned elements) {
    switch (ptx::size_of(in.type())) {
    case 1:
        return store_of<u8, S>(in, elements);
    case 2:
        return store_of<u16, S>(in, elements);
    case 4:
        return store_of<u32, S>(in, elements);
    case 8:
        return store_of<u64, S>(in, elements);
    default:
        not_implemented(in);
    }
}

// ---- atomics ------------------------------------------------------------------------------------------

enum class Atomic { add, min, max, and_, or_, xor_, exch, cas, inc, dec };

template <Atomic A, class T, class Word> Word combine(Word old, Word operand, Word other) {
    T a = from_word<T>(old), b = from_word<T>(operand);
    switch (A) {
    case Atomic::add:
        if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
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

// ---- asynchronous copies, addresses -------------------------------------------------------------------

/// cp.async is performed at once: whoever waits for it finds it done. `c` holds how many bytes to take
/// from the source; the rest of the `immediate` bytes becomes zero.
template <unsigned Bytes> void async_copy(Warp &w, const Op &op) {
    u64 to[lanes];
    addresses<Space::shared>(w, op, Bytes, to, "cp.async");
    const u64 *from = w.slot<u64>(op.b);
    const u32 *taken = op.flags & has_predicate ? w.slot<u32>(op.c) : nullptr;
    const auto offset = static_cast<u64>(static_cast<std::int64_t>(static_cast<std::int32_t>(op.predicate)));
    each_lane(w.exec, [&](unsigned i) {
        u64 source = from[i] + offset;
        unsigned bytes = taken && taken[i] < Bytes ? taken[i] : Bytes;
        if (w.block->memory_check != nullptr && bytes != 0) {
            const std::string wrong = (*w.block->memory_check)(source, bytes);
            if (!wrong.empty())
                raise(w, op, FaultKind::illegal_address, i,
                      access_text("cp.async", source, bytes) + ", " + wrong);
        }
        auto *place = reinterpret_cast<u8 *>(to[i]);
        if (bytes == Bytes) {
            std::memcpy(place, reinterpret_cast<const void *>(source), Bytes);
        } else {
            std::memset(place, 0, Bytes);
            std::memcpy(place, reinterpret_cast<const void *>(source), bytes);
        }
    });
}

template <Space S, bool ToGeneric> void change_space(Warp &w, const Op &op) {
    u64 *d = w.slot<u64>(op.dst);
    const u64 *a = w.slot<u64>(op.a);
    u64 base = S == Space::shared ? reinterpret_cast<u64>(w.block->shared)
                                  : reinterpret_cast<u64>(w.block->local) +
                                        static_cast<u64>(w.index) * lanes * w.block->local_size;
    u64 step = S == Space::shared ? 0 : w.block->local_size;
    each_lane(w.exec, [&](unsigned i) {
        u64 window = base + i * step;
        d[i] = ToGeneric ? a[i] + window : a[i] - window;
    });
}

} // namespace

Handler choose_load(const Instruction &in, Space space, unsigned elements) {
    switch (space) {
    case Space::shared:
        return load_in<Space::shared>(in, elements);
    case Space::local:
        return load_in<Space::local>(in, elements);
    case Space::param:
        return load_in<Space::param>(in, elements);
    default:
        return load_in<Space::global>(in, elements);
    }
}

Handler choose_store(const Instruction &in, Space space, unsigned elements) {
    switch (space) {
    case Space::shared:
        return store_in<Space::shared>(in, elements);
    case Space::local:
        return store_in<Space::local>(in, elements);
    default:
        return store_in<Space::global>(in, elements);
    }
}

Handler choose_moved(const Instruction &in, Space space, unsigned elements, bool stores) {
    switch (space) {
    case Space::shared:
        return moved_in<Space::shared>(in.type(), elements, stores);
    case Space::local:
    case Space::param:
        return nullptr;
    default:
        return moved_in<Space::global>(in.type(), elements, stores);
    }
}

Handler choose_atomic(const Instruction &in, Space space) {
    return space == Space::shared ? atomic_in<Space::shared>(in) : atomic_in<Space::global>(in);
}

Handler choose_async_copy(const Instruction &in) {
    std::uint64_t bytes = in.operands.size() > 2 ? in.operands[2].bits : 0;
    switch (bytes) {
    case 4:
        return async_copy<4>;
    case 8:
        return async_copy<8>;
    case 16:
        return async_copy<16>;
    default:
        not_implemented(in);
    }
}

Handler choose_address(Space space, bool to_generic) {
    if (space == Space::shared)
        return to_generic ? change_space<Space::shared, true> : change_space<Space::shared, false>;
    return to_generic ? change_space<Space::local, true> : change_space<Space::local, false>;
}

} // namespace soft
