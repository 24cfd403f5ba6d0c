// From an instruction to the handler that performs it.
#pragma once

#include "program.hpp"

namespace soft {

/// What an instruction of the plain form (one result, up to three values in) becomes. The types say
/// how its operands are to be read; Type::pred for predicates, Type::none for those not there.
struct Choice {
    Handler run = nullptr;
    ptx::Type dst = ptx::Type::none;
    ptx::Type sources[4] = {};
    std::uint16_t flags = 0;
    std::int64_t immediate = 0;
};

/// What a memory access does with one element; `elements` of them make a vector access.
struct Access {
    Handler run = nullptr;
    ptx::Type type = ptx::Type::none;
};

/// The handlers of one instruction set of the host's processor. Throws ptx::Error for an instruction
/// that is not implemented, naming it; a null handler never leaves here.
struct HandlerSet {
    Choice (*plain)(const ptx::Instruction &);
    Handler (*load)(const ptx::Instruction &, ptx::Space, unsigned elements);
    Handler (*store)(const ptx::Instruction &, ptx::Space, unsigned elements);
    Handler (*atomic)(const ptx::Instruction &, ptx::Space, bool returns);
    Handler (*async_copy)(const ptx::Instruction &);
    Handler (*address)(ptx::Space, bool to_generic);
    Handler (*exchange)(const ptx::Instruction &); // shfl, vote, match, activemask, redux
    Handler (*matrix)(const ptx::Instruction &);   // mma, ldmatrix, stmatrix, movmatrix, wmma
    Handler copy32, copy64;
};

/// The best set for this processor, chosen once.
const HandlerSet &handlers();

[[noreturn]] void not_implemented(const ptx::Instruction &instruction, const std::string &why = "");

} // namespace soft
