// Instructions that few programs have: atomics on vectors, copies in bulk, clusters of one block, policies of
// caches, and halves without subnormal numbers.
#include "lowerer.hpp"

#include <algorithm>

namespace soft {

using ptx::Error;
using ptx::Instruction;
using ptx::Operand;
using ptx::Space;
using ptx::Type;
using Kind = ptx::Operand::Kind;

bool flushes_halves(const Instruction &in) {
    const Type type = in.type();
    return in.has("ftz") && in.opcode != "cvt" && in.opcode != "ex2" &&
           (type == Type::f16 || type == Type::f16x2);
}

Draft Lowerer::flush_of(const Instruction &in, std::uint32_t from, std::uint32_t to) {
    Draft draft;
    draft.op.run = choose_half_flush(in.type() == Type::f16x2);
    draft.op.line = in.line;
    draft.op.a = from;
    draft.op.dst = to;
    use(draft, from);
    define(draft, to);
    return draft;
}

std::uint32_t Lowerer::flushed(const Instruction &in, std::uint32_t value) {
    const std::uint32_t to = new_value(false);
    drafts_.push_back(flush_of(in, value, to));
    return to;
}

std::uint32_t Lowerer::chosen(Frame &frame, const Instruction &in, const Operand &condition,
                              std::uint64_t yes, std::uint64_t no) {
    Instruction select;
    select.line = in.line;
    select.opcode = "selp";
    select.modifiers = {"b32"};
    bool negated = false;
    Draft draft = begin(select, choose_plain(select).run);
    last_instruction_ = nullptr; // `select` goes, and another may come to lie in its place
    draft.op.a = constant(yes, false);
    draft.op.b = constant(no, false);
    draft.op.predicate = predicate(frame, in, condition, negated);
    draft.op.flags = static_cast<std::uint16_t>(has_predicate | (negated ? predicate_negated : 0));
    const std::uint32_t value = draft.op.dst = new_value(false);
    define(draft, value);
    drafts_.push_back(std::move(draft));
    return value;
}

/// Who says how long something should stay in a cache is heard, and nothing comes of it.
void Lowerer::without_policy(Frame &frame, const Instruction &in, int depth) {
    Instruction plain = in;
    std::erase(plain.modifiers, "L2::cache_hint");
    if (plain.operands.size() < 2)
        not_implemented(in, "policy operand");
    plain.operands.pop_back();
    last_instruction_ = nullptr;
    instruction(frame, plain, depth);
    last_instruction_ = nullptr;
}

/// createpolicy, mapa and getctarank. What a policy's bits are is an implementation's own: here 0.
void Lowerer::cluster_or_policy(Frame &frame, const Instruction &in) {
    const bool maps = in.opcode == "mapa", wide = in.opcode == "createpolicy" || (maps && is_wide(in.type()));
    Draft draft = begin(in, maps ? choose_cluster(in) : wide ? copy_wide : copy_word);
    draft.op.a = maps ? source(frame, in, in.operands.at(1), in.type()) : constant(0, wide);
    use(draft, draft.op.a);
    if (maps) {
        draft.op.b = source(frame, in, in.operands.at(2), Type::u32);
        use(draft, draft.op.b);
    }
    draft.op.dst = result(frame, in, in.operands.at(0), wide);
    define(draft, draft.op.dst);
    emit(frame, in, std::move(draft));
}

/// lop3.and and lop3.or: d|p, a, b, c, table, q. p is whether d is not 0, and or or q.
void Lowerer::table_and_predicate(Frame &frame, const Instruction &in) {
    const Operand &to = in.operands[0];
    if (to.kind != Kind::pair)
        not_implemented(in, "result operand");
    Instruction table = in, compare;
    table.modifiers = {"b32"};
    table.operands.pop_back();
    compare.line = in.line;
    compare.opcode = "setp";
    compare.modifiers = {"ne", in.has("and") ? "and" : "or", "b32"};
    const Choice word = choose_plain(table), test = choose_plain(compare);
    const std::uint32_t value = new_value(false);
    Draft draft = begin(table, word.run);
    std::uint32_t *places[] = {&draft.op.a, &draft.op.b, &draft.op.c, &draft.op.predicate};
    for (std::size_t i = 0; i < 4; ++i) {
        *places[i] = source(frame, in, in.operands[i + 1], Type::b32);
        use(draft, *places[i]);
    }
    draft.op.dst = value;
    define(draft, value);
    last_instruction_ = nullptr;
    drafts_.push_back(std::move(draft));
    bool negated = false, unused = false;
    Draft second = begin(compare, test.run);
    last_instruction_ = nullptr;
    second.op.a = value;
    second.op.b = constant(0, false);
    use(second, value);
    second.op.predicate = predicate(frame, in, in.operands[5], negated);
    second.op.flags =
        static_cast<std::uint16_t>(test.flags | has_predicate | (negated ? predicate_negated : 0));
    second.op.dst = predicate(frame, in, to.elements[1], unused);
    emit(frame, in, std::move(second));
    if (to.elements[0].kind == Kind::sink)
        return;
    Draft copy = begin(in, copy_word);
    copy.op.a = value;
    use(copy, value);
    copy.op.dst = result(frame, in, to.elements[0], false);
    define(copy, copy.op.dst);
    emit(frame, in, std::move(copy));
}

/// Vectors, and the two halves of 128-bit numbers.
void Lowerer::vector_atomic(Frame &frame, const Instruction &in) {
    const bool returns = in.opcode == "atom", wide = in.type() == Type::b128;
    Draft draft = begin(in, wide ? choose_wide_atomic(in, space_of(in)) : choose_vector_atomic(in));
    const std::size_t address = returns ? 1 : 0, count = in.operands.back().elements.size();
    set_address(frame, in, in.operands.at(address), wide ? space_of(in) : Space::global, draft);
    const std::string vector = "v" + std::to_string(count);
    if ((!wide && !in.has(vector)) || (wide && (count != 2 || !returns)) ||
        in.operands.size() != address + 2 + (wide && in.has("cas") ? 1 : 0))
        not_implemented(in, "operands");
    for (std::size_t i = 0; i < in.operands.size(); ++i) {
        if (i == address)
            continue;
        if (in.operands[i].kind != Kind::vector || in.operands[i].elements.size() != count)
            not_implemented(in, "operands");
        for (const Operand &element : in.operands[i].elements) {
            const bool defined = returns && i == 0;
            const Type type = wide ? Type::b64 : in.type();
            const std::uint32_t value =
                defined ? result(frame, in, element, wide) : source(frame, in, element, type);
            defined ? define(draft, value) : use(draft, value);
            draft.list.push_back(value);
        }
    }
    if (returns)
        draft.op.flags |= has_predicate;
    emit(frame, in, std::move(draft));
}

/// cp.async.bulk and cp.reduce.async.bulk out of shared memory, which tell a barrier when they go into such.
void Lowerer::bulk_copy(Frame &frame, const Instruction &in) {
    const bool out = in.has("global"), tells = in.has("mbarrier::complete_tx::bytes");
    if (out == tells || out != in.has("bulk_group") || !in.has("shared"))
        not_implemented(in);
    Draft draft = begin(in, in.has("reduce") ? choose_bulk_reduction(in) : choose_bulk_copy(in));
    set_address(frame, in, in.operands.at(0), out ? Space::global : Space::shared, draft);
    auto offset_of = [&](Operand operand) {
        if (operand.kind != Kind::address || (operand.offset != 0 && operand.index >= 0))
            not_implemented(in, "address");
        operand.kind = operand.index >= 0 ? Kind::reg : Kind::symbol;
        return source(frame, in, operand, Type::u32);
    };
    draft.op.b = offset_of(in.operands.at(1));
    draft.op.c = source(frame, in, in.operands.at(2), Type::u32);
    use(draft, draft.op.b);
    use(draft, draft.op.c);
    const std::uint32_t bytes = draft.op.c;
    emit(frame, in, std::move(draft));
    if (!tells)
        return;
    program_->takes_turns = true;
    Instruction completes;
    completes.line = in.line;
    completes.opcode = "mbarrier";
    completes.modifiers = {"complete_tx", "shared", "b64"};
    Draft told = begin(completes, choose_barrier_object(completes, Space::shared));
    last_instruction_ = nullptr;
    set_address(frame, in, in.operands.at(3), Space::shared, told);
    told.op.b = bytes;
    use(told, bytes);
    told.op.predicate = arrival_completes | no_arrival | no_result;
    told.raw_predicate = true;
    emit(frame, in, std::move(told));
}

} // namespace soft
