// From statements to instructions one after the other, and to PTX.
#include "language.hpp"

#include <string_view>

namespace random_program {

namespace {

using Kind = Instruction::Kind;

/// The place of a statement: which loops and masks are about it.
struct Context {
    int masks = 0;     // the register that holds who is here
    int loops = 0;     // counters in use
    bool known = true; // that register is right here
    bool tangled = false;
    struct Loop {
        int end, next, mask;
        bool masked, uniform;
    };
    std::vector<Loop> around;
};

class Flattener {
  public:
    Flattener(Function &function, bool is_kernel) : function_(function), is_kernel_(is_kernel) {}

    void run() {
        function_.code.clear();
        body(function_.body, {});
        Instruction in = leave();
        function_.code.push_back(in);
    }

  private:
    void emit(Instruction in, const Context &context) {
        for (Operand &operand : in.operands)
            if (operand.kind == Operand::Kind::mask)
                operand = reg('r', r_mask + context.masks);
        function_.code.push_back(std::move(in));
    }
    Instruction &compute(const std::string &text, std::vector<Operand> operands, Evaluate evaluate) {
        Instruction in;
        in.text = text;
        in.operands = std::move(operands);
        in.evaluate = std::move(evaluate);
        function_.code.push_back(std::move(in));
        return function_.code.back();
    }
    void label(int number) {
        Instruction in;
        in.kind = Kind::label;
        in.label = number;
        in.text = "$L:";
        function_.code.push_back(std::move(in));
    }
    void branch(int to, int guard = -1, bool negated = false) {
        Instruction in;
        in.kind = Kind::branch;
        in.label = to;
        in.guard = guard;
        in.guard_negated = negated;
        in.text = "bra $L;";
        function_.code.push_back(std::move(in));
    }
    void move(int to, Operand from) {
        compute("mov.b32 $0, $1;", {reg('r', to), from}, [](const u64 *x, u64 *out) { out[0] = x[0]; });
    }
    /// Who of `from` holds (not) the predicate.
    void ballot(int to, int from, Operand predicate, bool negated) {
        Operand p = predicate;
        if (negated) {
            p = reg('p', p_temp + 1);
            compute("not.pred $0, $1;", {p, predicate}, [](const u64 *x, u64 *out) { out[0] = x[0] ^ 1; });
        }
        Instruction in;
        in.kind = Kind::vote;
        in.mode = "ballot";
        in.text = "vote.sync.ballot.b32 $0, $1, $2;";
        in.operands = {reg('r', to), p, reg('r', from)};
        function_.code.push_back(std::move(in));
    }
    Instruction leave() const {
        Instruction in;
        in.kind = Kind::leave;
        in.results = 0;
        if (!is_kernel_)
            in.operands = {reg('r', 0)};
        in.text = is_kernel_ ? "ret;" : "st.param.b32 [result], $0; ret;";
        return in;
    }
    /// Those who are left here, after some may have ended.
    void count_the_rest(const Context &context) {
        if (!is_kernel_ || !context.known)
            return;
        const Operand yes = reg('p', p_temp + 1);
        compute("setp.eq.s32 $0, 0, 0;", {yes}, [](const u64 *, u64 *out) { out[0] = 1; });
        ballot(r_mask + context.masks, r_mask + context.masks, yes, false);
    }

    static bool ends(const std::vector<Statement> &statements) {
        for (const Statement &statement : statements) {
            if (statement.kind == Statement::Kind::end)
                return true;
            for (const auto &inner : statement.bodies)
                if (ends(inner))
                    return true;
        }
        return false;
    }

    void body(const std::vector<Statement> &statements, const Context &context) {
        for (const Statement &statement : statements)
            one(statement, context);
    }
    void one(const Statement &statement, const Context &context) {
        for (const Instruction &in : statement.code)
            emit(in, context);
        switch (statement.kind) {
        case Statement::Kind::plain:
            return;
        case Statement::Kind::choice:
            choice(statement, context);
            break;
        case Statement::Kind::loop:
            loop(statement, context);
            break;
        case Statement::Kind::cases:
            cases(statement, context);
            break;
        case Statement::Kind::tangle:
            tangle(statement, context);
            break;
        case Statement::Kind::leave_loop:
        case Statement::Kind::next_turn:
            return leave_loop(statement, context);
        case Statement::Kind::end:
            return end(statement, context);
        }
        for (const auto &inner : statement.bodies)
            if (ends(inner))
                return count_the_rest(context);
    }

    static Context inside(const Statement &statement, const Context &context) {
        Context inner = context;
        inner.known = context.known && (statement.masked || statement.uniform);
        return inner;
    }

