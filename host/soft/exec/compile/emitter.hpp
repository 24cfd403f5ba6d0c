// Writes a kernel's operations as LLVM IR: plain arithmetic as vectors of 32 lanes, or as scalars where
// all lanes have the same; everything else as calls of the interpreter's handlers.
//
// Values are LLVM's for as long as a warp stays in the code: each has a variable, which LLVM turns into
// registers. Where warps come in or leave, values lie where the interpreter has them, but for those that
// all lanes have alike (forms.hpp), whose bases lie in cells of their own.
#pragma once

#include "../warp.hpp"
#include "analysis.hpp"
#include "compile.hpp"

#include <llvm-c/Core.h>

#include <array>
#include <cstddef>
#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <span>

namespace soft {

/// What an operation is written as; `call` has its handler perform it.
enum class Native : std::uint8_t {
    call,
    copy,
    narrow,
    widen,
    widen_signed,
    integer,
    real,
    directed,
    compare,
    select,
    logic,
    convert,
    dot4,
    permute,
    table,
    shuffle,
    pack,
    unpack,
    load,
    store,
    window,
    divide,
    halves,
    approximation,
    round_whole,
    multiply,
    matrices,
    transpose,
};

Native native_form(const Source &source, std::uint32_t operation);

/// Whether that form gives one result for all lanes of operands that are alike.
bool scalar_form(const Source &source, std::uint32_t operation);

/// Whether an access that is not left to its handler is to shared memory, or to local; by its words.
bool in_shared(const ptx::Instruction &in);
bool in_local(const ptx::Instruction &in);

/// A value of one lane, or of all.
struct Lanes {
    LLVMValueRef value = nullptr;
    bool vector = false;
};

/// What code may count on of the processor it is for.
struct Features {
    bool avx2 = false;   // and F16C
    bool avx512 = false; // F, BW, DQ and VL
    bool vnni = false;   // of AVX-512
};

class Emitter {
  public:
    /// `flushes`: the processor flushes subnormal floats.
    Emitter(LLVMContextRef context, LLVMModuleRef module, const Program &program, const Analysis &analysis,
            bool flushes, Features features);
    ~Emitter();
    Emitter(const Emitter &) = delete;
    /// Writes `void run(Warp *, const Op *)`.
    void write();
    std::uint32_t scalar_bytes() const { return scalar_bytes_; }
    std::uint32_t native() const { return native_; }
    /// Where values that all lanes have alike lie, for those who go on without the code.
    std::map<std::uint32_t, std::vector<AlikeValue>> take_alike() { return std::move(alike_); }
    std::map<std::uint32_t, std::optional<Offsets>> take_touched() { return std::move(touched_); }

  private:
    using Ref = LLVMValueRef;
    using TypeRef = LLVMTypeRef;
    using Block = LLVMBasicBlockRef;

    // the kernel's frame: emitter.cpp
    void segment(std::uint32_t number);
    void enter_from_outside(std::uint32_t number);
    void operation(std::uint32_t i);
    void perform(std::uint32_t i);
    void call(std::size_t member, std::uint32_t i);
    void count(std::uint64_t operations);
    void call_handler(std::uint32_t i) { call(offsetof(WarpCore, perform), i); }
    void write_back(const ValueSet &wanted, bool at_end);
    void write_home(std::uint32_t value);
    void write_slot(std::uint32_t value);
    void give_up(std::uint32_t i, Ref when);
    void note_alike(std::uint32_t i, const ValueSet &live);
    Block new_block(const char *name);
    void enter(Block block) { LLVMPositionBuilderAtEnd(builder_, block); }
    /// Goes on in a new block unless `when`, which is not expected; the builder is then in the block for it.
    Block unlikely(Ref when);
    Ref field(std::size_t offset, TypeRef type);
    void set_field(std::size_t offset, Ref value);
    Ref at(Ref base, std::uint64_t offset, TypeRef type);
    Ref load_at(Ref base, std::uint64_t offset, TypeRef type, unsigned alignment);
    void store_at(Ref base, std::uint64_t offset, Ref value, unsigned alignment);
    void store_active(Ref base, std::uint64_t offset, Ref value);
    std::uint32_t cell(std::uint32_t value);
    /// Whether it is kept once for all lanes when the warp is elsewhere.
    bool in_cell(std::uint32_t value) const { return form(value).alike() && !analysis_.assumed[value]; }
    Ref met(std::uint32_t value, Ref &differs);
    void fail_assumption();
    bool is_predicate(std::uint32_t value) const { return values_[value].kind == Value::Kind::predicate; }

