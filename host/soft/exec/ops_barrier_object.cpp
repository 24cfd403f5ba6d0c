// mbarrier: barriers that are objects in shared memory, and bulk copies that tell them.
//
// An object's 64 bits, which are an implementation's own: pending arrivals (bits 0-19), arrivals of a phase
// (20-39), bytes still to come, signed (40-61), and the phase's parity (62). A copy is performed at once, so
// that its bytes have come before anybody could wait for them.
#include "access.hpp"
#include "select.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Space;

namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s64 = std::int64_t;

constexpr u64 phase_bit = u64{1} << 62, count_mask = 0xfffff;

struct BarrierObject {
    u64 pending, expected;
    s64 bytes;
    u64 phase;

    explicit BarrierObject(u64 bits)
        : pending(bits & count_mask), expected(bits >> 20 & count_mask),
          bytes(static_cast<s64>(bits << 2) >> 42), phase(bits & phase_bit) {}
    u64 bits() const { return pending | expected << 20 | (static_cast<u64>(bytes) & 0x3fffff) << 40 | phase; }
    void arrive(u64 count) {
        pending -= std::min(pending, count);
        settle();
    }
    void settle() {
        if (pending != 0 || bytes != 0)
            return;
        pending = expected;
        phase ^= phase_bit;
    }
};

/// Changes each lane's object in turn. Blocks run on one thread each, and nobody else has their shared
/// memory.
template <Space S, class F> void each_object(Warp &w, const Op &op, F change) {
    u64 where[lanes];
    addresses<S>(w, op, 8, where, "mbarrier");
    each_lane(w.exec, [&](unsigned i) {
        u64 bits;
        std::memcpy(&bits, reinterpret_cast<const void *>(where[i]), 8);
        BarrierObject object(bits);
        change(object, i, bits);
        bits = object.bits();
        std::memcpy(reinterpret_cast<void *>(where[i]), &bits, 8);
    });
}

/// b = the count.
template <Space S> void initialise(Warp &w, const Op &op) {
    const u32 *count = w.slot<u32>(op.b);
    each_object<S>(w, op, [&](BarrierObject &object, unsigned i, u64) {
        object = BarrierObject(0);
        object.pending = object.expected = count[i] & count_mask;
    });
}

template <Space S> void forget(Warp &w, const Op &op) {
    each_object<S>(w, op, [](BarrierObject &, unsigned, u64) {});
}

/// b = arrivals, or bytes where they are spoken of; dst = the state before, where it is wanted.
template <Space S> void arrive(Warp &w, const Op &op) {
    const u32 *b = w.slot<u32>(op.b);
    u64 *state = op.predicate & no_result ? nullptr : w.slot<u64>(op.dst);
    each_object<S>(w, op, [&](BarrierObject &object, unsigned i, u64 before) {
        const u32 mode = op.predicate;
        if (mode & arrival_expects)
            object.bytes += b[i];
        if (mode & arrival_completes)
            object.bytes -= b[i];
        const u64 count = mode & arrival_expects ? 1 : b[i];
        if (mode & arrival_drops)
            object.expected -= std::min(object.expected, count);
        if (!(mode & no_arrival))
            object.arrive(count);
        else if (mode & arrival_completes)
            object.settle();
        if (state)
            state[i] = before;
    });
}

/// b = a state, or a parity. The phase that it is of has ended when the object's is another.
template <Space S, bool Parity> void ask_phase(Warp &w, const Op &op) {
    const u64 *state = Parity ? nullptr : w.slot<u64>(op.b);
    const u32 *parity = Parity ? w.slot<u32>(op.b) : nullptr;
    u32 ended = 0;
    each_object<S>(w, op, [&](BarrierObject &object, unsigned i, u64) {
        const bool odd = Parity ? parity[i] & 1 : (state[i] & phase_bit) != 0;
        ended |= static_cast<u32>(odd != (object.phase != 0)) << i;
    });
    w.write_predicate(op.dst, ended);
    if (ended != w.exec && w.state == WarpState::running)
        w.state = WarpState::yielded; // others may have what it waits for
}

void pending_count(Warp &w, const Op &op) {
    u32 *d = w.slot<u32>(op.dst);
    const u64 *state = w.slot<u64>(op.b);
    each_lane(w.exec, [&](unsigned i) { d[i] = static_cast<u32>(state[i] & count_mask); });
}

/// a = to, b = from, c = bytes, predicate = the barrier object's offset in shared memory.
void bulk_copy_in(Warp &w, const Op &op) {
    const u32 *bytes = w.slot<u32>(op.c), *object_at = w.slot<u32>(op.predicate);
    const u64 *from = w.slot<u64>(op.b);
    auto place = [&](u64 offset, u64 size, unsigned lane) {
        if (offset > w.block->shared_size || size > w.block->shared_size - offset)
            raise(w, op, FaultKind::illegal_address, lane,
                  access_text("cp.async.bulk", offset, static_cast<unsigned>(size)) +
                      " of shared memory, which has " + std::to_string(w.block->shared_size) + " bytes");
        return w.block->shared + offset;
    };
    each_lane(w.exec, [&](unsigned i) {
        const u64 to = op.flags & wide_address ? w.slot<u64>(op.a)[i] + static_cast<u64>(op.immediate)
                                               : w.slot<u32>(op.a)[i] + static_cast<u32>(op.immediate);
        if (((to | from[i] | bytes[i]) & 15) != 0)
            raise(w, op, FaultKind::misaligned_address, i, access_text("cp.async.bulk", from[i], bytes[i]));
        if (w.block->memory_check != nullptr && bytes[i] != 0) {
            const std::string wrong = (*w.block->memory_check)(from[i], bytes[i]);
            if (!wrong.empty())
                raise(w, op, FaultKind::illegal_address, i,
                      access_text("cp.async.bulk", from[i], bytes[i]) + ", " + wrong);
        }
        std::memcpy(place(to, bytes[i], i), reinterpret_cast<const void *>(from[i]), bytes[i]);
        std::uint8_t *told = place(object_at[i], 8, i);
        u64 bits;
        std::memcpy(&bits, told, 8);
        BarrierObject object(bits);
        object.bytes -= bytes[i];
        object.settle();
        bits = object.bits();
        std::memcpy(told, &bits, 8);
    });
}

template <Space S> Handler barrier_object_in(const Instruction &in) {
    if (in.opcode == "cp")
        return arrive<S>;
    if (in.has("init"))
        return initialise<S>;
    if (in.has("inval"))
        return forget<S>;
    if (in.has("arrive") || in.has("arrive_drop") || in.has("expect_tx") || in.has("complete_tx"))
        return arrive<S>;
    if (in.has("test_wait") || in.has("try_wait"))
        return in.has("parity") ? ask_phase<S, true> : ask_phase<S, false>;
    not_implemented(in);
}

} // namespace

Handler choose_barrier_object(const Instruction &in, Space space) {
    if (in.has("pending_count"))
        return pending_count;
    if (in.has("bulk"))
        return bulk_copy_in;
    return space == Space::shared ? barrier_object_in<Space::shared>(in)
                                  : barrier_object_in<Space::global>(in);
}

} // namespace soft
