// A small language of which random kernels are made. Each of its instructions is one line of PTX, and says in
// plain C what it computes for one thread: nothing in this folder uses the software GPU's code.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace random_program {

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

/// Registers of a thread, by class: r and d of 32 and 64 bits, h of 16, p predicates. The first `free` of a
/// class are variables of the program, written again and again; behind those lies what the generator keeps
/// for itself; from `first_fresh` on each is written in one place only, as compilers write most.
inline constexpr int registers = 160, first_fresh = 48, free_r = 8, free_d = 4, free_h = 4, free_p = 4;
enum Register : int {
    r_counter = 8, // of loops, by depth: three
    r_uniform = 11,
    r_thread = 14, // in the block
    r_lane = 15,
    r_mask = 16, // of lanes that are on this way, by depth: eight
    r_fuel = 24,
    r_temp = 28,
    d_input = 4,
    d_common,
    d_block, // where the block's part of the output begins
    d_bad,   // memory that nobody may touch
    d_temp,
    h_temp = 4,
    p_loop = 4, // by depth: three
    p_temp = 8,
};

struct Operand {
    enum class Kind : std::uint8_t { none, reg, constant, special, mask };
    Kind kind = Kind::none;
    char type = 'r';
    int index = 0; // of a register, a special register or a parameter; outwards from here of a mask
    u64 bits = 0;
};
inline Operand reg(char type, int index) {
    return {Operand::Kind::reg, type, index, 0};
}
inline Operand constant(char type, u64 bits) {
    return {Operand::Kind::constant, type, 0, bits};
}
/// The register that says which lanes are on this way.
inline Operand mask_here() {
    return {Operand::Kind::mask, 'r', 0, 0};
}

enum class Special : int { tid_x, tid_y, tid_z, ntid_x, ntid_y, ntid_z, ctaid_x, ctaid_y, nctaid_x, laneid };
enum class Parameter : int { output, input, common, bad, first, second };

enum class Space : std::uint8_t { global, shared, local };

/// Computes the results of one thread from the values of its sources.
using Evaluate = std::function<void(const u64 *sources, u64 *results)>;
/// What an atomic operation leaves in memory, of what was there and its operands.
using Update = std::function<u64(u64 old, u64 b, u64 c)>;

struct Instruction {
    enum class Kind : std::uint8_t {
        compute,
        special,   // results[0] = the special register of sources[0]
        parameter, // of the kernel, of a function: the same
        address,   // of a variable, in the space it lies in, or generic when `generic`
        load,      // the last operand is the address
        store,     // the first operand is
        atomic,    // address, then operands; a result in front if there is one
        label,
        branch,
        choose, // brx.idx: sources[0] is less than the number of its labels
        call,
        leave, // ret, exit
        trap,
        barrier,
        barrier_reduce,
        shuffle,
        vote,
        match,
        reduce, // redux
    };
    Kind kind = Kind::compute;
    std::string
        text; // $0, $1 ... stand for operands, $L for the label, $G for the guard, $T for the place's number
    std::vector<Operand> operands; // results first
    int results = 1;
    Evaluate evaluate;
    Update update;
    int guard = -1; // predicate
    bool guard_negated = false;
    int label = -1; // of a branch or label
    std::vector<int> labels;
    int function = -1; // that is called
    Space space = Space::global;
    int bytes = 4, offset = 0; // of a memory element; of what is added to the address
    bool sign = false, generic = false;
    std::string mode; // of a shuffle, vote, match, reduction
    int line = 0;     // in the text
};

/// Parts of a program, as they are written, dropped and shortened; flatten() makes instructions of them.
struct Statement {
    enum class Kind : std::uint8_t {
        plain,
        choice, // if, else: two bodies
        loop,
        cases,  // by a number: four bodies
        tangle, // bodies between which lanes jump about
        leave_loop,
        next_turn,
        end, // of the thread
    };
    Kind kind = Kind::plain;
    std::vector<Instruction> code; // of plain; of others what comes before: it makes the condition
    std::vector<std::vector<Statement>> bodies;
    Operand condition; // a predicate; the limit of a loop; the number of cases
    bool negated = false;
    bool uniform = false; // alike for all threads of the block
    bool masked = false;  // lanes are told who goes on with them
    bool tests_last = false;
    bool branches = false; // an end that is jumped around, not guarded
    int step = 1, levels = 1;
    std::vector<int> jumps; // of a tangle: where each body's end may jump to
};

struct Function {
    std::vector<Statement> body;
    std::vector<Instruction> code; // flattened
};

struct Shape {
    u32 grid[3] = {1, 1, 1}, block[3] = {32, 1, 1};
    u32 threads() const { return block[0] * block[1] * block[2]; }
    u32 blocks() const { return grid[0] * grid[1] * grid[2]; }
};

struct Program {
    Shape shape;
    Function kernel;
    std::vector<Function> functions;
    bool shared = false, local = false;
    u32 parameters[2] = {};
    std::string text; // of PTX
};

// Memory: an input that is only read, words that all threads add to, and of each block: a row of bytes and
// elements side by side of each thread, what they hand to one another, and what they end with.
inline constexpr u32 input_bytes = 4096, common_bytes = 256, row_bytes = 64, side_slots = 4,
                     exchange_bytes = 16, last_bytes = 96, local_bytes = 64;
struct Places {
    u32 side, exchange, last, block_bytes; // offsets in a block's part
    explicit Places(u32 threads)
        : side(threads * row_bytes), exchange(side + threads * side_slots * 32 + 128),
          last(exchange + threads * exchange_bytes), block_bytes(last + threads * last_bytes) {}
    /// Where elements of so many bytes lie side by side.
    u32 side_of(u32 bytes, u32 threads) const {
        return side + (threads * side_slots * (bytes - 1) + 15) / 16 * 16 +
               16 * static_cast<u32>(std::countr_zero(bytes));
    }
};

/// A row of computing instructions. Kinds as classes of registers, and: n a constant that is not zero, f and
/// g floats of 32 and 64 bits that are finite, x and y pairs and single ones of 16 bits (made so before); R,
/// D, H registers only, no constants.
struct Operation {
    std::string text;  // with operands as $0 ...
    std::string kinds; // results, then sources
    int results;
    Evaluate evaluate;
};
const std::vector<Operation> &operations();
/// Those of whose results the first is of that class.
const std::vector<const Operation *> &operations_of(char result);

/// A random program, the same for the same seed.
Program generate(u64 seed);
/// Instructions of all statements, and the text.
void flatten(Program &program);

struct BadAccess {
    std::string kind; // "illegal", "misaligned", "trap"
    int line;
    u32 block[3], thread[3];
};
struct Result {
    std::vector<BadAccess> bad; // any of which may be the one that is told of
    bool stuck = false;         // the program is none that may be run
};
/// Runs it thread by thread over memory that holds what lies at `base`: input, common words, blocks.
Result evaluate(const Program &program, std::vector<std::uint8_t> &memory, u64 base, u64 bad);

} // namespace random_program
