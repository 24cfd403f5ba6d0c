#include "lowerer.hpp"
#include "modifiers.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace soft {

using ptx::Error;
using ptx::Function;
using ptx::Instruction;
using ptx::Operand;
using ptx::Space;
using ptx::Type;
using Kind = ptx::Operand::Kind;

void not_implemented(const Instruction &instruction, const std::string &why) {
    throw Error(instruction.line, "PTX instruction " + instruction.text() + " is not implemented" +
                                      (why.empty() ? "" : ": " + why));
}

namespace {

std::uint32_t aligned(std::uint64_t at, std::uint32_t alignment) {
    return static_cast<std::uint32_t>((at + alignment - 1) / alignment * alignment);
}

/// Instructions that say nothing to one who performs everything at once and in order.
bool is_hint(const Instruction &in) {
    const std::string &op = in.opcode;
    if (op == "cp")
        return in.has("commit_group") || in.has("wait_group") || in.has("wait_all");
    if (op == "bar" && in.has("warp"))
        return true;
    return op == "membar" || op == "fence" || op == "nanosleep" || op == "prefetch" || op == "prefetchu" ||
           op == "griddepcontrol";
}

} // namespace

const std::map<std::string_view, Special> &special_names() {
    static const std::map<std::string_view, Special> names = {
        {"%tid.x", Special::tid_x},
        {"%tid.y", Special::tid_y},
        {"%tid.z", Special::tid_z},
        {"%ntid.x", Special::ntid_x},
        {"%ntid.y", Special::ntid_y},
        {"%ntid.z", Special::ntid_z},
        {"%ctaid.x", Special::ctaid_x},
        {"%ctaid.y", Special::ctaid_y},
        {"%ctaid.z", Special::ctaid_z},
        {"%nctaid.x", Special::nctaid_x},
        {"%nctaid.y", Special::nctaid_y},
        {"%nctaid.z", Special::nctaid_z},
        {"%laneid", Special::laneid},
        {"%warpid", Special::warpid},
        {"%nwarpid", Special::nwarpid},
        {"%lanemask_eq", Special::lanemask_eq},
        {"%lanemask_le", Special::lanemask_le},
        {"%lanemask_lt", Special::lanemask_lt},
        {"%lanemask_ge", Special::lanemask_ge},
        {"%lanemask_gt", Special::lanemask_gt},
        {"%smid", Special::smid},
        {"%nsmid", Special::nsmid},
        {"%gridid", Special::gridid},
        {"%dynamic_smem_size", Special::dynamic_smem_size},
        {"%total_smem_size", Special::total_smem_size},
        {"%envreg0", Special::zero},
        {"%envreg1", Special::envreg1},
        {"%envreg2", Special::envreg2},
        {"%tid.w", Special::zero},
    };
    return names;
}

std::uint32_t Lowerer::new_value(bool wide, Value::Kind kind) {
    values_.push_back({kind, wide, 0, 0, false, 0});
    return static_cast<std::uint32_t>(values_.size() - 1);
}

std::uint32_t Lowerer::constant(std::uint64_t bits, bool wide) {
    if (!wide)
        bits &= 0xffffffff;
    auto [found, added] = constants_.try_emplace({bits, wide}, 0);
    if (added) {
        found->second = new_value(wide, Value::Kind::constant);
        values_.back().bits = bits;
    }
    return found->second;
}

std::uint32_t Lowerer::special(Special which) {
    auto [found, added] = specials_.try_emplace(which, 0);
    if (added) {
        found->second = new_value(false, Value::Kind::special);
        values_.back().bits = static_cast<std::uint64_t>(which);
    }
    return found->second;
}

std::uint32_t Lowerer::parameter(std::uint32_t offset, Type type) {
    for (std::uint32_t i = 0; i < values_.size(); ++i)
        if (const Value &v = values_[i]; v.kind == Value::Kind::parameter && v.bits == offset &&
                                         v.size == ptx::size_of(type) && v.is_signed == ptx::is_signed(type))
            return i;
    std::uint32_t value = new_value(is_wide(type), Value::Kind::parameter);
    values_[value].bits = offset;
    values_[value].size = ptx::size_of(type);
    values_[value].is_signed = ptx::is_signed(type) && !ptx::is_float(type);
    return value;
}

