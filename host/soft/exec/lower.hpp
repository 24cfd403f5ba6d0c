// From a kernel's PTX to a Program: values, control flow, register slots.
#pragma once

#include "program.hpp"

#include "../ptx/parser.hpp"

#include <functional>
#include <unordered_map>

namespace soft {

/// Where a module's global and constant variables lie in this process; throws ptx::Error for unknown ones.
using SymbolAddress = std::function<std::uint64_t(const std::string &)>;

/// Throws ptx::Error, with the line, for what cannot be executed.
std::shared_ptr<const Program> lower(const ptx::Module &module, const std::string &kernel,
                                     const SymbolAddress &address);

/// An operation before its operands have places: dst, a, b, c and the list hold value numbers.
struct Draft {
    Op op;
    std::vector<std::uint32_t> list;
    std::vector<std::uint32_t> defines, uses;  // values with slots only
    int label = -1;                            // set: no operation, but the place of this label
    int target = -1;                           // of a jump or branch: a label
    bool ends = false;                         // nothing falls through it
    bool partial = false;                      // guarded: what it defines keeps its old lanes
    bool raw_c = false, raw_predicate = false; // op.c, op.predicate are no values: left as they are
    int instruction = -1;                      // in Source::instructions; -1 for copies put in between
};

struct Value {
    enum class Kind : std::uint8_t { slot, predicate, constant, special, parameter };
    Kind kind = Kind::slot;
    bool wide = false;      // 64-bit lanes
    std::uint64_t bits = 0; // of a constant; offset of a parameter; Special
    unsigned size = 0;      // of a parameter, bytes
    bool is_signed = false; // of a parameter: sign-extended
    std::uint32_t place = 0;
};

/// What a program's operations were made from, for who makes something else of them: of each operation
/// its draft (Program::ops and `drafts` run in parallel), whose operands are numbers of values.
struct Source {
    std::vector<Draft> drafts;
    std::vector<Value> values;
    std::vector<ptx::Instruction> instructions;
};

/// Finds where divergent lanes meet again, gives values their slots, and writes the operations out.
void place(std::vector<Draft> &drafts, std::vector<Value> &values, int labels, Program &into, Source &source);

} // namespace soft
