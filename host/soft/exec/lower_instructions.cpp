// One function an instruction's form: its operands become values, its handler an operation.
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

void Lowerer::plain(Frame &frame, const Instruction &in) {
    Choice choice = choose_plain(in);
    Draft draft = begin(in, choice.run);
    draft.op.flags = choice.flags;
    draft.op.immediate = choice.immediate;
    unsigned count = 0;
    while (count < 4 && choice.sources[count] != Type::none)
        ++count;
    if (in.operands.size() != count + 1)
        not_implemented(in, std::to_string(in.operands.size()) + " operands");
    std::uint32_t *places[] = {&draft.op.a, &draft.op.b, &draft.op.c, &draft.op.predicate};
    bool logic = choice.dst == Type::pred && choice.sources[0] == Type::pred;
    const bool flushes = flushes_halves(in); // before and after: the handlers know nothing of it
    for (unsigned i = 0; i < count; ++i) {
        const Operand &operand = in.operands[i + 1];
        if (choice.sources[i] != Type::pred) {
            *places[i] = source(frame, in, operand, choice.sources[i]);
            if (flushes)
                *places[i] = flushed(in, *places[i]);
            use(draft, *places[i]);
            continue;
        }
        bool negated = false;
        std::uint32_t value = predicate(frame, in, operand, negated);
        if (logic) {
            *places[i] = value;
            draft.op.flags |= negated ? (i == 0 ? a_negated : b_negated) : 0;
        } else {
            draft.op.predicate = value;
            draft.op.flags |= static_cast<std::uint16_t>(has_predicate | (negated ? predicate_negated : 0));
        }
    }
    const Operand &to = in.operands[0];
    if (choice.dst == Type::pred) {
        auto number = [&](const Operand &operand) -> std::uint32_t {
            if (operand.kind == Kind::sink)
                return new_value(false, Value::Kind::predicate);
            bool negated = false;
            return predicate(frame, in, operand, negated);
        };
        draft.op.dst = number(to.kind == Kind::pair ? to.elements[0] : to);
        if (to.kind == Kind::pair)
            draft.op.c = number(to.elements[1]);
    } else {
        draft.op.dst = result(frame, in, to, is_wide(choice.dst));
        if (flushes && choice.dst == choice.sources[0]) {
            const std::uint32_t into = std::exchange(draft.op.dst, new_value(false));
            define(draft, draft.op.dst);
            Draft last = flush_of(in, draft.op.dst, into);
            auto copies = std::exchange(copies_, {}); // of what is flushed
            emit(frame, in, std::move(draft));
            copies_ = std::move(copies);
            return emit(frame, in, std::move(last));
        }
        define(draft, draft.op.dst);
    }
    emit(frame, in, std::move(draft));
}

void Lowerer::move(Frame &frame, const Instruction &in) {
    if (in.operands.size() != 2)
        not_implemented(in);
    const Operand &to = in.operands[0], &from = in.operands[1];
    const Operand &vector = from.kind == Kind::vector ? from : to;
    const std::size_t count =
        vector.kind == Kind::vector ? std::max<std::size_t>(vector.elements.size(), 1) : 1;
    const auto bits = static_cast<unsigned>(8 * ptx::size_of(in.type()) / count);
    if (from.kind == Kind::vector) {
        Handler pack = choose_pack(bits, count);
        if (pack == nullptr)
            not_implemented(in);
        Draft draft = begin(in, pack);
        Type part = bits == 16 ? Type::b16 : Type::b32;
        for (const Operand &element : from.elements) {
            draft.list.push_back(source(frame, in, element, part));
            use(draft, draft.list.back());
        }
        draft.op.dst = result(frame, in, to, is_wide(in.type()));
        define(draft, draft.op.dst);
        return emit(frame, in, std::move(draft));
    }
    if (to.kind == Kind::vector) {
        Handler unpack = choose_unpack(bits, count);
        if (unpack == nullptr)
            not_implemented(in);
        Draft draft = begin(in, unpack);
        draft.op.a = source(frame, in, from, in.type());
        use(draft, draft.op.a);
        for (const Operand &element : to.elements) {
            draft.list.push_back(result(frame, in, element, false));
            define(draft, draft.list.back());
        }
        return emit(frame, in, std::move(draft));
    }
    if (from.kind == Kind::special &&
        (from.text.starts_with("%clock") || from.text.starts_with("%globaltimer"))) {
        Draft draft = begin(in, read_clock);
        draft.op.immediate = from.text.ends_with("_hi") ? 32 : 0;
        bool wide = is_wide(in.type());
        draft.op.flags = wide ? wide_address : 0;
        draft.op.dst = result(frame, in, to, wide);
        define(draft, draft.op.dst);
        return emit(frame, in, std::move(draft));
    }
    plain(frame, in);
}