    // how pieces of code end: emitter_branches.cpp
    void leave(std::uint32_t i, std::uint32_t number);
    bool wait_or_end(std::uint32_t i);
    void take_short_ways(Ref chosen);
    void take_way(std::uint32_t way, Ref lanes_of_it);
    void end_way(std::uint32_t way);
    Block way_to(std::uint32_t from, std::uint32_t to);
    void go_to(std::uint32_t i, std::uint32_t target);

    // values
    const Form &form(std::uint32_t value) const { return analysis_.forms[value]; }
    TypeRef type_of(std::uint32_t value) const;
    Ref variable(std::uint32_t value);
    Lanes base(std::uint32_t value); // of one that all lanes have alike; else the value
    Lanes get(std::uint32_t value);  // as operations want it: what has offsets, as a vector
    void define(std::uint32_t i, std::uint32_t value, Lanes lanes);
    Ref whole(Lanes lanes); // as a vector
    Ref with_offsets(Ref base, const Offsets &offsets);
    Lanes guard(std::uint32_t i);
    Ref mask(std::uint32_t i); // lanes that take part in an access
    Lanes source(std::uint32_t value, ptx::Type type);
    void result(std::uint32_t i, Lanes lanes, bool is_signed = false);
    bool unify(std::initializer_list<Lanes *> lanes);
    TypeRef shaped(TypeRef type, bool vector) const { return vector ? LLVMVectorType(type, 32) : type; }
    TypeRef integer_type(unsigned bits) const { return LLVMIntTypeInContext(context_, bits); }
    Ref number(TypeRef type, std::uint64_t bits);
    Ref real_number(TypeRef type, double value);
    Ref offsets_of(const Offsets &offsets, TypeRef element);
    Ref bits_of(Ref value, TypeRef type) { return LLVMBuildBitCast(builder_, value, type, ""); }
    Ref intrinsic(const char *name, std::initializer_list<Ref> arguments,
                  std::initializer_list<TypeRef> overloads, TypeRef result);

    // operations: emitter_operations.cpp
    void integer(std::uint32_t i);
    void divide(std::uint32_t i);
    void compare(std::uint32_t i);
    void logic(std::uint32_t i);
    void convert(std::uint32_t i);
    void extend(std::uint32_t i, bool is_signed);
    Lanes extended(std::uint32_t i, std::uint32_t value, bool is_signed);
    void dot4(std::uint32_t i);
    void permute(std::uint32_t i);
    void table(std::uint32_t i);
    void shuffle(std::uint32_t i);
    void pack(std::uint32_t i);
    void unpack(std::uint32_t i);
    Ref slice(Ref vector, unsigned from, unsigned count);
    Ref join(std::vector<Ref> parts);
    Ref picked(Ref vector, const std::array<unsigned, lanes> &order);

    // floats: emitter_reals.cpp
    void real(std::uint32_t i);
    void directed(std::uint32_t i);
    Lanes saturated(Lanes x);
    void half_arithmetic(std::uint32_t i);
    void approximation(std::uint32_t i);
    void round_whole(std::uint32_t i);
    Ref power_of_two(Ref x);
    Lanes real_source(std::uint32_t value, ptx::Type type);
    Lanes flushed(Lanes x, bool wanted);
    unsigned reals_at_once() const { return features_.avx512 ? 16 : 8; }
    Ref floats_of(Ref halves);
    Ref half_to_float(Lanes half);
    Ref float_to_half(Lanes x);

    // memory: emitter_memory.cpp
    void load(std::uint32_t i);
    void load_once(std::uint32_t i);
    void store(std::uint32_t i);
    void window(std::uint32_t i);
    struct Access {
        bool guarded = false; // some active lanes may not take part
        bool maybe_none = false;
        Ref window = nullptr; // of shared or local memory: its beginning, an address of this process
        Offsets offsets{};    // in local memory, of lanes' own parts of it as well
        Ref base = nullptr;   // fixed offsets: what they are added to, an address of this process; else null
        Ref words = nullptr;  // in a window: offsets from its beginning, 32 bits wide
        Ref where = nullptr;  // elsewhere: addresses
        Ref lanes = nullptr;  // that take part
    };
    Access access(std::uint32_t i);
    void ask_ahead(std::uint32_t i, Ref base);
    bool too_far(std::uint32_t i) const;
    Offsets parts_of_local() const;
    Ref places(const Access &access);
    Ref takes_all(const Access &access);
    struct Reach;
    Reach reach(const Access &access, std::uint64_t more, unsigned size);
    Ref gathered(const Access &access, std::uint64_t more, unsigned size);
    Ref gathered_words(const Access &access, std::uint64_t more, unsigned size);
    void store_once(const Access &access, unsigned size, const std::vector<Lanes> &values);
    void scattered(const Access &access, std::uint64_t more, unsigned size, Ref value);
    void move_by_handler(std::uint32_t i, const Access &access);
    void store_by_handler(std::uint32_t i, const Access &to, unsigned size, const std::vector<Ref> &values);