    void choice(const Statement &statement, const Context &context) {
        const int p = statement.condition.index, other = labels_++, after = labels_++;
        Context inner = inside(statement, context);
        if (statement.masked) {
            ++inner.masks;
            ballot(r_mask + inner.masks, r_mask + context.masks, statement.condition, statement.negated);
        }
        const bool both = statement.bodies.size() > 1 && !statement.bodies[1].empty();
        branch(both ? other : after, p, !statement.negated);
        body(statement.bodies[0], inner);
        if (both) {
            branch(after);
            label(other);
            if (statement.masked)
                compute("lop3.b32 $0, $1, $2, $2, 0x30;",
                        {reg('r', r_mask + inner.masks), reg('r', r_mask + context.masks),
                         reg('r', r_mask + inner.masks)},
                        [](const u64 *x, u64 *out) { out[0] = x[0] & ~x[1]; });
            body(statement.bodies[1], inner);
        }
        label(after);
    }

    void loop(const Statement &statement, const Context &context) {
        const int top = labels_++, next = labels_++, end = labels_++;
        const int counter = r_counter + context.loops, p = p_loop + context.loops;
        Context inner = inside(statement, context);
        ++inner.loops;
        if (statement.masked)
            move(r_mask + ++inner.masks, reg('r', r_mask + context.masks));
        inner.around.push_back({end, next, inner.masks, statement.masked, statement.uniform});
        auto decide = [&](const char *text, bool (*holds)(s32, s32), bool goes_on, int to) {
            compute(text, {reg('p', p), reg('r', counter), statement.condition}, [=](const u64 *x, u64 *out) {
                out[0] = holds(static_cast<s32>(x[0]), static_cast<s32>(x[1]));
            });
            if (statement.masked)
                ballot(r_mask + inner.masks, r_mask + inner.masks, reg('p', p), !goes_on);
            branch(to, p);
        };
        move(counter, constant('r', 0));
        label(top);
        if (!statement.tests_last)
            decide("setp.ge.s32 $0, $1, $2;", [](s32 a, s32 b) { return a >= b; }, false, end);
        body(statement.bodies[0], inner);
        label(next);
        compute("add.s32 $0, $1, $2;",
                {reg('r', counter), reg('r', counter), constant('r', static_cast<u64>(statement.step))},
                [](const u64 *x, u64 *out) { out[0] = x[0] + x[1]; });
        if (statement.tests_last)
            decide("setp.lt.s32 $0, $1, $2;", [](s32 a, s32 b) { return a < b; }, true, top);
        else
            branch(top);
        label(end);
    }

    void cases(const Statement &statement, const Context &context) {
        Instruction in;
        in.kind = Kind::choose;
        in.operands = {statement.condition};
        in.results = 0;
        const int after = labels_++;
        in.text = "WAYS$T: .branchtargets ";
        for (std::size_t i = 0; i < statement.bodies.size(); ++i) {
            in.labels.push_back(labels_++);
            in.text += (i ? ", L" : "L") + std::to_string(in.labels.back());
        }
        in.text += "; brx.idx $0, WAYS$T;";
        function_.code.push_back(in);
        for (std::size_t i = 0; i < statement.bodies.size(); ++i) {
            label(in.labels[i]);
            body(statement.bodies[i], inside(statement, context));
            if (i % 2 == 0) // others fall through to the next
                branch(after);
        }
        label(after);
    }

    /// Ways that are no loops and choices: from each part's end by a predicate to another, while fuel lasts.
    void tangle(const Statement &statement, const Context &context) {
        std::vector<int> parts;
        for (std::size_t i = 0; i < statement.bodies.size(); ++i)
            parts.push_back(labels_++);
        const int after = labels_++;
        Context inner = inside(statement, context);
        inner.tangled = true;
        if (!context.tangled) // one fuel for all, or they would fill each other's
            move(r_fuel, constant('r', 6));
        for (std::size_t i = 0; i < statement.bodies.size(); ++i) {
            label(parts[i]);
            body(statement.bodies[i], inner);
            compute("add.s32 $0, $1, -1;", {reg('r', r_fuel), reg('r', r_fuel)},
                    [](const u64 *x, u64 *out) { out[0] = x[0] - 1; });
            compute("setp.le.s32 $0, $1, 0;", {reg('p', p_temp), reg('r', r_fuel)},
                    [](const u64 *x, u64 *out) { out[0] = static_cast<s32>(x[0]) <= 0; });
            branch(after, p_temp);
            const auto target = static_cast<std::size_t>(statement.jumps[i]) / 2 % parts.size();
            branch(parts[target], static_cast<int>(i) % free_p, statement.jumps[i] % 2 != 0);
        }
        label(after);
    }

