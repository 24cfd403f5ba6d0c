// Branches, barriers and calls. A called function is put in place of its call.
#include "lowerer.hpp"

#include <algorithm>

namespace soft {

using ptx::Error;
using ptx::Function;
using ptx::Instruction;
using ptx::Operand;
using ptx::Space;
using ptx::Type;
using Kind = ptx::Operand::Kind;

void Lowerer::jump_to(const Instruction &in, int label) {
    Draft draft = begin(in, jump);
    draft.target = label;
    draft.ends = true;
    drafts_.push_back(std::move(draft));
}

/// Lanes for which the predicate holds (or, negated, does not) go to the label.
void Lowerer::branch_where(const Instruction &in, std::uint32_t predicate, bool negated, int label) {
    Draft draft = begin(in, branch_if);
    draft.target = label;
    draft.op.guard = predicate;
    draft.op.flags = negated ? guard_negated : 0;
    drafts_.push_back(std::move(draft));
}

void Lowerer::set_label(int label) {
    Draft draft;
    draft.label = label;
    drafts_.push_back(std::move(draft));
}

/// A predicate that says where the operand is that number.
std::uint32_t Lowerer::is_equal(Frame &frame, const Instruction &in, const Operand &operand,
                                std::uint64_t bits, Type type) {
    Instruction compare;
    compare.line = in.line;
    compare.opcode = "setp";
    compare.modifiers = {"eq", type == Type::u64 ? "u64" : "u32"};
    Draft draft = begin(compare, choose_plain(compare).run);
    last_instruction_ = nullptr; // `compare` goes, and another may come to lie in its place
    draft.op.a = source(frame, in, operand, type);
    draft.op.b = constant(bits, is_wide(type));
    draft.op.dst = new_value(false, Value::Kind::predicate);
    use(draft, draft.op.a);
    const std::uint32_t equal = draft.op.dst;
    drafts_.push_back(std::move(draft));
    return equal;
}

void Lowerer::branch(Frame &frame, const Instruction &in) {
    const Operand &to = in.operands.at(0);
    auto label = frame.labels.find(to.text);
    if (to.kind != Kind::symbol || label == frame.labels.end())
        throw Error(in.line, "branch to an unknown label " + to.text);
    if (in.guard < 0)
        return jump_to(in, label->second);
    branch_where(in, register_value(frame, in.guard), in.guard_negated, label->second);
}

/// brx.idx: one comparison for each way but the last.
void Lowerer::branch_indexed(Frame &frame, const Instruction &in) {
    const Operand &index = in.operands.at(0), &list = in.operands.at(1);
    const auto targets = frame.function().branch_targets.find(list.text);
    if (targets == frame.function().branch_targets.end() || targets->second.empty())
        throw Error(in.line, "brx.idx by an unknown list " + list.text);
    const int after = labels_++;
    if (in.guard >= 0)
        branch_where(in, register_value(frame, in.guard), !in.guard_negated, after);
    for (std::size_t i = 0; i < targets->second.size(); ++i) {
        const auto label = frame.labels.find(targets->second[i]);
        if (label == frame.labels.end())
            throw Error(in.line, "branch to an unknown label " + targets->second[i]);
        if (i + 1 == targets->second.size())
            jump_to(in, label->second);
        else
            branch_where(in, is_equal(frame, in, index, i, Type::u32), false, label->second);
    }
    set_label(after);
}

void Lowerer::barrier(Frame &frame, const Instruction &in) {
    if (in.has("cluster")) { // of one block: who waits for the cluster waits for the block's other threads
        Draft draft = begin(in, soft::barrier);
        draft.op.a = constant(cluster_barrier, false);
        return emit(frame, in, std::move(draft));
    }
    bool reduces = in.has("red");
    Draft draft = begin(in, reduces ? barrier_reduce : in.has("arrive") ? barrier_arrive : soft::barrier);
    std::size_t next = reduces ? 1 : 0;
    draft.op.a =
        next < in.operands.size() ? source(frame, in, in.operands[next], Type::u32) : constant(0, false);
    use(draft, draft.op.a);
    ++next;
    if (reduces) {
        bool negated = false;
        const Operand &vote = in.operands.at(std::max<std::size_t>(in.operands.size(), 3) - 1);
        draft.op.predicate = predicate(frame, in, vote, negated);
        draft.op.flags = negated ? predicate_negated : 0;
        draft.op.immediate = in.has("and") ? reduce_and : in.has("or") ? reduce_or : reduce_popc;
        if (in.operands.size() > 3) {
            draft.op.b = source(frame, in, in.operands[2], Type::u32);
            draft.op.flags |= has_predicate;
            use(draft, draft.op.b);
        }
        if (draft.op.immediate == reduce_popc) {
            draft.op.dst = result(frame, in, in.operands[0], false);
            define(draft, draft.op.dst);
        } else {
            draft.op.dst = predicate(frame, in, in.operands[0], negated);
        }
    } else if (next < in.operands.size()) {
        draft.op.b = source(frame, in, in.operands[next], Type::u32);
        draft.op.flags |= has_predicate;
        use(draft, draft.op.b);
    }
    emit(frame, in, std::move(draft));
}

/// call (results), name, (arguments);  either list may be missing. A guarded call is gone around.
void Lowerer::call(Frame &frame, const Instruction &in, int depth) {
    CallLists lists;
    const Operand *name = nullptr;
    for (const Operand &operand : in.operands) {
        if (operand.kind == Kind::vector)
            (name ? lists.arguments : lists.results) = &operand;
        else if (!name)
            name = &operand;
    }
    const int after = labels_++;
    if (in.guard >= 0)
        branch_where(in, register_value(frame, in.guard), !in.guard_negated, after);
    Instruction unguarded = in;
    unguarded.guard = -1;
    last_instruction_ = nullptr;
    if (name && name->kind == Kind::reg)
        call_indirect(frame, unguarded, lists, depth);
    else if (!name || name->kind != Kind::symbol)
        not_implemented(in, "what is called");
    else if (!call_built_in(frame, unguarded, name->text, lists))
        enter(frame, unguarded, name->text, lists, depth);
    last_instruction_ = nullptr;
    set_label(after);
}

/// mbarrier, and the forms of cp.async that tell one.
void Lowerer::barrier_object(Frame &frame, const Instruction &in) {
    program_->takes_turns = true;
    const bool copies = in.has("bulk"), counts = in.has("pending_count"),
               waits = in.has("test_wait") || in.has("try_wait"),
               returns =
                   counts || waits || ((in.has("arrive") || in.has("arrive_drop")) && in.opcode != "cp");
    Space space = space_of(in);
    if (copies && (!in.has("mbarrier::complete_tx::bytes") || !in.has("global")))
        not_implemented(in);
    if (copies)
        space = Space::shared;
    Draft draft = begin(in, choose_barrier_object(in, space));
    std::size_t next = returns ? 1 : 0;
    if (!counts)
        set_address(frame, in, in.operands.at(next++), space, draft);
    if (copies) {
        const Operand &from = in.operands.at(1);
        if (from.kind != Kind::address || from.index < 0 || from.offset != 0)
            not_implemented(in, "source address");
        draft.op.b = with_width(register_value(frame, from.index), true, in.line);
        draft.op.c = source(frame, in, in.operands.at(2), Type::u32);
        Operand object = in.operands.at(3);
        if (object.kind != Kind::address || (object.offset != 0 && object.index >= 0))
            not_implemented(in, "address of the barrier");
        object.kind = object.index >= 0 ? Kind::reg : Kind::symbol;
        draft.op.predicate = source(frame, in, object, Type::u32);
        use(draft, draft.op.b);
        use(draft, draft.op.c);
        use(draft, draft.op.predicate);
        return emit(frame, in, std::move(draft));
    }
    const bool by_state = counts || (waits && !in.has("parity"));
    if (next < in.operands.size())
        draft.op.b = source(frame, in, in.operands[next], by_state ? Type::u64 : Type::u32);
    else
        draft.op.b = constant(1, false);
    use(draft, draft.op.b);
    bool negated = false;
    if (waits) {
        draft.op.dst = predicate(frame, in, in.operands[0], negated);
        return emit(frame, in, std::move(draft));
    }
    if (returns) {
        draft.op.dst = result(frame, in, in.operands[0], !counts);
        define(draft, draft.op.dst);
    }
    draft.op.predicate = static_cast<std::uint32_t>(
        (in.has("arrive_drop") ? arrival_drops : 0) | (in.has("expect_tx") ? arrival_expects : 0) |
        (in.has("complete_tx") ? arrival_completes : 0) |
        (in.has("arrive") || in.has("arrive_drop") ? 0 : no_arrival) | (returns ? 0 : no_result));
    draft.raw_predicate = true;
    emit(frame, in, std::move(draft));
}

/// Sums with carry: the carry is a value of its own, which each of them reads, writes, or both.
void Lowerer::extended(Frame &frame, const Instruction &in) {
    const Choice choice = choose_extended(in);
    Draft draft = begin(in, choice.run);
    draft.op.immediate = choice.immediate;
    std::uint32_t *places[] = {&draft.op.a, &draft.op.b, &draft.op.c};
    for (unsigned i = 0; i < 3 && choice.sources[i] != Type::none; ++i) {
        *places[i] = source(frame, in, in.operands.at(i + 1), choice.sources[i]);
        use(draft, *places[i]);
    }
    if (carry_ == 0)
        carry_ = new_value(false);
    draft.op.predicate = carry_;
    use(draft, carry_);
    define(draft, carry_);
    draft.op.dst = result(frame, in, in.operands.at(0), is_wide(choice.dst));
    define(draft, draft.op.dst);
    emit(frame, in, std::move(draft));
}

/// By a pointer: one comparison for each function that one may lead to and that takes and gives what the call
/// does.
void Lowerer::call_indirect(Frame &frame, const Instruction &in, const CallLists &lists, int depth) {
    constexpr std::size_t most = 64;
    auto count = [](const Operand *list) { return list ? list->elements.size() : 0; };
    auto size = [&](const Operand &operand) -> std::uint64_t {
        for (const ptx::Variable &variable : frame.function().variables)
            if (variable.name == operand.text)
                return variable.size;
        return 0; // a register, or a parameter of the caller's own: any
    };
    auto alike = [&](const std::vector<ptx::Variable> &declared, const Operand *given) {
        if (declared.size() != count(given))
            return false;
        for (std::size_t i = 0; i < declared.size(); ++i)
            if (const std::uint64_t bytes = size(given->elements[i]); bytes != 0 && bytes != declared[i].size)
                return false;
        return true;
    };
    std::vector<std::string> candidates;
    for (const std::string &name : module_.pointed_names())
        if (const Function function = module_.signature(name);
            alike(function.parameters, lists.arguments) && alike(function.results, lists.results))
            candidates.push_back(name);
    std::erase_if(candidates, [&](const std::string &name) { // what is under way can not be entered again
        return std::find(entered_.begin(), entered_.end(), name) != entered_.end();
    });
    if (candidates.size() > most)
        not_implemented(in,
                        "a call by pointer to one of " + std::to_string(candidates.size()) + " functions");
    const int after = labels_++;
    const auto pointer = std::find_if(in.operands.begin(), in.operands.end(),
                                      [](const Operand &operand) { return operand.kind == Kind::reg; });
    for (const std::string &name : candidates) {
        const int next = labels_++;
        branch_where(in, is_equal(frame, in, *pointer, *module_.function_address(name), Type::u64), true,
                     next);
        enter(frame, in, name, lists, depth);
        jump_to(in, after);
        set_label(next);
    }
    Draft draft = begin(in, soft::trap);
    draft.op.immediate = trap_of_pointer;
    draft.ends = true;
    drafts_.push_back(std::move(draft));
    set_label(after);
}

/// What the driver, not the module, brings. False when it is none of these.
bool Lowerer::call_built_in(Frame &frame, const Instruction &in, const std::string &name,
                            const CallLists &lists) {
    struct Row {
        std::string_view name;
        Handler run;
        unsigned arguments;
        bool wide;
    };
    static constexpr Row rows[] = {{"vprintf", print, 2, false},
                                   {"__assertfail", assert_failed, 2, false},
                                   {"malloc", allocate, 1, true},
                                   {"free", release, 1, false}};
    const auto row =
        std::find_if(std::begin(rows), std::end(rows), [&](const Row &r) { return r.name == name; });
    if (row == std::end(rows))
        return false;
    Draft draft = begin(in, row->run);
    std::uint32_t *places[] = {&draft.op.a, &draft.op.b};
    for (unsigned i = 0; i < row->arguments; ++i) {
        if (!lists.arguments || i >= lists.arguments->elements.size())
            not_implemented(in, "arguments of " + name);
        *places[i] = scalar_of(frame, in, lists.arguments->elements[i], true);
        use(draft, *places[i]);
    }
    draft.op.dst = new_value(row->wide);
    if (lists.results) {
        draft.op.dst = held_value(frame, in, lists.results->elements.at(0));
        if (values_[draft.op.dst].wide != row->wide)
            not_implemented(in, "result of " + name);
    }
    define(draft, draft.op.dst);
    emit(frame, in, std::move(draft));
    return true;
}

/// The value of a call's argument, as wide as the function wants it: a number, or what is held somewhere.
std::uint32_t Lowerer::scalar_of(const Frame &frame, const Instruction &in, const Operand &operand,
                                 bool wide) {
    if (operand.kind == Kind::immediate)
        return constant(operand.bits, wide);
    return with_width(held_value(frame, in, operand), wide, in.line);
}

/// What holds a call's argument or result: a register, or a .param variable that is a scalar.
std::uint32_t Lowerer::held_value(const Frame &frame, const Instruction &in, const Operand &operand) {
    if (operand.kind == Kind::reg)
        return register_value(frame, operand.index);
    auto found = frame.parameter_values.find(operand.text);
    if (found == frame.parameter_values.end())
        not_implemented(in, "argument " + operand.text);
    return found->second.front();
}

void Lowerer::enter(Frame &frame, const Instruction &in, const std::string &name, const CallLists &lists,
                    int depth) {
    constexpr std::size_t most = 1 << 19; // operations
    if (std::find(entered_.begin(), entered_.end(), name) != entered_.end())
        not_implemented(in, "recursion of " + name);
    if (depth > 16 || drafts_.size() > most)
        not_implemented(in, depth > 16 ? "calls nested deeper than 16" : "what is called becomes too large");
    Frame inner;
    inner.placed = &placed(name);
    inner.return_label = labels_++;
    auto bind = [&](const std::vector<ptx::Variable> &declared, const Operand *given, bool is_result) {
        for (std::size_t i = 0; i < declared.size(); ++i) {
            if (!given || i >= given->elements.size())
                not_implemented(in, "parameter " + declared[i].name);
            const Operand &operand = given->elements[i];
            if (const auto place = frame.parameter_places.find(operand.text);
                place != frame.parameter_places.end())
                inner.parameter_places[declared[i].name] = place->second;
            else
                inner.parameter_values[declared[i].name] = {
                    is_result ? held_value(frame, in, operand)
                              : scalar_of(frame, in, operand, declared[i].size == 8)};
        }
    };
    bind(inner.function().parameters, lists.arguments, false);
    bind(inner.function().results, lists.results, true);
    entered_.push_back(name);
    body(inner, depth + 1);
    entered_.pop_back();
    set_label(inner.return_label);
}

} // namespace soft
