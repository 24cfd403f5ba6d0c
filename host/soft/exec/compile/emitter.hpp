// Writes a kernel's operations as LLVM IR: plain arithmetic as vectors of 32 lanes, or as scalars where
// all lanes have the same; everything else as calls of the interpreter's handlers.
//
// Within a segment values are LLVM's; between segments they lie where the interpreter has them.
#pragma once

#include "analysis.hpp"

#include <llvm-c/Core.h>

#include <initializer_list>
#include <map>
#include <set>

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
};

Native native_form(const Source &source, std::uint32_t operation);

/// Whether a load from one address may be made once for all lanes.
bool reads_once(const Source &source, std::uint32_t operation);

/// Whether that form gives one result for all lanes of operands that are alike.
bool scalar_form(const Source &source, std::uint32_t operation);

/// A value of one lane, or of all.
struct Lanes {
    LLVMValueRef value = nullptr;
    bool vector = false;
};

class Emitter {
  public:
    /// `flushes`: the processor flushes subnormal floats. `avx2`: its instructions may be named.
    Emitter(LLVMContextRef context, LLVMModuleRef module, const Program &program, const Analysis &analysis,
            bool flushes, bool avx2);
    ~Emitter();
    Emitter(const Emitter &) = delete;
    /// Writes `void run(Warp *, const Op *)`.
    void write();
    std::uint32_t scalar_bytes() const { return scalar_bytes_; }
    std::uint32_t native() const { return native_; }

  private:
    using Ref = LLVMValueRef;
    using TypeRef = LLVMTypeRef;

    // the kernel's frame: emitter.cpp
    void segment(std::uint32_t number);
    void operation(std::uint32_t i);
    void leave(std::uint32_t i, std::uint32_t number);
    void go_to(std::uint32_t i, std::uint32_t target);
    void perform(std::uint32_t i);
    void call_handler(std::uint32_t i);
    void write_back(const std::vector<std::uint32_t> &values);
    void write_one(std::uint32_t value, const Lanes &lanes, bool full);
    LLVMBasicBlockRef new_block(const char *name);
    void enter(LLVMBasicBlockRef block) { LLVMPositionBuilderAtEnd(builder_, block); }
    Ref field(std::size_t offset, TypeRef type);
    void set_field(std::size_t offset, Ref value);
    Ref at(Ref base, std::uint64_t offset, TypeRef type);
    Ref load_at(Ref base, std::uint64_t offset, TypeRef type, unsigned alignment);
    void store_at(Ref base, std::uint64_t offset, Ref value, unsigned alignment);
    std::uint32_t cell(std::uint32_t value);
    bool is_predicate(std::uint32_t value) const { return values_[value].kind == Value::Kind::predicate; }

    // values
    Lanes get(std::uint32_t value);
    void define(std::uint32_t i, std::uint32_t value, Lanes lanes);
    Ref whole(Lanes lanes); // as a vector
    Lanes guard(std::uint32_t i);
    Lanes source(std::uint32_t value, ptx::Type type);
    Lanes real_source(std::uint32_t value, ptx::Type type);
    void result(std::uint32_t i, Lanes lanes, bool is_signed = false);
    bool unify(std::initializer_list<Lanes *> lanes);
    TypeRef shaped(TypeRef type, bool vector) const { return vector ? LLVMVectorType(type, 32) : type; }
    TypeRef integer_type(unsigned bits) const { return LLVMIntTypeInContext(context_, bits); }
    Ref number(TypeRef type, std::uint64_t bits);
    Ref real_number(TypeRef type, double value);
    Ref bits_of(Ref value, TypeRef type) { return LLVMBuildBitCast(builder_, value, type, ""); }
    Ref intrinsic(const char *name, std::initializer_list<Ref> arguments, TypeRef overload, TypeRef result);

    // operations: emitter_operations.cpp
    void integer(std::uint32_t i);
    void real(std::uint32_t i);
    void compare(std::uint32_t i);
    void logic(std::uint32_t i);
    void convert(std::uint32_t i);
    void dot4(std::uint32_t i);
    void permute(std::uint32_t i);
    void table(std::uint32_t i);
    void shuffle(std::uint32_t i);
    void pack(std::uint32_t i);
    void unpack(std::uint32_t i);
    void load(std::uint32_t i);
    Lanes address(std::uint32_t i);
    void move(std::uint32_t i, const Lanes &where);
    void load_lanes(std::uint32_t i);
    void store_lanes(std::uint32_t i);
    Lanes flushed(Lanes x, bool wanted);
    Ref half_to_float(Lanes half);
    Ref float_to_half(Lanes x);
    Ref slice(Ref vector, unsigned from, unsigned count);
    Ref join(std::vector<Ref> parts);

    const ptx::Instruction &instruction(std::uint32_t i) const {
        return source_.instructions[static_cast<std::size_t>(source_.drafts[i].instruction)];
    }

    LLVMContextRef context_;
    LLVMModuleRef module_;
    LLVMBuilderRef builder_;
    const Program &program_;
    const Source &source_;
    const std::vector<Value> &values_;
    const Analysis &analysis_;
    const bool flushes_, avx2_;
    TypeRef i1_, i8_, i16_, i32_, i64_, f32_, f64_, void_, pointer_;

    Ref function_ = nullptr, warp_ = nullptr, operations_ = nullptr;
    Ref registers_ = nullptr, scalars_ = nullptr, predicates_ = nullptr;
    std::vector<LLVMBasicBlockRef> blocks_; // by segment
    std::map<std::uint32_t, std::uint32_t> cells_;
    std::uint32_t scalar_bytes_ = 0, native_ = 0;

    // of the segment being written
    Ref active_ = nullptr, full_ = nullptr;
    std::map<std::uint32_t, Lanes> known_;
    std::set<std::uint32_t> dirty_;   // newer than what lies between segments
    std::set<std::uint32_t> in_slot_; // its slot holds it
};

} // namespace soft