std::uint32_t Lowerer::register_value(const Frame &frame, int index) const {
    std::uint32_t alias = frame.alias[static_cast<std::size_t>(index)];
    return alias != 0 ? alias : frame.first_value + static_cast<std::uint32_t>(index);
}

std::uint64_t Lowerer::symbol_bits(const Instruction &in, const Operand &operand) {
    auto offset = static_cast<std::uint64_t>(operand.offset);
    if (auto found = shared_.find(operand.text); found != shared_.end())
        return found->second + offset;
    if (auto found = local_.find(operand.text); found != local_.end())
        return found->second + offset;
    if (auto found = parameters_.find(operand.text); found != parameters_.end())
        return found->second + offset;
    try {
        return address_(operand.text) + offset;
    } catch (const Error &error) {
        throw Error(in.line, error.what());
    }
}

std::uint32_t Lowerer::with_width(std::uint32_t value, bool wide, int line) {
    if (values_[value].wide == wide)
        return value;
    if (values_[value].kind == Value::Kind::constant)
        return constant(values_[value].bits, wide);
    std::uint32_t converted = new_value(wide);
    Draft draft;
    draft.op.run = wide ? widen : narrow;
    draft.op.line = line;
    draft.op.a = value;
    draft.op.dst = converted;
    use(draft, value);
    define(draft, converted);
    drafts_.push_back(std::move(draft));
    return converted;
}

std::uint32_t Lowerer::source(Frame &frame, const Instruction &in, const Operand &operand, Type type) {
    bool wide = is_wide(type);
    switch (operand.kind) {
    case Kind::reg:
        if (values_[register_value(frame, operand.index)].kind == Value::Kind::predicate)
            not_implemented(in, "a predicate where a value is wanted");
        return with_width(register_value(frame, operand.index), wide, in.line);
    case Kind::immediate: {
        std::uint64_t bits = operand.bits;
        if (operand.is_float && type != Type::f64)
            bits = std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
        if (ptx::size_of(type) == 2)
            bits &= 0xffff;
        return constant(bits, wide);
    }
    case Kind::special:
        if (operand.text == "WARP_SZ")
            return constant(lanes, wide);
        if (auto found = special_names().find(operand.text); found != special_names().end())
            return with_width(special(found->second), wide, in.line);
        throw Error(in.line, "special register " + operand.text + " is not implemented");
    case Kind::symbol:
        if (auto found = frame.parameter_values.find(operand.text); found != frame.parameter_values.end())
            return with_width(found->second.front(), wide, in.line);
        return constant(symbol_bits(in, operand), wide);
    default:
        not_implemented(in, "operand");
    }
}

std::uint32_t Lowerer::predicate(Frame &frame, const Instruction &in, const Operand &operand, bool &negated) {
    negated = operand.negated;
    if (operand.kind == Kind::immediate) { // a constant predicate, as in vote.sync.all.pred p, 1, mask
        negated = operand.bits != 0;
        return 0; // predicate 0 is always false
    }
    if (operand.kind != Kind::reg ||
        values_[register_value(frame, operand.index)].kind != Value::Kind::predicate)
        not_implemented(in, "predicate operand");
    return register_value(frame, operand.index);
}

std::uint32_t Lowerer::result(Frame &frame, const Instruction &in, const Operand &operand, bool wide) {
    if (operand.kind == Kind::sink)
        return new_value(wide);
    if (operand.kind != Kind::reg)
        not_implemented(in, "result operand");
    std::uint32_t value = frame.first_value + static_cast<std::uint32_t>(operand.index);
    if (values_[value].kind == Value::Kind::predicate)
        not_implemented(in, "a predicate where a value is wanted");
    if (values_[value].wide == wide)
        return value;
    std::uint32_t other = new_value(wide);
    copies_.emplace_back(other, value);
    return other;
}

