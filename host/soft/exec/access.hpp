// Whether the lanes of a warp may access what their addresses name, and where that lies for the host.
#pragma once

#include "heap.hpp"
#include "lanes.hpp"

#include <algorithm>
#include <cstdio>

namespace soft {

inline std::string access_text(const char *what, std::uint64_t address, unsigned bytes) {
    char text[96];
    std::snprintf(text, sizeof text, "%s of %u bytes at 0x%llx", what, bytes,
                  static_cast<unsigned long long>(address));
    return text;
}

/// Whether an access lies in what generic addresses reach beside global memory, or in the grid's workspace.
inline bool of_the_block(const Block &block, std::uint64_t address, unsigned bytes) {
    auto within = [&](std::uint64_t begin, std::uint64_t size) {
        return bytes <= size && address - begin <= size - bytes;
    };
    return within(reinterpret_cast<std::uint64_t>(block.shared), block.shared_size) ||
           within(reinterpret_cast<std::uint64_t>(block.local), block.local_size * block.threads) ||
           within(reinterpret_cast<std::uint64_t>(block.parameters), block.parameter_bytes) ||
           device_heap().holds(address, bytes) ||
           (block.grid_workspace != 0 && within(block.grid_workspace, sizeof(GridWorkspace)));
}

/// Asks of each lane's access to global memory whether it stays within an allocation.
inline void check_allocations(Warp &w, const Op &op, unsigned bytes, const std::uint64_t (&where)[lanes],
                              const char *what) {
    const Block &block = *w.block;
    std::uint64_t first = ~std::uint64_t{0}, last = 0;
    each_lane(w.exec, [&](unsigned i) {
        first = std::min(first, where[i]);
        last = std::max(last, where[i]);
    });
    // Mostly one allocation has them all, and need be asked for once.
    if (w.exec == 0 ||
        (last <= ~std::uint64_t{0} - bytes && (*block.memory_check)(first, last - first + bytes).empty()))
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
template <ptx::Space S>
inline void check(Warp &w, const Op &op, unsigned bytes, std::uint64_t (&where)[lanes], const char *what) {
    const std::uint32_t exec = w.exec;
    // First what all lanes' addresses have together: no less than any one of them, and as aligned as the
    // least. Only what that does not settle is looked at lane by lane.
    std::uint64_t together = 0;
#pragma GCC ivdep
    for (unsigned i = 0; i < lanes; ++i)
        together |= where[i];
    std::uint64_t odd = together & (bytes - 1);
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
    if constexpr (S == ptx::Space::shared || S == ptx::Space::local || S == ptx::Space::param) {
        const std::uint64_t size = S == ptx::Space::shared  ? w.block->shared_size
                                   : S == ptx::Space::local ? w.block->local_size
                                                            : w.block->parameter_bytes;
        const std::uint64_t last = size < bytes ? 0 : size - bytes + 1;
        std::uint64_t beyond = 0;
        if (together >= last) {
#pragma GCC ivdep
            for (unsigned i = 0; i < lanes; ++i)
                beyond |= (exec >> i) & 1 ? static_cast<std::uint64_t>(where[i] >= last) : 0;
        }
        if (beyond != 0)
            each_lane(exec, [&](unsigned i) {
                if (where[i] >= last)
                    raise(w, op, FaultKind::illegal_address, i,
                          access_text(what, where[i], bytes) +
                              (S == ptx::Space::shared ? " of shared memory, which has "
                                                       : " of local memory, which has ") +
                              std::to_string(size) + " bytes");
            });
        if constexpr (S == ptx::Space::shared) {
            const std::uint64_t base = reinterpret_cast<std::uint64_t>(w.block->shared);
            for (unsigned i = 0; i < lanes; ++i)
                where[i] += base;
        } else if constexpr (S == ptx::Space::param) {
            const std::uint64_t base = reinterpret_cast<std::uint64_t>(w.block->parameters);
            for (unsigned i = 0; i < lanes; ++i)
                where[i] += base;
        } else {
            const std::uint64_t base = reinterpret_cast<std::uint64_t>(w.block->local) +
                                       static_cast<std::uint64_t>(w.index) * lanes * size;
            for (unsigned i = 0; i < lanes; ++i)
                where[i] += base + i * size;
        }
    } else if (w.block->memory_check != nullptr) {
        check_allocations(w, op, bytes, where, what);
    }
}

/// The host's address of each lane's access, from its register.
template <ptx::Space S>
inline void addresses(Warp &w, const Op &op, unsigned bytes, std::uint64_t (&where)[lanes],
                      const char *what) {
    if (op.flags & wide_address) {
        const std::uint64_t *a = w.slot<std::uint64_t>(op.a);
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i)
            where[i] = a[i] + static_cast<std::uint64_t>(op.immediate);
    } else {
        const std::uint32_t *a = w.slot<std::uint32_t>(op.a);
#pragma GCC ivdep
        for (unsigned i = 0; i < lanes; ++i)
            where[i] = static_cast<std::uint32_t>(a[i] + static_cast<std::uint32_t>(op.immediate));
    }
    check<S>(w, op, bytes, where, what);
}

} // namespace soft
