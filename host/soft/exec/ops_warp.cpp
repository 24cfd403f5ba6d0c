// Exchanges between the lanes of a warp: shfl, vote, match, activemask, redux.
#include "lanes.hpp"
#include "select.hpp"

#include <algorithm>

namespace soft {

using ptx::Instruction;
using ptx::Type;

namespace {

using u32 = std::uint32_t;
using s32 = std::int32_t;
using u64 = std::uint64_t;

enum class Shuffle { up, down, bfly, idx };

/// Source: PTX ISA, shfl.sync. `b` is the lane or distance, `c` the clamp (bits 0-4) and the mask that
/// splits the warp into segments (bits 8-12).
template <Shuffle S> void shuffle(Warp &w, const Op &op) {
    u32 *d = w.slot<u32>(op.dst);
    const u32 *b = w.slot<u32>(op.b), *c = w.slot<u32>(op.c);
    u32 a[lanes];
    std::memcpy(a, w.slot<u32>(op.a), sizeof a);
    u32 in_range = 0;
    u32 result[lanes];
    for (unsigned i = 0; i < lanes; ++i) {
        int lane = static_cast<int>(i);
        int value = static_cast<int>(b[i] & 0x1f), clamp = static_cast<int>(c[i] & 0x1f),
            segment = static_cast<int>((c[i] >> 8) & 0x1f);
        int most = (lane & segment) | (clamp & ~segment), least = lane & segment;
        int from;
        bool inside;
        switch (S) {
        case Shuffle::up:
            from = lane - value;
            inside = from >= most;
            break;
        case Shuffle::down:
            from = lane + value;
            inside = from <= most;
            break;
        case Shuffle::bfly:
            from = lane ^ value;
            inside = from <= most;
            break;
        case Shuffle::idx:
            from = least | (value & ~segment);
            inside = from <= most;
            break;
        }
        result[i] = a[inside ? from & 31 : lane];
        in_range |= static_cast<u32>(inside) << i;
    }
    const u32 exec = w.exec;
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i)
        d[i] = (exec >> i) & 1 ? result[i] : d[i];
    if (op.flags & has_predicate)
        w.write_predicate(op.predicate, in_range);
}

u32 vote_bits(Warp &w, const Op &op) {
    u32 bits = w.predicates[op.a];
    return op.flags & a_negated ? ~bits : bits;
}

enum class Vote { all, any, uni };
template <Vote V> void vote(Warp &w, const Op &op) {
    const u32 bits = vote_bits(w, op) & w.exec;
    bool yes = V == Vote::all ? bits == w.exec : V == Vote::any ? bits != 0 : bits == 0 || bits == w.exec;
    w.write_predicate(op.dst, yes ? ~0u : 0);
}

void ballot(Warp &w, const Op &op) {
    const u32 bits = vote_bits(w, op) & w.exec;
    u32 *d = w.slot<u32>(op.dst);
    each_lane(w.exec, [&](unsigned i) { d[i] = bits; });
}

void active_mask(Warp &w, const Op &op) {
    u32 *d = w.slot<u32>(op.dst);
    each_lane(w.exec, [&](unsigned i) { d[i] = w.exec; });
}

template <class T, bool All> void match(Warp &w, const Op &op) {
    const T *a = w.slot<T>(op.a);
    u32 *d = w.slot<u32>(op.dst);
    u32 result[lanes] = {};
    each_lane(w.exec, [&](unsigned i) {
        each_lane(w.exec, [&](unsigned k) { result[i] |= static_cast<u32>(a[i] == a[k]) << k; });
        if (All && result[i] != w.exec)
            result[i] = 0;
    });
    each_lane(w.exec, [&](unsigned i) { d[i] = result[i]; });
    if (op.flags & has_predicate)
        w.write_predicate(op.predicate, w.exec && result[std::countr_zero(w.exec)] ? ~0u : 0);
}

template <class T, auto F> void reduce(Warp &w, const Op &op) {
    const u32 *a = w.slot<u32>(op.a);
    u32 *d = w.slot<u32>(op.dst);
    if (w.exec == 0)
        return;
    T total = static_cast<T>(a[std::countr_zero(w.exec)]);
    each_lane(w.exec & (w.exec - 1), [&](unsigned i) { total = F(total, static_cast<T>(a[i])); });
    each_lane(w.exec, [&](unsigned i) { d[i] = static_cast<u32>(total); });
}

/// elect: the lowest lane of those that the mask names is the leader.
void elect(Warp &w, const Op &op) {
    const u32 *mask = w.slot<u32>(op.a);
    u32 *d = w.slot<u32>(op.dst);
    u32 leads = 0;
    each_lane(w.exec, [&](unsigned i) {
        const u32 leader = mask[i] == 0 ? i : static_cast<u32>(std::countr_zero(mask[i]));
        d[i] = leader;
        leads |= static_cast<u32>(leader == i) << i;
    });
    w.write_predicate(op.predicate, leads);
}

/// mapa: an address of the same place in another block's shared memory, of a cluster that has but one.
template <class T> void map_to_block(Warp &w, const Op &op) {
    const T *a = w.slot<T>(op.a);
    const u32 *block = w.slot<u32>(op.b);
    T *d = w.slot<T>(op.dst);
    each_lane(w.exec, [&](unsigned i) {
        if (block[i] != 0)
            raise(w, op, FaultKind::illegal_address, i,
                  "mapa to block " + std::to_string(block[i]) + " of a cluster of one");
        d[i] = a[i];
    });
}

void flush_half(Warp &w, const Op &op) {
    unary<u32, u32, [](u32 a) { return (a & 0x7c00) == 0 ? a & 0x8000 : a; }>(w, op);
}
void flush_pair(Warp &w, const Op &op) {
    unary<u32, u32, [](u32 a) {
        const u32 low = (a & 0x7c00) == 0 ? a & 0x8000 : a & 0xffff,
                  high = (a & 0x7c000000) == 0 ? a & 0x80000000 : a & 0xffff0000;
        return high | low;
    }>(w, op);
}

Handler choose_redux(const Instruction &in) {
    bool is_signed = in.type() == Type::s32;
    if (in.type() != Type::u32 && in.type() != Type::s32 && in.type() != Type::b32)
        not_implemented(in);
    if (in.has("add"))
        return reduce<u32, [](u32 x, u32 y) { return x + y; }>;
    if (in.has("and"))
        return reduce<u32, [](u32 x, u32 y) { return x & y; }>;
    if (in.has("or"))
        return reduce<u32, [](u32 x, u32 y) { return x | y; }>;
    if (in.has("xor"))
        return reduce<u32, [](u32 x, u32 y) { return x ^ y; }>;
    if (in.has("min"))
        return is_signed ? reduce<s32, [](s32 x, s32 y) { return std::min(x, y); }>
                         : reduce<u32, [](u32 x, u32 y) { return std::min(x, y); }>;
    if (in.has("max"))
        return is_signed ? reduce<s32, [](s32 x, s32 y) { return std::max(x, y); }>
                         : reduce<u32, [](u32 x, u32 y) { return std::max(x, y); }>;
    not_implemented(in);
}

} // namespace

