// Handlers that decide what a warp does next, rather than what it computes.
#pragma once

#include "warp.hpp"

namespace soft {

void run_guarded(Warp &, const Op &); // Op::guarded on the lanes whose guard holds
void jump(Warp &, const Op &);        // immediate = target
void branch_if(Warp &, const Op &);   // guard decides by lane; join = where the ways meet
void meet(Warp &, const Op &);        // immediate = its own index: lanes of finished ways wait here
void finish(Warp &, const Op &);      // ret, exit
/// The number of the barrier of a cluster, behind the sixteen that programs name.
inline constexpr std::uint32_t cluster_barrier = 16;
/// Where the warps of a block wait until none can go on otherwise: see gather.cpp.
inline constexpr std::uint32_t gathering = 17;
inline std::uint32_t barrier_number(std::uint32_t operand) {
    return operand == cluster_barrier || operand == gathering ? operand : operand & 15;
}
void barrier(Warp &, const Op &); // bar.sync: a = slot of the number, b = slot of the thread count
void barrier_arrive(Warp &, const Op &);
void barrier_reduce(Warp &, const Op &); // bar.red: predicate in, result in dst; immediate = Reduction
void trap(Warp &, const Op &);           // immediate: why
inline constexpr std::int64_t trap_of_pointer = 1;
void print(Warp &, const Op &);         // vprintf: a = format, b = arguments
void assert_failed(Warp &, const Op &); // message a, file b, line c, function predicate
void allocate(Warp &, const Op &);      // malloc: a = bytes
void release(Warp &, const Op &);       // free: a = address
/// mov d, {a, b, ...} and mov {a, b, ...}, d for elements of that many bits; null when there is none.
Handler choose_pack(unsigned bits, std::size_t count);
Handler choose_unpack(unsigned bits, std::size_t count);
void copy_word(Warp &, const Op &); // register to register
void copy_wide(Warp &, const Op &);
void narrow(Warp &, const Op &); // 64-bit register to 32-bit
void widen(Warp &, const Op &);  // 32-bit register to 64-bit, zero-extended
void widen_signed(Warp &, const Op &);
void is_space(Warp &, const Op &);   // isspacep: immediate = ptx::Space
void read_clock(Warp &, const Op &); // %clock, %clock64, %globaltimer

enum Reduction : std::int64_t { reduce_and, reduce_or, reduce_popc };

/// Takes up the next way of a warp whose current one has ended, or marks it done.
void resume_next(Warp &);

} // namespace soft