void Lowerer::load(Frame &frame, const Instruction &in) {
    Space space = space_of(in);
    const Operand &to = in.operands.at(0), &from = in.operands.at(1);
    if (space == Space::param &&
        (frame.parameter_places.contains(from.text) || (from.index >= 0 && !frame.is_kernel())))
        space = Space::local; // of a call, and no scalar
    if (space == Space::param && from.index < 0) {
        if (auto found = frame.parameter_values.find(from.text); found != frame.parameter_values.end()) {
            // What a call gave back, or got: held in a value, not in memory.
            if (from.offset != 0 || to.kind != Kind::reg)
                not_implemented(in, "parameter of a call that is no scalar");
            std::uint32_t value = with_width(found->second.front(), is_wide(in.type()), in.line);
            Draft draft = begin(in, is_wide(in.type()) ? copy_wide : copy_word);
            draft.op.a = value;
            use(draft, value);
            draft.op.dst = result(frame, in, to, is_wide(in.type()));
            define(draft, draft.op.dst);
            return emit(frame, in, std::move(draft));
        }
    }
    if (ptx::size_of(in.type()) == 16)
        not_implemented(in);
    if (space == Space::param && from.index < 0 && to.kind == Kind::reg && frame.is_kernel() &&
        parameters_.contains(from.text)) {
        // The kernel's own, which is in a slot from the beginning on.
        Draft draft = begin(in, is_wide(in.type()) ? copy_wide : copy_word);
        draft.op.a = parameter(in, from);
        draft.op.dst = result(frame, in, to, is_wide(in.type()));
        define(draft, draft.op.dst);
        return emit(frame, in, std::move(draft));
    }
    unsigned count = to.kind == Kind::vector ? static_cast<unsigned>(to.elements.size()) : 1;
    Draft draft = begin(in, choose_load(in, space, count));
    draft.op.moved = choose_moved(in, space, count, false);
    set_address(frame, in, from, space, draft);
    bool wide = is_wide(in.type());
    if (to.kind == Kind::vector) {
        for (const Operand &element : to.elements) {
            draft.list.push_back(result(frame, in, element, wide));
            define(draft, draft.list.back());
        }
        if (count == 1)
            draft.op.dst = draft.list[0];
    } else {
        draft.op.dst = result(frame, in, to, wide);
        define(draft, draft.op.dst);
    }
    emit(frame, in, std::move(draft));
}

void Lowerer::store(Frame &frame, const Instruction &in) {
    Space space = space_of(in);
    const Operand &to = in.operands.at(0), &from = in.operands.at(1);
    if (space == Space::param && frame.parameter_places.contains(to.text))
        space = Space::local; // of a call, and no scalar
    if (space == Space::param) {
        auto found = frame.parameter_values.find(to.text);
        if (found == frame.parameter_values.end() || to.offset != 0 || from.kind == Kind::vector)
            not_implemented(in, "parameter of a call that is no scalar");
        Type type = in.type();
        std::uint32_t value = source(frame, in, from, type);
        std::uint32_t held = found->second.front();
        value = with_width(value, values_[held].wide, in.line);
        Draft draft = begin(in, values_[held].wide ? copy_wide : copy_word);
        draft.op.a = value;
        draft.op.dst = held;
        use(draft, value);
        define(draft, held);
        return emit(frame, in, std::move(draft));
    }
    unsigned count = from.kind == Kind::vector ? static_cast<unsigned>(from.elements.size()) : 1;
    Draft draft = begin(in, choose_store(in, space, count));
    draft.op.moved = choose_moved(in, space, count, true);
    set_address(frame, in, to, space, draft);
    if (from.kind == Kind::vector) {
        for (const Operand &element : from.elements) {
            draft.list.push_back(source(frame, in, element, in.type()));
            use(draft, draft.list.back());
        }
        if (count == 1)
            draft.op.dst = draft.list[0];
    } else {
        draft.op.dst = source(frame, in, from, in.type());
        use(draft, draft.op.dst);
    }
    emit(frame, in, std::move(draft));
}