void Lowerer::use(Draft &draft, std::uint32_t value) {
    if (values_[value].kind == Value::Kind::slot)
        draft.uses.push_back(value);
}
void Lowerer::define(Draft &draft, std::uint32_t value) {
    if (values_[value].kind == Value::Kind::slot)
        draft.defines.push_back(value);
}

Draft Lowerer::begin(const Instruction &in, Handler run) {
    Draft draft;
    draft.op.run = run;
    draft.op.line = in.line;
    if (last_instruction_ != &in) {
        last_instruction_ = &in;
        source_->instructions.push_back(in);
    }
    draft.instruction = static_cast<int>(source_->instructions.size()) - 1;
    return draft;
}

void Lowerer::emit(Frame &frame, const Instruction &in, Draft draft) {
    if (in.guard >= 0) {
        draft.op.guarded = draft.op.run;
        draft.op.run = run_guarded;
        draft.op.guard = register_value(frame, in.guard);
        if (in.guard_negated)
            draft.op.flags |= guard_negated;
        draft.partial = true;
    }
    drafts_.push_back(std::move(draft));
    // A result wider or narrower than its register goes on through a copy under the same guard.
    for (auto [from, to] : std::exchange(copies_, {})) {
        Draft copy =
            begin(in, values_[to].wide ? (ptx::is_signed(in.type()) ? widen_signed : widen) : narrow);
        copy.op.a = from;
        copy.op.dst = to;
        use(copy, from);
        define(copy, to);
        emit(frame, in, std::move(copy));
    }
}

Space Lowerer::space_of(const Instruction &in) const {
    for (const std::string &modifier : in.modifiers) {
        if (modifier == "global")
            return Space::global;
        if (modifier == "const")
            return Space::constant;
        if (modifier.starts_with("shared"))
            return Space::shared;
        if (modifier == "local")
            return Space::local;
        if (modifier.starts_with("param"))
            return Space::param;
    }
    return Space::none;
}

void Lowerer::set_address(Frame &frame, const Instruction &in, const Operand &operand, Space space,
                          Draft &draft) {
    if (operand.kind != Kind::address)
        not_implemented(in, "address operand");
    if (operand.index >= 0) {
        std::uint32_t base = register_value(frame, operand.index);
        // Offsets of shared, local and parameter space may stand in 64-bit registers too.
        if (values_[base].kind == Value::Kind::predicate)
            not_implemented(in, "a predicate where an address is wanted");
        draft.op.a = base;
        if (values_[base].wide)
            draft.op.flags |= wide_address;
        else if (space == Space::none || space == Space::global || space == Space::constant)
            draft.op.a = with_width(base, true, in.line), draft.op.flags |= wide_address;
        draft.op.immediate = operand.offset;
    } else {
        std::uint64_t bits =
            operand.text.empty() ? static_cast<std::uint64_t>(operand.offset) : symbol_bits(in, operand);
        bool wide = space == Space::none || space == Space::global || space == Space::constant;
        draft.op.a = constant(bits, wide);
        if (wide)
            draft.op.flags |= wide_address;
    }
    use(draft, draft.op.a);
}

