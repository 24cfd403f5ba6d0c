// What turns a kernel's instructions into drafts: one pass, called functions put in place of their calls.
#pragma once

#include "control.hpp"
#include "lower.hpp"
#include "select.hpp"

#include <map>
#include <optional>
#include <set>
#include <utility>

namespace soft {

/// Value names of special registers.
const std::map<std::string_view, Special> &special_names();

inline bool is_wide(ptx::Type type) {
    return ptx::size_of(type) == 8;
}

/// Whether an instruction on 16-bit floats has .ftz.
bool flushes_halves(const ptx::Instruction &in);
/// Special registers that are the same for all: of clusters of one block, of counters that are not there.
std::optional<std::uint64_t> fixed_special(std::string_view name);

/// What stands around the name in a call; null for a list that is not there.
struct CallLists {
    const ptx::Operand *results = nullptr, *arguments = nullptr;
};

/// A function of the module, and where what it declares for itself lies in shared and in local memory.
struct Placed {
    ptx::Function function;
    std::map<std::string, std::uint32_t> variables;
};

/// A function being read in: the kernel, or one called from it and put in its place.
struct Frame {
    const Placed *placed = nullptr;
    std::uint32_t first_value = 0; // value of its register 0
    std::map<std::string, int> labels;
    std::map<std::string, std::vector<std::uint32_t>> parameter_values; // of .param variables: one value
    std::map<std::string, std::uint32_t> parameter_places; // of those that are no scalars: in local memory
    int return_label = -1;                                 // -1: the kernel itself
    std::vector<std::uint32_t> alias;
    std::vector<int> definitions;

    const ptx::Function &function() const { return placed->function; }
    bool is_kernel() const { return return_label < 0; }
};

class Lowerer {
  public:
    Lowerer(const ptx::Module &module, const SymbolAddress &address) : module_(module), address_(address) {}
    std::shared_ptr<const Program> run(const std::string &kernel);

  private:
    void lay_out(const ptx::Function &kernel);
    std::vector<const Placed *> reachable(const Placed &kernel);
    void body(Frame &frame, int depth);
    void instruction(Frame &frame, const ptx::Instruction &in, int depth);
    bool try_alias(Frame &frame, const ptx::Instruction &in);

    void plain(Frame &frame, const ptx::Instruction &in);
    void move(Frame &frame, const ptx::Instruction &in);
    void load(Frame &frame, const ptx::Instruction &in);
    void store(Frame &frame, const ptx::Instruction &in);
    void atomic(Frame &frame, const ptx::Instruction &in);
    void async_copy(Frame &frame, const ptx::Instruction &in);
    void change_space(Frame &frame, const ptx::Instruction &in);
    void vector_atomic(Frame &frame, const ptx::Instruction &in);
    void bulk_copy(Frame &frame, const ptx::Instruction &in);
    void cluster_or_policy(Frame &frame, const ptx::Instruction &in);
    void table_and_predicate(Frame &frame, const ptx::Instruction &in);
    void without_policy(Frame &frame, const ptx::Instruction &in, int depth);
    void exchange(Frame &frame, const ptx::Instruction &in);
    void matrix(Frame &frame, const ptx::Instruction &in);
    void extended(Frame &frame, const ptx::Instruction &in);
    void barrier_object(Frame &frame, const ptx::Instruction &in);
    void branch(Frame &frame, const ptx::Instruction &in);
    void branch_indexed(Frame &frame, const ptx::Instruction &in);
    void barrier(Frame &frame, const ptx::Instruction &in);
    void gather_before_stores();
    void call(Frame &frame, const ptx::Instruction &in, int depth);
    void call_indirect(Frame &frame, const ptx::Instruction &in, const CallLists &lists, int depth);
    void enter(Frame &frame, const ptx::Instruction &in, const std::string &name, const CallLists &lists,
               int depth);
    bool call_built_in(Frame &frame, const ptx::Instruction &in, const std::string &name,
                       const CallLists &lists);
    std::uint32_t scalar_of(const Frame &frame, const ptx::Instruction &in, const ptx::Operand &operand,
                            bool wide);
    std::uint32_t held_value(const Frame &frame, const ptx::Instruction &in, const ptx::Operand &operand);
    const Placed &placed(const std::string &name);
    void place_shared(const ptx::Variable &variable, std::map<std::string, std::uint32_t> &places);
    std::uint32_t local_room(std::uint64_t bytes, std::uint32_t alignment);

