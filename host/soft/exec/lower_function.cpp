// A kernel or function, instruction by instruction: which form each has, and where its variables lie.
#include "lowerer.hpp"
#include "modifiers.hpp"

#include <algorithm>
#include <stdexcept>

namespace soft {

using ptx::Error;
using ptx::Function;
using ptx::Instruction;
using ptx::Operand;
using ptx::Space;
using ptx::Type;
using Kind = ptx::Operand::Kind;

namespace {

std::uint32_t aligned(std::uint64_t at, std::uint32_t alignment) {
    return static_cast<std::uint32_t>((at + alignment - 1) / alignment * alignment);
}

/// Instructions that say nothing to one who performs everything at once and in order.
bool is_hint(const Instruction &in) {
    const std::string &op = in.opcode;
    if (op == "cp") // an arrival that is counted first changes nothing, where copies are performed at once
        return in.has("prefetch") || in.has("commit_group") || in.has("wait_group") || in.has("wait_all") ||
               (in.has("mbarrier") && !in.has("noinc"));
    if (op == "bar" && in.has("warp"))
        return true;
    return op == "membar" || op == "fence" || op == "nanosleep" || op == "prefetch" || op == "prefetchu" ||
           op == "griddepcontrol" || op == "pmevent" || op == "discard" || op == "applypriority" ||
           op == "setmaxnreg" || (op == "barrier" && in.has("cluster") && in.has("arrive"));
}

} // namespace

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
        frame.is_kernel() && parameters_.contains(from.text)) {
        if (is_wide(in.type()) != wide || in.type() == Type::b128)
            return false;
        value = parameter(in, from);
    } else if (in.opcode == "mov" && in.type() != Type::pred && is_wide(in.type()) == wide) {
        bool fixed = from.kind == Kind::immediate ||
                     (from.kind == Kind::special && special_names().contains(from.text) && !wide) ||
                     (from.kind == Kind::symbol && !frame.parameter_values.contains(from.text));
        if (!fixed)
            return false;
        value = source(frame, in, from, in.type());
    } else if (in.opcode == "cvta" && from.kind == Kind::reg && wide) {
        Space space = space_of(in);
        if (space == Space::shared || space == Space::local || space == Space::param)
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
    check_operands(in);
    if (in.has("L2::cache_hint"))
        return without_policy(frame, in, depth);
    if (is_hint(in) || try_alias(frame, in))
        return;
    if (op == "createpolicy" || op == "mapa" || op == "getctarank")
        return cluster_or_policy(frame, in);
    if (op == "lop3" && in.operands.size() == 6)
        return table_and_predicate(frame, in);
    if (op == "mov")
        return move(frame, in);
    if (op == "ld" || op == "ldu")
        return load(frame, in);
    if (op == "st")
        return store(frame, in);
    if (op == "bra")
        return branch(frame, in);
    if (op == "brx")
        return branch_indexed(frame, in);
    if (op == "addc" || op == "subc" || op == "madc" || in.has("cc"))
        return extended(frame, in);
    if (op == "bar" || op == "barrier")
        return barrier(frame, in);
    if (op == "atom" || op == "red")
        return atomic(frame, in);
    if (op == "cp")
        return async_copy(frame, in);
    if (op == "mbarrier")
        return barrier_object(frame, in);
    if (op == "cvta" || op == "isspacep")
        return change_space(frame, in);
    if (op == "shfl" || op == "vote" || op == "activemask" || op == "match" || op == "redux" || op == "elect")
        return exchange(frame, in);
    if (op == "mma" || op == "ldmatrix" || op == "stmatrix" || op == "movmatrix" || op == "wmma")
        return matrix(frame, in);
    if (op == "call")
        return call(frame, in, depth);
    if (op == "ret" || op == "exit") {
        if (op == "ret" && frame.return_label >= 0)
            return in.guard < 0 ? jump_to(in, frame.return_label)
                                : branch_where(in, register_value(frame, in.guard), in.guard_negated,
                                               frame.return_label);
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
    const Function &function = frame.function();
    frame.first_value = static_cast<std::uint32_t>(values_.size());
    frame.alias.assign(function.registers.size(), 0);
    frame.definitions.assign(function.registers.size(), 0);
    for (const ptx::Register &reg : function.registers)
        new_value(is_wide(reg.type), reg.type == Type::pred ? Value::Kind::predicate : Value::Kind::slot);
    for (const ptx::Variable &variable : function.variables) {
        if (variable.space != Space::param)
            continue;
        if (variable.size == ptx::size_of(variable.type) && variable.size <= 8) // a scalar: held in a value
            frame.parameter_values[variable.name] = {new_value(variable.size == 8)};
        else
            frame.parameter_places[variable.name] = local_room(variable.size, variable.align);
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

/// Room in each thread's local memory.
std::uint32_t Lowerer::local_room(std::uint64_t bytes, std::uint32_t alignment) {
    const std::uint32_t place = aligned(local_bytes_, alignment);
    local_bytes_ = place + bytes;
    if (local_bytes_ > (1u << 24))
        throw Error(program_->line, "more local memory than there is");
    return place;
}

void Lowerer::place_shared(const ptx::Variable &variable, std::map<std::string, std::uint32_t> &places) {
    shared_bytes_ = aligned(shared_bytes_, variable.align);
    places[variable.name] = static_cast<std::uint32_t>(shared_bytes_);
    shared_bytes_ += variable.size;
    if (shared_bytes_ > (1u << 20))
        throw Error(program_->line, variable.name + " does not fit");
}

/// A function by its name, read and its variables placed when it is first asked for.
const Placed &Lowerer::placed(const std::string &name) {
    auto [found, added] = functions_.try_emplace(name);
    Placed &made = found->second;
    if (added) {
        made.function = module_.function(name);
        for (const ptx::Variable &variable : made.function.variables)
            if (variable.space == Space::shared)
                place_shared(variable, made.variables);
            else if (variable.space == Space::local)
                made.variables[variable.name] = local_room(variable.size, variable.align);
    }
    return made;
}

/// The kernel, and all functions of the module that it may come to.
std::vector<const Placed *> Lowerer::reachable(const Placed &kernel) {
    std::vector<const Placed *> found = {&kernel};
    std::set<std::string> known;
    auto add = [&](const std::string &name) {
        if (!name.empty() && known.insert(name).second && module_.function_address(name))
            found.push_back(&placed(name));
    };
    for (std::size_t i = 0; i < found.size(); ++i)
        for (const Instruction &in : found[i]->function.body) {
            if (in.opcode != "call")
                continue;
            for (const Operand &operand : in.operands)
                if (operand.kind == Kind::symbol)
                    add(operand.text);
                else if (operand.kind == Kind::reg) // by a pointer
                    std::ranges::for_each(module_.pointed_names(), add);
        }
    return found;
}

void Lowerer::lay_out(const Function &kernel) {
    std::uint64_t at = 0;
    for (const ptx::Variable &variable : kernel.parameters) {
        at = aligned(at, variable.align);
        parameters_[variable.name] = static_cast<std::uint32_t>(at);
        program_->parameters.push_back({variable.name, static_cast<std::uint32_t>(at),
                                        static_cast<std::uint32_t>(variable.size), variable.align});
        at += variable.size;
        if (at > (1u << 20))
            throw Error(kernel.line, "more parameters than a launch has room for");
    }
    program_->parameter_bytes = static_cast<std::uint32_t>(at);
    // Of the module's shared variables only those take room that this kernel, or what it calls, names.
    std::set<std::string_view> named;
    auto note = [&](auto &self, const Operand &operand) -> void {
        if (!operand.text.empty())
            named.insert(operand.text);
        for (const Operand &element : operand.elements)
            self(self, element);
    };
    for (const Placed *function : reachable(placed(program_->name)))
        for (const Instruction &in : function->function.body)
            for (const Operand &operand : in.operands)
                note(note, operand);
    for (const ptx::Variable &variable : module_.variables())
        if (variable.space == Space::shared && !(variable.is_extern && variable.size == 0) &&
            named.contains(variable.name))
            place_shared(variable, shared_);
    // All extern arrays without a size begin behind the static ones: dynamic shared memory.
    std::uint32_t dynamic = aligned(shared_bytes_, 16);
    for (const ptx::Variable &variable : module_.variables())
        if (variable.space == Space::shared && variable.is_extern && variable.size == 0)
            shared_[variable.name] = dynamic;
    program_->static_shared = dynamic;
}

std::shared_ptr<const Program> Lowerer::run(const std::string &kernel) {
    program_->name = kernel;
    program_->line = module_.source(kernel).line;
    const Placed &placed_kernel = placed(kernel);
    const Function &function = placed_kernel.function;
    if (function.required_threads)
        program_->max_threads = function.required_threads;
    else if (function.max_threads)
        program_->max_threads = function.max_threads;
    if (function.cluster_blocks > 1)
        throw Error(function.line, "PTX directive .reqnctapercluster is not implemented: " + kernel +
                                       " wants clusters of " + std::to_string(function.cluster_blocks) +
                                       " blocks");
    new_value(false, Value::Kind::predicate); // predicate 0: always false, and "none"
    lay_out(function);
    Frame frame;
    frame.placed = &placed_kernel;
    body(frame, 0);
    Draft end; // running off the end returns
    end.op.run = finish;
    end.op.line = function.line;
    end.ends = true;
    drafts_.push_back(std::move(end));
    program_->local_bytes = aligned(local_bytes_, 16);
    gather_before_stores();
    place(drafts_, values_, labels_, *program_, *source_);
    program_->source = source_;
    return program_;
}

std::shared_ptr<const Program> lower(const ptx::Module &module, const std::string &kernel,
                                     const SymbolAddress &address) {
    return Lowerer(module, address).run(kernel);
}

} // namespace soft
