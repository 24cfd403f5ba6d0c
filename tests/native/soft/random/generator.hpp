// Makes random programs. Of these each thread touches only what no other does at that time: what they compute
// does not depend on who goes first.
#pragma once

#include "language.hpp"

#include <algorithm>
#include <random>

namespace random_program {

class Generator {
  public:
    explicit Generator(u64 seed) : random_(seed * 0x9e3779b97f4a7c15 + 1) {}

    Program make();

  private:
    /// Where a statement stands.
    struct Place {
        bool uniform = false; // all threads of the block come here
        bool known = false;   // lanes know who else does
        int depth = 0, loops = 0, open_loops = 0, masked_loop = 0;
    };

    using Kind = Instruction::Kind;

    u64 below(u64 n) { return random_() % n; }
    int to(int n) { return static_cast<int>(below(static_cast<u64>(n))); }
    bool one_in(u64 n) { return below(n) == 0; }
    template <class T> T pick(std::initializer_list<T> all) { return *(all.begin() + below(all.size())); }

    void choose_shape();

    u64 edge(char type);

    // Operands

    Operand source(char type);
    static char upper(char type) { return static_cast<char>(type & ~('a' - 'A')); }
    Operand result(char type);
    /// One that no other instruction writes.
    Operand fresh(char type);
    const Operand *last_fresh(char type);
    void let_see(const Operand &written);
    Instruction make_instruction(Kind kind, const std::string &text, std::vector<Operand> operands,
                                 int results);
    Instruction compute(const std::string &text, std::vector<Operand> operands,
                        std::function<u64(const u64 *)> f);
    int temp() { return r_temp + (next_temp_++ % 12); }
    int wide_temp() { return d_temp + (next_temp_++ % 8); }

    // Computation

    /// One of the operations, and what its operands must be made beforehand.
    void computed(std::vector<Instruction> &code, const Operation &operation);
    Operand finite(std::vector<Instruction> &code, char kind);
    void guard(Instruction &in);
    /// Most of what real kernels compute are few of the operations.
    void computed(std::vector<Instruction> &code);
    /// A predicate that is not all too often alike.
    Operand condition(std::vector<Instruction> &code);
    Operand uniform_condition(std::vector<Instruction> &code);

    // Memory

    struct Address {
        Operand at;
        int offset = 0, align = 16;
        Space space = Space::global;
        bool generic = false;
        bool readable_only = false;
    };
    void and_into(std::vector<Instruction> &code, Operand to, Operand from, u64 mask);
    /// base + index * scale + add, in one of the ways in which compilers write it.
    Operand scaled(std::vector<Instruction> &code, Operand base, Operand index, u64 scale, int &offset);
    Operand base_of(std::vector<Instruction> &code, Space space, const char *variable, int offset,
                    bool generic);
    /// Where this thread, and no other, may read and write `bytes`.
    Address own(std::vector<Instruction> &code, int bytes);
    /// Addresses of shared and local memory may be words.
    void shorten(std::vector<Instruction> &code, Address &address);
    /// Where nobody writes now.
    Address common(std::vector<Instruction> &code, int bytes);
    struct Width {
        const char *type;
        char kind;
        int bytes, count;
        bool sign;
    };
    Width width();
    std::string space_name(const Address &address);
    Instruction access(const Address &address, bool loads, const Width &wanted);
    void touches_memory(std::vector<Instruction> &code);

    struct AtomicRow {
        const char *name, *type;
        u64 (*update)(u64 old, u64 b, u64 c);
    };
    static u64 signed_less(u64 a, u64 b) { return static_cast<s32>(a) < static_cast<s32>(b); }
    static constexpr AtomicRow atomic_rows[] = {
        {"add", "u32", [](u64 a, u64 b, u64) { return a + b; }},
        {"add", "u64", [](u64 a, u64 b, u64) { return a + b; }},
        {"min", "s32", [](u64 a, u64 b, u64) { return signed_less(a, b) ? a : b; }},
        {"max", "u32", [](u64 a, u64 b, u64) { return std::max(a, b); }},
        {"and", "b32", [](u64 a, u64 b, u64) { return a & b; }},
        {"or", "b32", [](u64 a, u64 b, u64) { return a | b; }},
        {"xor", "b32", [](u64 a, u64 b, u64) { return a ^ b; }},
        // Those whose order counts, for a thread's own words.
        {"exch", "b32", [](u64, u64 b, u64) { return b; }},
        {"inc", "u32", [](u64 a, u64 b, u64) { return a >= b ? 0 : a + 1; }},
        {"dec", "u32", [](u64 a, u64 b, u64) { return a == 0 || a > b ? b : a - 1; }},
        {"max", "u64", [](u64 a, u64 b, u64) { return std::max(a, b); }},
        {"cas", "b32", [](u64 a, u64 b, u64 c) { return a == b ? c : a; }},
        {"exch", "b64", [](u64, u64 b, u64) { return b; }},
    };
    static constexpr std::size_t order_free = 7;
    void atomic(std::vector<Instruction> &code);

    // What lanes and threads do together

    void collective(std::vector<Instruction> &code);
    /// What comes from a lane that is not here is put away.
    void shuffle(std::vector<Instruction> &code);
    Instruction barrier();
    void reduce_block(std::vector<Instruction> &code);
    /// Everybody puts something there for all.
    void hand_over(std::vector<Instruction> &code);
    void goes_wrong(std::vector<Instruction> &code);
    void call(std::vector<Instruction> &code);

    // Statements

    Statement plain(std::vector<Instruction> code);
    std::vector<Statement> body(const Place &place, u64 count);
    Statement statement(const Place &place);
    void of_kernel(const Place &place, std::vector<Instruction> &code);
    void uniform(std::vector<Instruction> &code);
    Statement leaving(const Place &place);
    Statement ending();
    /// Inside of what not all come to.
    Place inside(const Place &place, Statement &made);
    Statement choice(const Place &place);
    Statement loop(const Place &place);
    Statement cases(const Place &place);
    Statement tangle(const Place &place);

    // Beginning and end

    void make_function();
    Instruction parameter(const std::string &text, Operand to, int which);
    Instruction special(Operand to, Special which);
    void start_others(std::vector<Instruction> &code);

    void begin();
    /// The lanes of this warp: min(32, threads - first of the warp) ones.
    void who_is_there(std::vector<Instruction> &code);
    void fill_shared(std::vector<Instruction> &code);
    void finish();

    std::mt19937_64 random_;
    Program program_;
    bool in_kernel_ = false, uniform_only_ = false;
    bool affine_ = false, collectives_ = false, ends_ = false, calls_ = false, tangles_ = false,
         jumps_ = false, atomics_ = false, bad_ = false;
    u64 guards_ = 1u << 30, left_ = 0;
    int next_temp_ = 0, next_fresh_[2] = {first_fresh, first_fresh};
    std::vector<Operand> fresh_; // that may be read here
};

} // namespace random_program