/// A register written once, by an instruction that only names a value which never changes, is that value.
bool Lowerer::try_alias(Frame &frame, const Instruction &in) {
    if (in.guard >= 0 || in.operands.size() != 2 || in.operands[0].kind != Kind::reg)
        return false;
    auto to = static_cast<std::size_t>(in.operands[0].index);
    const Operand &from = in.operands[1];
    bool wide = values_[frame.first_value + to].wide;
    if (frame.definitions[to] != 1 || values_[frame.first_value + to].kind != Value::Kind::slot)
        return false;
    std::uint32_t value = 0;
    if (in.opcode == "ld" && space_of(in) == Space::param && from.kind == Kind::address && from.index < 0 &&
        parameters_.contains(from.text) && !frame.parameter_values.contains(from.text)) {
        if (is_wide(in.type()) != wide || in.type() == Type::b128)
            return false;
        value = parameter(parameters_[from.text] + static_cast<std::uint32_t>(from.offset), in.type());
    } else if (in.opcode == "mov" && in.type() != Type::pred && is_wide(in.type()) == wide) {
        bool fixed = from.kind == Kind::immediate ||
                     (from.kind == Kind::special && special_names().contains(from.text) && !wide) ||
                     (from.kind == Kind::symbol && !frame.parameter_values.contains(from.text));
        if (!fixed)
            return false;
        value = source(frame, in, from, in.type());
    } else if (in.opcode == "cvta" && from.kind == Kind::reg && wide) {
        Space space = space_of(in);
        if (space == Space::shared || space == Space::local)
            return false;
        value = register_value(frame, from.index);
        // An alias must not change under its holder: only of what is written once, before.
        bool once = frame.definitions[static_cast<std::size_t>(from.index)] == 1;
        if (!once || !values_[value].wide || values_[value].kind == Value::Kind::slot)
            return false;
    } else {
        return false;
    }
    frame.alias[to] = value;
    return true;
}

void Lowerer::instruction(Frame &frame, const Instruction &in, int depth) {
    const std::string &op = in.opcode;
    if (in.guard >= 0 && values_[register_value(frame, in.guard)].kind != Value::Kind::predicate)
        throw Error(in.line, "the guard is no predicate");
    check_modifiers(in);
    if (is_hint(in) || try_alias(frame, in))
        return;
    if (op == "mov")
        return move(frame, in);
    if (op == "ld" || op == "ldu")
        return load(frame, in);
    if (op == "st")
        return store(frame, in);
    if (op == "bra")
        return branch(frame, in);
    if (op == "bar" || op == "barrier")
        return barrier(frame, in);
    if (op == "atom" || op == "red")
        return atomic(frame, in);
    if (op == "cp")
        return async_copy(frame, in);
    if (op == "cvta" || op == "isspacep")
        return change_space(frame, in);
    if (op == "shfl" || op == "vote" || op == "activemask" || op == "match" || op == "redux")
        return exchange(frame, in);
    if (op == "mma" || op == "ldmatrix" || op == "stmatrix" || op == "movmatrix" || op == "wmma")
        return matrix(frame, in);
    if (op == "call")
        return call(frame, in, depth);
    if (op == "ret" || op == "exit") {
        if (op == "ret" && frame.return_label >= 0) {
            Draft draft = begin(in, in.guard >= 0 ? branch_if : jump);
            draft.target = frame.return_label;
            draft.ends = in.guard < 0;
            if (in.guard >= 0) {
                draft.op.guard = register_value(frame, in.guard);
                draft.op.flags = in.guard_negated ? guard_negated : 0;
            }
            drafts_.push_back(std::move(draft));
            return;
        }
        Draft draft = begin(in, finish);
        draft.ends = in.guard < 0;
        return emit(frame, in, std::move(draft));
    }
    if (op == "trap" || op == "brkpt") {
        Draft draft = begin(in, soft::trap);
        draft.ends = in.guard < 0;
        return emit(frame, in, std::move(draft));
    }
    plain(frame, in);
}

void Lowerer::body(Frame &frame, int depth) {
    const Function &function = *frame.function;
    frame.first_value = static_cast<std::uint32_t>(values_.size());
    frame.alias.assign(function.registers.size(), 0);
    frame.definitions.assign(function.registers.size(), 0);
    for (const ptx::Register &reg : function.registers)
        new_value(is_wide(reg.type), reg.type == Type::pred ? Value::Kind::predicate : Value::Kind::slot);
    for (const ptx::Variable &variable : function.variables) {
        if (variable.space != Space::param)
            continue;
        frame.parameter_values[variable.name] = {new_value(variable.size == 8)};
    }
    for (const Instruction &in : function.body) {
        // Which operands are written: the first, except for stores and the like, where counting one too
        // many only forgoes an alias.
        auto count = [&](auto &self, const Operand &operand) -> void {
            if (operand.kind == Kind::reg)
                ++frame.definitions[static_cast<std::size_t>(operand.index)];
            for (const Operand &element : operand.elements)
                self(self, element);
        };
        if (!in.operands.empty())
            count(count, in.operands[0]);
    }
    std::multimap<std::size_t, int> at;
    for (const auto &[name, index] : function.labels) {
        frame.labels[name] = labels_;
        at.emplace(index, labels_++);
    }
    for (std::size_t i = 0; i <= function.body.size(); ++i) {
        for (auto [label, end] = at.equal_range(i); label != end; ++label) {
            Draft draft;
            draft.label = label->second;
            drafts_.push_back(std::move(draft));
        }
        if (i == function.body.size())
            break;
        const Instruction &in = function.body[i];
        try {
            instruction(frame, in, depth);
        } catch (const std::out_of_range &) {
            throw Error(in.line, in.text() + " has too few operands");
        }
    }
}