void Lowerer::atomic(Frame &frame, const Instruction &in) {
    const bool returns = in.opcode == "atom";
    Space space = space_of(in);
    if (!in.operands.empty() && in.operands.back().kind == Kind::vector)
        return vector_atomic(frame, in);
    Draft draft = begin(in, choose_atomic(in, space));
    std::size_t next = returns ? 1 : 0;
    set_address(frame, in, in.operands.at(next++), space, draft);
    draft.op.b = draft.op.c = source(frame, in, in.operands.at(next++), in.type());
    if (next < in.operands.size())
        draft.op.c = source(frame, in, in.operands[next], in.type());
    use(draft, draft.op.b);
    use(draft, draft.op.c);
    if (returns) {
        draft.op.dst = result(frame, in, in.operands[0], is_wide(in.type()));
        draft.op.flags |= has_predicate;
        define(draft, draft.op.dst);
    }
    emit(frame, in, std::move(draft));
}

void Lowerer::async_copy(Frame &frame, const Instruction &in) {
    if (in.has("bulk") && (in.has("bulk_group") || in.has("reduce") || !in.has("global")))
        return bulk_copy(frame, in);
    if (in.has("bulk") || in.has("mbarrier"))
        return barrier_object(frame, in);
    if (!in.has("async"))
        not_implemented(in);
    Draft draft = begin(in, choose_async_copy(in));
    set_address(frame, in, in.operands.at(0), Space::shared, draft);
    const Operand &from = in.operands.at(1);
    if (from.kind != Kind::address || from.index < 0 || from.offset != static_cast<std::int32_t>(from.offset))
        not_implemented(in, "source address");
    draft.op.b = with_width(register_value(frame, from.index), true, in.line);
    use(draft, draft.op.b);
    draft.op.predicate = static_cast<std::uint32_t>(from.offset);
    draft.raw_predicate = true;
    if (in.operands.size() > 3) {
        const Operand &taken = in.operands[3]; // bytes, or a predicate that says to take none
        const bool ignores = taken.kind == Kind::reg &&
                             values_[register_value(frame, taken.index)].kind == Value::Kind::predicate;
        draft.op.c =
            ignores ? chosen(frame, in, taken, 0, in.operands[2].bits) : source(frame, in, taken, Type::u32);
        draft.op.flags |= has_predicate;
        use(draft, draft.op.c);
    }
    emit(frame, in, std::move(draft));
}

void Lowerer::change_space(Frame &frame, const Instruction &in) {
    Space space = space_of(in);
    Draft draft;
    if (in.opcode == "isspacep") {
        draft = begin(in, is_space);
        draft.op.immediate = static_cast<std::int64_t>(space);
        draft.op.a = source(frame, in, in.operands.at(1), Type::u64);
        use(draft, draft.op.a);
        bool negated = false;
        draft.op.dst = predicate(frame, in, in.operands.at(0), negated);
        return emit(frame, in, std::move(draft));
    }
    bool to_generic = !in.has("to");
    bool windowed = space == Space::shared || space == Space::local || space == Space::param;
    draft = begin(in, windowed ? choose_address(space, to_generic) : copy_wide);
    draft.op.a = source(frame, in, in.operands.at(1), Type::u64);
    use(draft, draft.op.a);
    draft.op.dst = result(frame, in, in.operands.at(0), true);
    define(draft, draft.op.dst);
    emit(frame, in, std::move(draft));
}