    std::uint32_t new_value(bool wide, Value::Kind kind = Value::Kind::slot);
    std::uint32_t constant(std::uint64_t bits, bool wide);
    std::uint32_t special(Special which);
    std::uint32_t parameter(const ptx::Instruction &in, const ptx::Operand &operand);
    std::uint32_t register_value(const Frame &frame, int index) const;
    /// A value that holds the operand as `type`, with lanes as wide as that type's.
    std::uint32_t source(Frame &frame, const ptx::Instruction &in, const ptx::Operand &operand,
                         ptx::Type type);
    /// A value with the one number where a predicate holds, and the other elsewhere.
    std::uint32_t chosen(Frame &frame, const ptx::Instruction &in, const ptx::Operand &condition,
                         std::uint64_t yes, std::uint64_t no);
    /// A half, or two, with a zero of its sign for what is subnormal.
    std::uint32_t flushed(const ptx::Instruction &in, std::uint32_t value);
    Draft flush_of(const ptx::Instruction &in, std::uint32_t from, std::uint32_t to);
    std::uint32_t predicate(Frame &frame, const ptx::Instruction &in, const ptx::Operand &operand,
                            bool &negated);
    std::uint32_t with_width(std::uint32_t value, bool wide, int line);
    /// A value to write a result of that width into; `emit` copies it on if the register is another width.
    std::uint32_t result(Frame &frame, const ptx::Instruction &in, const ptx::Operand &operand, bool wide);
    std::uint64_t symbol_bits(const Frame &frame, const ptx::Instruction &in, const ptx::Operand &operand);
    ptx::Space space_of(const ptx::Instruction &in) const;
    void set_address(Frame &frame, const ptx::Instruction &in, const ptx::Operand &operand, ptx::Space space,
                     Draft &draft);

    Draft begin(const ptx::Instruction &in, Handler run);
    void use(Draft &draft, std::uint32_t value);
    void define(Draft &draft, std::uint32_t value);
    void emit(Frame &frame, const ptx::Instruction &in, Draft draft);
    void jump_to(const ptx::Instruction &in, int label);
    void branch_where(const ptx::Instruction &in, std::uint32_t predicate, bool negated, int label);
    void set_label(int label);
    std::uint32_t is_equal(Frame &frame, const ptx::Instruction &in, const ptx::Operand &operand,
                           std::uint64_t bits, ptx::Type type);

    const ptx::Module &module_;
    const SymbolAddress &address_;
    std::shared_ptr<Program> program_ = std::make_shared<Program>();
    std::shared_ptr<Source> source_ = std::make_shared<Source>();
    const ptx::Instruction *last_instruction_ = nullptr;
    std::vector<Value> values_;
    std::vector<Draft> drafts_;
    std::map<std::pair<std::uint64_t, bool>, std::uint32_t> constants_;
    std::map<Special, std::uint32_t> specials_;
    std::map<std::string, std::uint32_t> shared_;     // of the module
    std::map<std::string, std::uint32_t> parameters_; // of the kernel
    std::map<std::string, Placed> functions_;
    std::vector<std::string> entered_; // functions that are being put in place of their calls
    std::vector<std::pair<std::uint32_t, std::uint32_t>> copies_; // narrow or widen first -> second
    int labels_ = 0;
    std::uint32_t carry_ = 0; // the value that add.cc and its like leave for addc; 0: none yet
    std::uint64_t shared_bytes_ = 0, local_bytes_ = 0;
};

} // namespace soft
