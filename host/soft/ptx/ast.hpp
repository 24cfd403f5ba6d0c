// What the PTX front end makes of a module's text: data only.
//
// Source: "Parallel Thread Execution ISA", NVIDIA; the names here are that document's.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ptx {

/// A module's text that cannot be read, or a kernel that cannot be executed; `line` counts from 1 in
/// the text of its module.
struct Error : std::runtime_error {
    Error(int line, const std::string &message) : std::runtime_error(message), line(line) {}
    int line;
};

enum class Space : std::uint8_t { none, reg, param, global, constant, shared, local };

// clang-format off
enum class Type : std::uint8_t {
    none, pred,
    b1, u2, s2, u4, s4,
    b8, u8, s8, e4m3, e5m2,
    b16, u16, s16, f16, bf16, e4m3x2, e5m2x2,
    b32, u32, s32, f32, f16x2, bf16x2, tf32,
    b64, u64, s64, f64,
    b128,
};
// clang-format on

/// Bytes of a value of this type; 0 for a predicate, and for what is below a byte.
unsigned size_of(Type type);
bool is_signed(Type type);
bool is_float(Type type);
/// The type a suffix such as "u32" names; Type::none when it names none.
Type type_named(std::string_view suffix);
/// The space that ".global" and its like name; Space::none for other words.
Space space_named(std::string_view directive);
/// Whether it is .visible, .extern, .weak or .common.
bool is_linkage(std::string_view word);

struct Relocation {
    std::uint64_t offset;
    std::string symbol;
    std::int64_t addend;
    bool generic;   // generic(symbol): the generic address, else that in the symbol's own space
    unsigned bytes; // that are stored of the address
    unsigned shift; // by which it is moved down before, in bits: mask(symbol)
};

/// A variable: .global, .const, .shared, .local or .param.
struct Variable {
    std::string name;
    Space space = Space::none;
    Type type = Type::none;
    std::uint32_t align = 1;
    std::uint64_t size = 0; // bytes; 0 for an extern array without a size
    bool is_extern = false;
    bool is_managed = false;
    std::vector<std::uint8_t> initial; // shorter than size: the rest is zero
    std::vector<Relocation> relocations;
};

struct Operand {
    enum class Kind : std::uint8_t {
        none,      // text = why an instruction's operands cannot be read, offset = the line
        reg,       // index = register; text = part of it, if it is one: "b0", "h1", "b3210"
        immediate, // bits = its value, floats as their bits
        symbol,    // text = variable or function; offset is added
        special,   // text = %tid.x and the like
        label,     // text
        address,   // [base + offset, elements]; base is a register (index >= 0) or a symbol (text)
        vector,    // elements
        pair,      // elements[0] | elements[1]: a value and a predicate
        sink,      // _
    };
    Kind kind = Kind::none;
    bool negated = false;    // !predicate
    bool is_element = false; // a symbol with an index: a[2]
    bool is_float = false;   // an immediate written as a floating-point number of 64 bits
    int index = -1;
    std::uint64_t bits = 0;
    std::int64_t offset = 0;
    std::string text;
    std::vector<Operand> elements;
};

struct Instruction {
    int line = 0;
    int guard = -1; // register of the guarding predicate
    bool guard_negated = false;
    std::string opcode;                 // "setp"
    std::vector<std::string> modifiers; // "lt", "s32"
    std::vector<Operand> operands;
    std::string text() const; // opcode with its modifiers, as written

    bool has(std::string_view modifier) const;
    /// The n-th modifier from the end that names a type; Type::none if there are fewer.
    Type type(unsigned from_end = 0) const;
};

struct Register {
    std::string name;
    Type type;
};

struct Function {
    std::string name;
    bool is_entry = false;
    int line = 0;
    std::vector<Variable> parameters;
    std::vector<Variable> results;
    std::vector<Register> registers;
    std::vector<Variable> variables; // .shared, .local and .param of the body
    std::vector<Instruction> body;
    std::unordered_map<std::string, std::size_t> labels;                      // -> index into body
    std::unordered_map<std::string, std::vector<std::string>> branch_targets; // .branchtargets of brx.idx
    std::uint32_t max_threads = 0; // .maxntid product; 0 when not given
    std::uint32_t required_threads = 0;
    std::uint32_t cluster_blocks = 1; // .reqnctapercluster product
};

/// Where a function's text lies in its module.
struct FunctionText {
    std::string_view text; // from .entry or .func to its closing brace
    int line;              // of its first character
    bool is_entry;
    unsigned part;   // of several texts that are linked
    bool is_private; // nothing but its own text knows its name
};

} // namespace ptx
