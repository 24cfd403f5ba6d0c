// Moves between registers: copies, halves and whole ones, narrow and wide.
#include "control.hpp"
#include "lanes.hpp"

namespace soft {

namespace {

/// `Count` elements of `bits` each make one value of D; as the device's little endian has it.
template <class D, unsigned Bits, unsigned Count> void pack_lanes(Warp &w, const Op &op) {
    const std::uint32_t *list = w.list(op);
    const std::uint32_t *part[Count];
    for (unsigned k = 0; k < Count; ++k)
        part[k] = w.slot<std::uint32_t>(list[k]);
    D *d = w.slot<D>(op.dst);
    const std::uint32_t exec = w.exec;
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i) {
        D value = 0;
        for (unsigned k = 0; k < Count; ++k)
            value |= (static_cast<D>(part[k][i]) & ((1ull << Bits) - 1)) << (Bits * k);
        d[i] = (exec >> i) & 1 ? value : d[i];
    }
}

template <class D, unsigned Bits, unsigned Count> void unpack_lanes(Warp &w, const Op &op) {
    const std::uint32_t *list = w.list(op);
    const D *a = w.slot<D>(op.a);
    const std::uint32_t exec = w.exec;
    for (unsigned k = 0; k < Count; ++k) {
        std::uint32_t *d = w.slot<std::uint32_t>(list[k]);
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i) {
            auto part = static_cast<std::uint32_t>((a[i] >> (Bits * k)) & ((1ull << Bits) - 1));
            d[i] = (exec >> i) & 1 ? part : d[i];
        }
    }
}

} // namespace

Handler choose_pack(unsigned bits, std::size_t count) {
    switch (bits * 10 + count) {
    case 82:
        return pack_lanes<std::uint32_t, 8, 2>;
    case 84:
        return pack_lanes<std::uint32_t, 8, 4>;
    case 162:
        return pack_lanes<std::uint32_t, 16, 2>;
    case 164:
        return pack_lanes<std::uint64_t, 16, 4>;
    case 322:
        return pack_lanes<std::uint64_t, 32, 2>;
    default:
        return nullptr;
    }
}

Handler choose_unpack(unsigned bits, std::size_t count) {
    switch (bits * 10 + count) {
    case 82:
        return unpack_lanes<std::uint32_t, 8, 2>;
    case 84:
        return unpack_lanes<std::uint32_t, 8, 4>;
    case 162:
        return unpack_lanes<std::uint32_t, 16, 2>;
    case 164:
        return unpack_lanes<std::uint64_t, 16, 4>;
    case 322:
        return unpack_lanes<std::uint64_t, 32, 2>;
    default:
        return nullptr;
    }
}

void copy_word(Warp &w, const Op &op) {
    unary<std::uint32_t, std::uint32_t, [](std::uint32_t a) { return a; }>(w, op);
}
void copy_wide(Warp &w, const Op &op) {
    unary<std::uint64_t, std::uint64_t, [](std::uint64_t a) { return a; }>(w, op);
}
void narrow(Warp &w, const Op &op) {
    unary<std::uint32_t, std::uint64_t, [](std::uint64_t a) { return static_cast<std::uint32_t>(a); }>(w, op);
}
void widen(Warp &w, const Op &op) {
    unary<std::uint64_t, std::uint32_t, [](std::uint32_t a) { return static_cast<std::uint64_t>(a); }>(w, op);
}
void widen_signed(Warp &w, const Op &op) {
    unary<std::int64_t, std::int32_t, [](std::int32_t a) { return static_cast<std::int64_t>(a); }>(w, op);
}

} // namespace soft