void Lowerer::lay_out(const Function &function) {
    std::uint64_t at = 0;
    for (const ptx::Variable &variable : function.parameters) {
        at = aligned(at, variable.align);
        parameters_[variable.name] = static_cast<std::uint32_t>(at);
        program_->parameters.push_back({variable.name, static_cast<std::uint32_t>(at),
                                        static_cast<std::uint32_t>(variable.size), variable.align});
        at += variable.size;
    }
    program_->parameter_bytes = static_cast<std::uint32_t>(at);
    std::uint64_t shared = 0, local = 0;
    auto place_variable = [&](const ptx::Variable &variable) {
        if (variable.space == Space::shared && !(variable.is_extern && variable.size == 0)) {
            shared = aligned(shared, variable.align);
            shared_[variable.name] = static_cast<std::uint32_t>(shared);
            shared += variable.size;
        } else if (variable.space == Space::local) {
            local = aligned(local, variable.align);
            local_[variable.name] = static_cast<std::uint32_t>(local);
            local += variable.size;
        }
        if (shared > (1u << 20) || local > (1u << 24))
            throw Error(function.line, variable.name + " does not fit");
    };
    for (const ptx::Variable &variable : function.variables)
        place_variable(variable);
    // Of the module's shared variables only those this kernel names take room.
    std::set<std::string_view> named;
    bool calls = false;
    auto note = [&](auto &self, const Operand &operand) -> void {
        if (!operand.text.empty())
            named.insert(operand.text);
        for (const Operand &element : operand.elements)
            self(self, element);
    };
    for (const Instruction &in : function.body) {
        for (const Operand &operand : in.operands)
            note(note, operand);
        calls |= in.opcode == "call" && !named.contains("vprintf") && !named.contains("__assertfail");
    }
    for (const ptx::Variable &variable : module_.variables())
        if (variable.space == Space::shared && (calls || named.contains(variable.name)))
            place_variable(variable);
    // All extern arrays without a size begin behind the static ones: dynamic shared memory.
    std::uint32_t dynamic = aligned(shared, 16);
    for (const ptx::Variable &variable : module_.variables())
        if (variable.space == Space::shared && variable.is_extern && variable.size == 0)
            shared_[variable.name] = dynamic;
    program_->static_shared = dynamic;
    program_->local_bytes = aligned(local, 16);
}

std::shared_ptr<const Program> Lowerer::run(const std::string &kernel) {
    Function function = module_.function(kernel);
    program_->name = kernel;
    program_->line = function.line;
    if (function.required_threads)
        program_->max_threads = function.required_threads;
    else if (function.max_threads)
        program_->max_threads = function.max_threads;
    new_value(false, Value::Kind::predicate); // predicate 0: always false, and "none"
    lay_out(function);
    Frame frame;
    frame.function = &function;
    body(frame, 0);
    Draft end; // running off the end returns
    end.op.run = finish;
    end.op.line = function.line;
    end.ends = true;
    drafts_.push_back(std::move(end));
    place(drafts_, values_, labels_, *program_, *source_);
    program_->source = source_;
    return program_;
}

std::shared_ptr<const Program> lower(const ptx::Module &module, const std::string &kernel,
                                     const SymbolAddress &address) {
    return Lowerer(module, address).run(kernel);
}

} // namespace soft