Handler choose_half_flush(bool pair) {
    return pair ? flush_pair : flush_half;
}

Handler choose_cluster(const Instruction &in) {
    return ptx::size_of(in.type()) == 8 ? map_to_block<u64> : map_to_block<u32>;
}

Handler choose_exchange(const Instruction &in) {
    if (in.opcode == "shfl") {
        if (in.has("up"))
            return shuffle<Shuffle::up>;
        if (in.has("down"))
            return shuffle<Shuffle::down>;
        if (in.has("bfly"))
            return shuffle<Shuffle::bfly>;
        if (in.has("idx"))
            return shuffle<Shuffle::idx>;
    } else if (in.opcode == "vote") {
        if (in.has("ballot"))
            return ballot;
        return in.has("all") ? vote<Vote::all> : in.has("any") ? vote<Vote::any> : vote<Vote::uni>;
    } else if (in.opcode == "activemask") {
        return active_mask;
    } else if (in.opcode == "match") {
        bool wide = ptx::size_of(in.type()) == 8;
        if (in.has("all"))
            return wide ? match<u64, true> : match<u32, true>;
        return wide ? match<u64, false> : match<u32, false>;
    } else if (in.opcode == "elect") {
        return elect;
    } else if (in.opcode == "redux") {
        return choose_redux(in);
    }
    not_implemented(in);
}

} // namespace soft