    void leave_loop(const Statement &statement, const Context &context) {
        if (context.around.empty()) // it was dropped
            return;
        const auto levels =
            std::min<std::size_t>(static_cast<std::size_t>(statement.levels), context.around.size());
        const Context::Loop &loop = context.around[context.around.size() - levels];
        if (loop.uniform || (loop.masked && (levels > 1 || !context.known || loop.mask != context.masks ||
                                             statement.kind == Statement::Kind::next_turn)))
            return; // what was about it was dropped: nobody would know who is left
        if (loop.masked)
            ballot(r_mask + context.masks, r_mask + context.masks, statement.condition, !statement.negated);
        branch(statement.kind == Statement::Kind::next_turn ? loop.next : loop.end, statement.condition.index,
               statement.negated);
    }

    void end(const Statement &statement, const Context &context) {
        if (is_kernel_ && context.known)
            ballot(r_mask + context.masks, r_mask + context.masks, statement.condition, !statement.negated);
        Instruction in = leave();
        const int after = labels_++;
        if (statement.branches || !is_kernel_) {
            branch(after, statement.condition.index, !statement.negated);
            function_.code.push_back(in);
            label(after);
        } else {
            in.guard = statement.condition.index;
            in.guard_negated = statement.negated;
            if (statement.step > 1)
                in.text = "exit;";
            function_.code.push_back(in);
        }
    }

    Function &function_;
    const bool is_kernel_;
    int labels_ = 0;
};

std::string name_of(const Operand &operand) {
    static const char *const specials[] = {"%tid.x",  "%tid.y",   "%tid.z",   "%ntid.x",   "%ntid.y",
                                           "%ntid.z", "%ctaid.x", "%ctaid.y", "%nctaid.x", "%laneid"};
    if (operand.kind == Operand::Kind::reg)
        return std::string("%") + operand.type + std::to_string(operand.index);
    if (operand.kind == Operand::Kind::special)
        return specials[operand.index];
    const u64 bits = operand.type == 'r'   ? operand.bits & 0xffffffff
                     : operand.type == 'h' ? operand.bits & 0xffff
                                           : operand.bits;
    const auto number = static_cast<s64>(
        operand.type == 'r' ? static_cast<u64>(static_cast<s64>(static_cast<s32>(bits))) : bits);
    return number < 4096 && number > -4096 ? std::to_string(number)
                                           : std::to_string(bits) + (operand.type == 'd' ? "U" : "");
}

std::string text_of(const Instruction &in, int place) {
    const std::string guard = in.guard < 0 ? ""
                                           : std::string("@") + (in.guard_negated ? "!" : "") + "%p" +
                                                 std::to_string(in.guard) + " ";
    std::string text = guard;
    for (std::size_t i = 0; i < in.text.size(); ++i) {
        if (in.text[i] != '$') {
            text += in.text[i];
            continue;
        }
        const char what = in.text[++i];
        text += what == 'L'   ? "L" + std::to_string(in.label)
                : what == 'T' ? std::to_string(place)
                : what == 'G' ? guard
                              : name_of(in.operands.at(static_cast<std::size_t>(what - '0')));
    }
    return text + "\n";
}

} // namespace

void flatten(Program &program) {
    std::string &text = program.text;
    text = ".version 8.4\n.target sm_80\n.address_size 64\n";
    int line = 4;
    auto body = [&](Function &function) {
        std::string all = "{\n.reg .b32 %r<160>; .reg .b64 %d<160>; .reg .b16 %h<48>; .reg .pred %p<48>;\n";
        line += 2;
        int place = 0;
        for (Instruction &in : function.code) {
            in.line = line++;
            all += text_of(in, place++);
        }
        line += 1;
        return all + "}\n";
    };
    for (std::size_t i = 0; i < program.functions.size(); ++i) {
        Flattener(program.functions[i], false).run();
        text += ".func (.param .b32 result) f" + std::to_string(i) +
                "(.param .b32 a0, .param .b32 a1, .param .b64 a2)\n";
        ++line;
        text += body(program.functions[i]);
    }
    Flattener(program.kernel, true).run();
    if (program.shared) {
        text += ".shared .align 16 .b8 own[" + std::to_string(program.shape.threads() * 32 + 64) + "];\n";
        text += ".shared .align 16 .b8 handed[" + std::to_string(program.shape.threads() * exchange_bytes) +
                "];\n";
        line += 2;
    }
    text += ".visible .entry k(.param .u64 output, .param .u64 input, .param .u64 common, .param .u64 bad, "
            ".param .u32 first, .param .u32 second)\n";
    ++line;
    if (program.local) {
        std::string kernel = body(program.kernel);
        const std::string declared = ".local .align 16 .b8 mine[" + std::to_string(local_bytes) + "]; ";
        text += kernel.insert(2, declared);
        return;
    }
    text += body(program.kernel);
}

} // namespace random_program