void Lowerer::exchange(Frame &frame, const Instruction &in) {
    Draft draft = begin(in, choose_exchange(in));
    const Operand &to = in.operands.at(0);
    const Operand &value_to = to.kind == Kind::pair ? to.elements[0] : to;
    bool negated = false;
    if (to.kind == Kind::pair) {
        draft.op.predicate = to.elements[1].kind == Kind::sink
                                 ? new_value(false, Value::Kind::predicate)
                                 : predicate(frame, in, to.elements[1], negated);
        draft.op.flags |= has_predicate;
    }
    if (in.opcode == "vote") {
        draft.op.a = predicate(frame, in, in.operands.at(1), negated);
        draft.op.flags |= negated ? a_negated : 0;
        if (!in.has("ballot")) {
            draft.op.dst = predicate(frame, in, value_to, negated);
            return emit(frame, in, std::move(draft));
        }
    } else if (in.opcode != "activemask") {
        draft.op.a = source(frame, in, in.operands.at(1), in.type());
        use(draft, draft.op.a);
    }
    if (in.opcode == "shfl") {
        draft.op.b = source(frame, in, in.operands.at(2), Type::u32);
        draft.op.c = source(frame, in, in.operands.at(3), Type::u32);
        use(draft, draft.op.b);
        use(draft, draft.op.c);
    }
    draft.op.dst = result(frame, in, value_to, false);
    define(draft, draft.op.dst);
    emit(frame, in, std::move(draft));
}

void Lowerer::matrix(Frame &frame, const Instruction &in) {
    Draft draft = begin(in, choose_matrix(in));
    const Type part = in.type() == Type::f64 ? Type::b64 : Type::b32;
    auto take = [&](const Operand &operand, bool defined) {
        auto one = [&](const Operand &element) {
            std::uint32_t value =
                defined ? result(frame, in, element, is_wide(part)) : source(frame, in, element, part);
            defined ? define(draft, value) : use(draft, value);
            draft.list.push_back(value);
        };
        if (operand.kind == Kind::vector)
            for (const Operand &element : operand.elements)
                one(element);
        else
            one(operand);
    };
    auto shape = [&]() -> std::uint32_t { // rows << 16 | columns of the fragment this wmma names
        struct Row {
            std::string_view name;
            unsigned m, n, k;
        };
        static constexpr Row rows[] = {{"m16n16k16", 16, 16, 16}, {"m8n32k16", 8, 32, 16},
                                       {"m32n8k16", 32, 8, 16},   {"m16n16k8", 16, 16, 8},
                                       {"m8n8k4", 8, 8, 4},       {"m8n8k32", 8, 8, 32},
                                       {"m8n8k128", 8, 8, 128}};
        for (const Row &row : rows)
            if (in.has(row.name))
                return in.has("a")   ? row.m << 16 | row.k
                       : in.has("b") ? row.k << 16 | row.n
                                     : row.m << 16 | row.n;
        not_implemented(in);
    };
    if (in.opcode == "mma" || (in.opcode == "wmma" && in.has("mma"))) {
        for (std::size_t i = 0; i < in.operands.size(); ++i)
            take(in.operands[i], i == 0);
        draft.op.immediate = in.opcode == "wmma" ? wmma_form(in) : is_rare_mma(in) ? rare_mma_form(in) : 0;
        if (in.opcode == "wmma")
            draft.op.c = shape(), draft.raw_c = true;
    } else if (in.opcode == "movmatrix") {
        draft.op.a = source(frame, in, in.operands.at(1), Type::b32);
        use(draft, draft.op.a);
        draft.op.dst = result(frame, in, in.operands.at(0), false);
        define(draft, draft.op.dst);
    } else {
        bool loads = in.opcode == "ldmatrix" || in.has("load");
        set_address(frame, in, in.operands.at(loads ? 1 : 0), space_of(in), draft);
        take(in.operands.at(loads ? 0 : 1), loads);
        if (in.opcode == "wmma") {
            draft.op.c = shape();
            draft.raw_c = true;
            if (in.operands.size() > 2) {
                draft.op.b = source(frame, in, in.operands[2], Type::u32);
                draft.op.flags |= has_predicate;
                use(draft, draft.op.b);
            }
        }
    }
    emit(frame, in, std::move(draft));
}

} // namespace soft
