// A kernel made ready to run: straight arrays of operations over a register file of warp-wide slots.
#pragma once

#include "../ptx/ast.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace soft {

inline constexpr unsigned lanes = 32;

struct Warp;
struct Op;
using Handler = void (*)(Warp &, const Op &);

/// One operation on all lanes of a warp. `dst`, `a`, `b`, `c` are byte offsets into the warp's register
/// file for values (a slot of 32 lanes of 4 or 8 bytes), or indexes of predicates.
struct Op {
    Handler run = nullptr;
    std::uint32_t dst = 0, a = 0, b = 0, c = 0;
    std::int64_t immediate = 0; // address offset, branch target, barrier number ...
    std::uint32_t list = 0;     // first of its further operands in Program::lists
    std::uint16_t count = 0;    // how many those are
    std::uint16_t flags = 0;
    std::uint32_t predicate = 0; // a second result, or a predicate operand
    std::uint32_t join = 0;      // of a branch: where its two ways meet again
    Handler guarded = nullptr;   // what run_guarded runs under the guard
    Handler moved = nullptr;     // of a load or store: the same by WarpCore's `where` and `moved`, or null
    std::uint32_t guard = 0;     // predicate index
    std::int32_t line = 0;       // in the module's text
};
static_assert(sizeof(Op) == 72 || sizeof(Op) == 64, "an operation stays near one cache line");

enum OpFlag : std::uint16_t {
    guard_negated = 1,
    predicate_negated = 2,
    wide_address = 4, // the address is a 64-bit register
    a_negated = 8,    // predicate operands of logic on predicates
    b_negated = 16,
    has_predicate = 32,
};

/// A value that the start of a warp fills in: a special register.
// clang-format off
enum class Special : std::uint8_t {
    tid_x, tid_y, tid_z, ntid_x, ntid_y, ntid_z, ctaid_x, ctaid_y, ctaid_z, nctaid_x, nctaid_y, nctaid_z,
    laneid, warpid, nwarpid, lanemask_eq, lanemask_le, lanemask_lt, lanemask_ge, lanemask_gt,
    smid, nsmid, gridid, dynamic_smem_size, total_smem_size, zero, envreg1, envreg2,
};
// clang-format on

struct Constant {
    std::uint32_t offset; // of its slot
    bool wide;            // 64-bit lanes
    std::uint64_t bits;
};
struct SpecialSlot {
    std::uint32_t offset;
    Special which;
};

/// A scalar parameter that is read into a register: filled in once a launch.
struct ParameterSlot {
    std::uint32_t offset; // of its slot
    std::uint32_t from;   // offset in the parameters
    std::uint32_t size;   // bytes
    bool is_signed, wide;
};

struct Parameter {
    std::string name;
    std::uint32_t offset, size, align;
};

struct Source; // what its operations were made from: see lower.hpp

/// A lowered kernel. Immutable once built, shared by all threads that run it.
struct Program {
    std::string name;
    std::vector<Op> ops;
    std::vector<std::uint32_t> lists;
    std::vector<Constant> constants;
    std::vector<SpecialSlot> specials;
    std::vector<ParameterSlot> parameter_slots;
    std::vector<Parameter> parameters;
    std::uint32_t parameter_bytes = 0;
    std::uint32_t fixed_bytes = 0;    // of constants, special registers and parameters, the first slots
    std::uint32_t register_bytes = 0; // of one warp
    std::uint32_t predicates = 0;
    std::uint32_t static_shared = 0;  // bytes
    std::uint32_t local_bytes = 0;    // of one thread
    std::uint32_t max_threads = 1024; // of a block
    std::uint32_t virtual_registers = 0;
    bool takes_turns = false; // its warps wait for one another elsewhere than at barriers
    int line = 0;
    std::shared_ptr<const Source> source;
};

} // namespace soft
