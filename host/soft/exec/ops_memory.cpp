// Loads, stores and asynchronous copies, in all state spaces.
//
// Addresses: of global and constant memory, and generic ones, are addresses of this process, since
// device memory lies at the same place in guest and worker; of shared memory, offsets into the block's;
// of local memory, offsets into each thread's own. A bad global access raises SIGSEGV, which the launch
// turns into a fault; offsets are checked here, as they would hit other memory of ours.
#include "access.hpp"
#include "select.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Space;
using ptx::Type;

namespace {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

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
        if (bytes != 0 && source % Bytes != 0)
            raise(w, op, FaultKind::misaligned_address, i, access_text("cp.async", source, Bytes));
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
    u64 base = S == Space::shared  ? reinterpret_cast<u64>(w.block->shared)
               : S == Space::param ? reinterpret_cast<u64>(w.block->parameters)
                                   : reinterpret_cast<u64>(w.block->local) +
                                         static_cast<u64>(w.index) * lanes * w.block->local_size;
    u64 step = S == Space::local ? w.block->local_size : 0;
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
        return moved_in<Space::local>(in.type(), elements, stores);
    case Space::param:
        return nullptr;
    default:
        return moved_in<Space::global>(in.type(), elements, stores);
    }
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
    if (space == Space::param)
        return to_generic ? change_space<Space::param, true> : change_space<Space::param, false>;
    return to_generic ? change_space<Space::local, true> : change_space<Space::local, false>;
}

} // namespace soft
