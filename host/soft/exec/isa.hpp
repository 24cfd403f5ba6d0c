// What the sources that are compiled once for each instruction set of the host say to one another.
// SOFT_ISA is the name of the set being compiled, and of its namespace.
#pragma once

#include "select.hpp"

namespace soft::inline SOFT_ISA {

Choice choose_plain(const ptx::Instruction &);
Choice choose_conversion(const ptx::Instruction &);
/// add, sub, mul, fma, div rounded towards zero, down or up.
Choice directed_choice(const ptx::Instruction &);
Handler choose_load(const ptx::Instruction &, ptx::Space, unsigned elements);
Handler choose_store(const ptx::Instruction &, ptx::Space, unsigned elements);
Handler choose_atomic(const ptx::Instruction &, ptx::Space, bool returns);
Handler choose_async_copy(const ptx::Instruction &);
Handler choose_address(ptx::Space, bool to_generic);
Handler choose_exchange(const ptx::Instruction &);
Handler choose_matrix(const ptx::Instruction &);

} // namespace soft::inline SOFT_ISA