    // loads at known distances: emitter_windows.cpp
    struct Windows;
    std::optional<Windows> windows(const Access &access, unsigned size, std::size_t count);
    Ref window_at(const Access &access, Windows &windows, std::int64_t begin);
    Ref sorted_out(const Access &access, Windows &windows, std::int64_t more);
    std::uint32_t upper_half_of(std::uint32_t i) const;
    void load_both_halves(std::uint32_t i, std::uint32_t other);
    void load_half(std::uint32_t i, Ref word, unsigned half);
    std::vector<Ref> all_gathered(const Access &access, unsigned size, std::size_t count, std::uint32_t i);
    std::vector<Ref> either(Ref all_lanes, const std::function<std::vector<Ref>()> &all,
                            const std::function<std::vector<Ref>()> &some);
    std::vector<Ref> loaded_by_handler(std::uint32_t i, const Access &access, unsigned size,
                                       std::size_t count);
    Ref joined_elements(const std::vector<Ref> &values, unsigned size, unsigned bytes);
    std::vector<Ref> split_elements(Ref joined, unsigned size, std::size_t count);

    // four words of each lane at once: emitter_rows.cpp
    bool in_rows(const Access &access, unsigned size, std::size_t count) const;
    Ref row_at(const Access &access, Ref where, unsigned lane);
    std::vector<Ref> rows_loaded(const Access &access);
    void rows_stored(const Access &access, const std::vector<Ref> &values);
    std::vector<Ref> turned(const std::vector<Ref> &rows);

    // matrices: emitter_matrix.cpp
    void multiply(std::uint32_t i);
    Ref dot_products(Ref x, bool sign_x, Ref y, bool sign_y, Ref sum);
    std::vector<Ref> floats_in_order(Ref words);
    void multiply_halves(std::span<const Ref> rows, Ref columns, std::vector<Ref> &sums);
    void matrices(std::uint32_t i);
    void transpose(std::uint32_t i);
    Ref transposed(Ref matrix);

    const ptx::Instruction &instruction(std::uint32_t i) const {
        return source_.instructions[static_cast<std::size_t>(source_.drafts[i].instruction)];
    }

    LLVMContextRef context_;
    LLVMModuleRef module_;
    LLVMBuilderRef builder_, entry_builder_;
    const Program &program_;
    const Source &source_;
    const std::vector<Value> &values_;
    const Analysis &analysis_;
    const bool flushes_;
    const Features features_;
    TypeRef i1_, i8_, i16_, i32_, i64_, f32_, f64_, void_, pointer_;

    Ref function_ = nullptr, warp_ = nullptr, operations_ = nullptr;
    Ref registers_ = nullptr, scalars_ = nullptr, predicates_ = nullptr;
    Ref active_ = nullptr, active_lanes_ = nullptr, join_ = nullptr; // do not change while a warp stays
    std::vector<Block> blocks_;                                      // by segment
    std::vector<Block> ends_;                                        // by short way
    std::vector<Ref> ways_lanes_;                                    // by short way: their variables
    Block next_warp_ = nullptr;                                      // for those that wait or are done
    std::map<std::uint32_t, Ref> variables_;
    std::map<std::uint32_t, std::uint32_t> cells_;
    std::uint32_t scalar_bytes_ = 0, native_ = 0;
    std::map<std::uint32_t, std::vector<AlikeValue>> alike_;
    std::map<std::uint32_t, std::optional<Offsets>> touched_;

    // of the segment being written
    const Segment *segment_ = nullptr;
    Ref here_ = nullptr, here_lanes_ = nullptr; // the lanes it is for: all active ones, or a short way's
    bool bases_ = false;                        // the operation works on bases
    std::set<std::pair<std::uint32_t, std::int64_t>> asked_; // of which addresses, and where about
    std::set<std::uint32_t> in_slot_;                        // its slot holds it, for the active lanes
    std::map<std::uint32_t, Ref> upper_halves_; // by operation, a load: what was loaded with the lower half
    struct Half {
        Ref word;
        unsigned which;
    };
    std::map<std::uint32_t, Half> halves_; // by value: of which word it is a half
};

} // namespace soft
