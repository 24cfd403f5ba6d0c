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

// Each throws ptx::Error for an instruction that is not implemented, naming it; none returns null.
Choice choose_plain(const ptx::Instruction &); // one result, values in
Choice choose_bits(const ptx::Instruction &);  // logic, shifts, fields of bits; no handler for another opcode
Choice choose_float(const ptx::Instruction &); // floating-point arithmetic
Choice choose_comparison(const ptx::Instruction &); // setp, set, selp, testp, logic on predicates
Choice choose_conversion(const ptx::Instruction &); // cvt
Choice directed_choice(const ptx::Instruction &);   // arithmetic rounded towards zero, down or up
Choice choose_extended(const ptx::Instruction &);   // add.cc, addc and their like: Op::predicate is the carry
Choice choose_small_float(const ptx::Instruction &); // cvt from and to pairs of 8-bit floats, cvt.pack
Choice choose_video(const ptx::Instruction &);       // vadd4, vabsdiff4 and their like
Choice choose_extreme(const ptx::Instruction &);     // min and max with .NaN and .xorsign.abs
Handler choose_load(const ptx::Instruction &, ptx::Space, unsigned elements);
Handler choose_store(const ptx::Instruction &, ptx::Space, unsigned elements);
/// The same access with addresses in Warp::where and values in Warp::moved; null when there is none.
Handler choose_moved(const ptx::Instruction &, ptx::Space, unsigned elements, bool stores);
Handler choose_atomic(const ptx::Instruction &, ptx::Space); // atom and red
/// Of vectors, each element by itself, and of b128: results, then operands, are in Op::list.
Handler choose_vector_atomic(const ptx::Instruction &);
Handler choose_wide_atomic(const ptx::Instruction &, ptx::Space);
Handler choose_async_copy(const ptx::Instruction &);
/// In Op::predicate of an arrival at a barrier object.
inline constexpr std::uint32_t arrival_drops = 1, arrival_expects = 2, arrival_completes = 4, no_arrival = 8,
                               no_result = 16;
Handler choose_barrier_object(const ptx::Instruction &, ptx::Space); // mbarrier, and copies that tell one
Handler choose_address(ptx::Space, bool to_generic);                 // cvta of shared, local and param
/// Copies in bulk that tell no barrier: a = to, b = from, c = bytes.
Handler choose_bulk_copy(const ptx::Instruction &);
/// Adds up, or otherwise combines, elements in bulk: operands as of a bulk copy.
Handler choose_bulk_reduction(const ptx::Instruction &);
Handler choose_exchange(const ptx::Instruction &); // shfl, vote, match, activemask, redux, elect
Handler choose_cluster(const ptx::Instruction &);  // mapa, getctarank
/// A subnormal half, or each of two, becomes a zero of its sign.
Handler choose_half_flush(bool pair);
Handler choose_matrix(const ptx::Instruction &);   // mma, ldmatrix, stmatrix, movmatrix, wmma
Handler choose_quad_mma(const ptx::Instruction &); // mma.m8n8k4 of f16
Handler choose_wmma(const ptx::Instruction &);
/// mma of 4-bit and single-bit factors, 8-bit floats and f64, and with .satfinite; and what their operations
/// have in Op::immediate.
bool is_rare_mma(const ptx::Instruction &);
Handler choose_rare_mma(const ptx::Instruction &);
std::int64_t rare_mma_form(const ptx::Instruction &);
std::int64_t wmma_form(const ptx::Instruction &);

Handler choose_matrix_load(bool shared, bool transposed);

[[noreturn]] void not_implemented(const ptx::Instruction &instruction, const std::string &why = "");

} // namespace soft
