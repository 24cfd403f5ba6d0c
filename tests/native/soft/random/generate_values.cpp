// What is computed: operands, and operations on them.
#include "generator.hpp"

namespace random_program {

u64 Generator::edge(char type) {
    static constexpr u64 edges[] = {
        0,          1,          2,          3,          4,          5,          7,          8,
        12,         16,         24,         31,         32,         33,         63,         64,
        100,        127,        128,        255,        256,        1000,       1024,       4095,
        0x7fff,     0x8000,     0xffff,     0x10000,    0x7ffffff0, 0x7fffffff, 0x80000000, 0x80000001,
        0xfffffff0, 0xffffffe0, 0xffffffff, 0xfffffffe, 0x0f0f0f0f, 0x3f800000};
    u64 x = one_in(4) ? random_() : one_in(2) ? edges[below(16)] : edges[below(std::size(edges))];
    if (type == 'd' && one_in(3))
        x = one_in(2) ? static_cast<u64>(static_cast<s64>(static_cast<s32>(x))) : x << 32;
    return x;
}

Operand Generator::source(char type) {
    if (type == 'p')
        return reg('p', to(free_p));
    if (type >= 'a' && one_in(4))
        return constant(type, edge(type));
    type |= 'a' - 'A';
    if (type == 'h')
        return reg('h', to(free_h));
    if (type == 'd') {
        const Operand *seen = one_in(2) ? last_fresh(type) : nullptr;
        return seen != nullptr ? *seen : reg('d', to(free_d));
    }
    if (uniform_only_)
        return reg('r', r_uniform + to(3));
    if (const Operand *seen = one_in(2) ? last_fresh(type) : nullptr)
        return *seen;
    const bool fixed = affine_ ? !one_in(3) : one_in(3);
    return fixed ? reg('r', pick({static_cast<int>(r_counter), r_counter + 1, static_cast<int>(r_uniform),
                                  r_uniform + 1, r_uniform + 2, static_cast<int>(r_thread),
                                  static_cast<int>(r_lane), static_cast<int>(r_thread)}))
                 : reg('r', to(free_r));
}

/// One of the last of that class that may be read here, or none.
const Operand *Generator::last_fresh(char type) {
    std::vector<const Operand *> found;
    for (auto each = fresh_.rbegin(); each != fresh_.rend() && found.size() < 6; ++each)
        if (each->type == type)
            found.push_back(&*each);
    return found.empty() ? nullptr : found[below(found.size())];
}

Operand Generator::fresh(char type) {
    int &next = next_fresh_[type == 'd'];
    if (uniform_only_ || (type != 'r' && type != 'd') || next == registers ||
        !(affine_ ? one_in(2) : one_in(5)))
        return result(type);
    return reg(type, next++);
}

/// From here on it may be read, if it is a fresh one.
void Generator::let_see(const Operand &written) {
    if (written.index >= first_fresh)
        fresh_.push_back(written);
}

Operand Generator::result(char type) {
    return type == 'p'   ? reg('p', to(free_p))
           : type == 'h' ? reg('h', to(free_h))
           : type == 'd' ? reg('d', to(free_d))
                         : reg('r', uniform_only_ ? r_uniform + to(3) : to(free_r));
}

Instruction Generator::make_instruction(Kind kind, const std::string &text, std::vector<Operand> operands,
                                        int results) {
    Instruction in;
    in.kind = kind;
    in.text = text;
    in.operands = std::move(operands);
    in.results = results;
    return in;
}

Instruction Generator::compute(const std::string &text, std::vector<Operand> operands,
                               std::function<u64(const u64 *)> f) {
    Instruction in = make_instruction(Kind::compute, text, std::move(operands), 1);
    in.evaluate = [f = std::move(f)](const u64 *x, u64 *out) { out[0] = f(x); };
    return in;
}

void Generator::computed(std::vector<Instruction> &code, const Operation &operation) {
    Instruction in = make_instruction(Kind::compute, operation.text, {}, operation.results);
    in.evaluate = operation.evaluate;
    for (std::size_t i = 0; i < operation.kinds.size(); ++i) {
        const char kind = operation.kinds[i];
        if (i < static_cast<std::size_t>(operation.results)) {
            Operand to = operation.results == 1 ? fresh(kind) : result(kind);
            if (i == 1)
                while (to.type == in.operands[0].type && to.index == in.operands[0].index)
                    to = result(kind);
            in.operands.push_back(to);
        } else if (kind == 'n') {
            static constexpr u64 divisors[] = {1, 2, 3, 4, 5, 7, 8, 10, 16, 24, 32, 100, 127, 1024, 10000};
            in.operands.push_back(constant(operation.kinds[0], divisors[below(std::size(divisors))]));
        } else if (std::string_view("fgxy").find(kind) != std::string_view::npos) {
            in.operands.push_back(finite(code, kind));
        } else {
            in.operands.push_back(source(kind));
        }
    }
    if (in.operands[0].index < first_fresh)
        guard(in);
    let_see(in.operands[0]);
    code.push_back(std::move(in));
}

Operand Generator::finite(std::vector<Instruction> &code, char kind) {
    const char type = kind == 'g' ? 'd' : kind == 'y' ? 'h' : 'r';
    const u64 mask = kind == 'f'   ? 0xbfffffff
                     : kind == 'g' ? 0xbfffffffffffffff
                     : kind == 'x' ? 0xbbffbbff
                                   : 0xbbff;
    const Operand to = type == 'd'   ? reg('d', wide_temp())
                       : type == 'h' ? reg('h', h_temp + static_cast<int>(next_temp_++ % 4))
                                     : reg('r', temp());
    code.push_back(compute(type == 'd'   ? "and.b64 $0, $1, $2;"
                           : type == 'h' ? "and.b16 $0, $1, $2;"
                                         : "and.b32 $0, $1, $2;",
                           {to, source(type), constant(type, mask)},
                           [](const u64 *x) { return x[0] & x[1]; }));
    return to;
}

void Generator::guard(Instruction &in) {
    if (!uniform_only_ && one_in(guards_)) {
        in.guard = to(free_p);
        in.guard_negated = one_in(2);
    }
}

void Generator::computed(std::vector<Instruction> &code) {
    static const std::vector<const Operation *> common = [] {
        std::vector<const Operation *> all;
        for (const Operation &row : operations())
            for (const char *name : {"add.s", "sub.s", "shl.b", "shr.", "mul.lo.s", "mad.lo.s", "mul.wide",
                                     "mad.wide.", "cvt.u64.u32", "cvt.s64.s32", "cvt.u32.u64", "and.b",
                                     "or.b", "selp", "mov.b32", "mov.b64", "setp.lt.s32", "setp.eq.s32"})
                if (row.text.starts_with(name) && row.text.find("16") == std::string::npos)
                    all.push_back(&row);
        return all;
    }();
    auto any = [&] {
        const bool simple = affine_ ? !one_in(6) : one_in(2);
        return simple ? common[below(common.size())] : &operations()[below(operations().size())];
    };
    const Operation *row = any();
    while (uniform_only_ && (row->kinds[0] != 'r' || row->results != 1 ||
                             row->kinds.find_first_not_of("rRfn") != std::string::npos))
        row = any();
    computed(code, *row);
}

Operand Generator::condition(std::vector<Instruction> &code) {
    if (one_in(3))
        return reg('p', to(free_p));
    const auto &rows = operations_of('p');
    const Operation *row;
    do
        row = rows[below(rows.size())];
    while (row->results != 1);
    const int bits = pick({1, 3, 7, 16, 24});
    const Operand part = reg('r', temp()), to_ = reg('p', to(free_p));
    if (one_in(2)) {
        code.push_back(compute("and.b32 $0, $1, $2;",
                               {part, source('r'), constant('r', static_cast<u64>(bits))},
                               [](const u64 *x) { return x[0] & x[1]; }));
        code.push_back(compute("setp.eq.s32 $0, $1, $2;",
                               {to_, part, constant('r', below(static_cast<u64>(bits) + 1))},
                               [](const u64 *x) -> u64 { return x[0] == x[1]; }));
        return to_;
    }
    const auto before = guards_;
    guards_ = 1u << 30;
    computed(code, *row);
    guards_ = before;
    return code.back().operands[0];
}

Operand Generator::uniform_condition(std::vector<Instruction> &code) {
    const Operand part = reg('r', temp()), to_ = reg('p', p_temp + 2);
    code.push_back(compute("and.b32 $0, $1, $2;", {part, reg('r', r_uniform + to(3)), constant('r', 3)},
                           [](const u64 *x) { return x[0] & x[1]; }));
    code.push_back(compute("setp.ne.s32 $0, $1, $2;", {to_, part, constant('r', below(4))},
                           [](const u64 *x) -> u64 { return x[0] != x[1]; }));
    return to_;
}

void Generator::and_into(std::vector<Instruction> &code, Operand to, Operand from, u64 mask) {
    code.push_back(compute("and.b32 $0, $1, $2;", {to, from, constant('r', mask)},
                           [](const u64 *x) { return x[0] & x[1]; }));
}

Instruction Generator::parameter(const std::string &text, Operand to, int which) {
    return make_instruction(Kind::parameter, text, {to, {Operand::Kind::special, 'r', which, 0}}, 1);
}

Instruction Generator::special(Operand to, Special which) {
    return make_instruction(Kind::special, "mov.u32 $0, $1;",
                            {to, {Operand::Kind::special, 'r', static_cast<int>(which), 0}}, 1);
}

} // namespace random_program
