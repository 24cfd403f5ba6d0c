// Values of a kernel being lowered: registers, constants, addresses, and how operands become them.
#include "lowerer.hpp"

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
        // A cluster is one block, so that clusters are counted as blocks are.
        {"%clusterid.x", Special::ctaid_x},
        {"%clusterid.y", Special::ctaid_y},
        {"%clusterid.z", Special::ctaid_z},
        {"%nclusterid.x", Special::nctaid_x},
        {"%nclusterid.y", Special::nctaid_y},
        {"%nclusterid.z", Special::nctaid_z},
        {"%aggr_smem_size", Special::total_smem_size},
    };
    return names;
}

std::optional<std::uint64_t> fixed_special(std::string_view name) {
    if (name.ends_with(".w"))
        return 0;
    if (name.starts_with("%cluster_nctaid.") || name == "%cluster_nctarank")
        return 1;
    for (std::string_view zero : {"%cluster_ctaid.", "%cluster_ctarank", "%pm", "%envreg",
                                  "%reserved_smem_offset", "%current_graph_exec", "%is_explicit_cluster"})
        if (name.starts_with(zero))
            return 0;
    return std::nullopt;
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

/// The kernel's own parameter that a load names.
std::uint32_t Lowerer::parameter(const Instruction &in, const Operand &operand) {
    const Type type = in.type();
    const std::uint64_t at = parameters_.at(operand.text) + static_cast<std::uint64_t>(operand.offset);
    if (at >= program_->parameter_bytes || ptx::size_of(type) > program_->parameter_bytes - at)
        throw Error(in.line, in.text() + " reads beyond the kernel's parameters");
    const auto offset = static_cast<std::uint32_t>(at);
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

std::uint64_t Lowerer::symbol_bits(const Frame &frame, const Instruction &in, const Operand &operand) {
    auto offset = static_cast<std::uint64_t>(operand.offset);
    for (const auto *places : {&frame.placed->variables, &frame.parameter_places, &std::as_const(shared_)})
        if (auto found = places->find(operand.text); found != places->end())
            return found->second + offset;
    if (auto found = parameters_.find(operand.text); frame.is_kernel() && found != parameters_.end())
        return found->second + offset;
    if (const auto function = module_.function_address(operand.text))
        return *function;
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
        if (operand.negated)
            not_implemented(in, "the negative of a register");
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
        if (const auto fixed = fixed_special(operand.text))
            return constant(*fixed, wide);
        throw Error(in.line, "special register " + operand.text + " is not implemented");
    case Kind::symbol:
        if (auto found = frame.parameter_values.find(operand.text); found != frame.parameter_values.end()) {
            auto is_register = [&](const ptx::Variable &variable) {
                return variable.name == operand.text && variable.space == Space::reg;
            };
            if (std::ranges::none_of(frame.function().parameters, is_register))
                not_implemented(in, "the address of a parameter that is a scalar");
            return with_width(found->second.front(), wide, in.line);
        }
        return constant(symbol_bits(frame, in, operand), wide);
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
    if (operand.kind == Kind::special && operand.text == "%is_explicit_cluster")
        return 0;
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
        const Type result = in.opcode == "cvt" ? in.type(1) : in.type();
        Draft copy = begin(in, values_[to].wide ? (ptx::is_signed(result) ? widen_signed : widen) : narrow);
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
        std::uint64_t bits = operand.text.empty() ? static_cast<std::uint64_t>(operand.offset)
                                                  : symbol_bits(frame, in, operand);
        bool wide = space == Space::none || space == Space::global || space == Space::constant;
        draft.op.a = constant(bits, wide);
        if (wide)
            draft.op.flags |= wide_address;
    }
    use(draft, draft.op.a);
}

} // namespace soft
