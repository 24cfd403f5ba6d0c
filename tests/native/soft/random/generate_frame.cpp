// How kernels and functions begin, and what kernels leave for those who compare.
#include "generator.hpp"

namespace random_program {

void Generator::make_function() {
    in_kernel_ = false;
    left_ = 4 + below(4);
    Function function;
    std::vector<Instruction> code;
    for (int i = 0; i < 2; ++i)
        code.push_back(parameter("ld.param.b32 $0, [a" + std::to_string(i) + "];", reg('r', i), i));
    code.push_back(parameter("ld.param.b64 $0, [a2];", reg('d', d_input), 2));
    for (int i = 2; i < r_mask; ++i)
        code.push_back(compute("mov.b32 $0, $1;",
                               {reg('r', i), one_in(2) ? reg('r', to(2)) : constant('r', edge('r'))},
                               [](const u64 *x) { return x[0]; }));
    start_others(code);
    function.body.push_back(plain(code));
    Place place;
    for (Statement &made : body(place, 3))
        function.body.push_back(std::move(made));
    program_.functions.push_back(std::move(function));
}

void Generator::start_others(std::vector<Instruction> &code) {
    for (int i = 0; i < free_d; ++i)
        code.push_back(compute("cvt.s64.s32 $0, $1;", {reg('d', i), reg('r', to(free_r))}, [](const u64 *x) {
            return static_cast<u64>(static_cast<s64>(static_cast<s32>(x[0])));
        }));
    for (int i = 0; i < free_h; ++i)
        code.push_back(compute("cvt.u16.u32 $0, $1;", {reg('h', i), reg('r', to(free_r))},
                               [](const u64 *x) { return x[0]; }));
    for (int i = 0; i < free_p; ++i)
        code.push_back(
            compute("setp.lt.s32 $0, $1, $2;", {reg('p', i), reg('r', to(free_r)), reg('r', to(free_r))},
                    [](const u64 *x) -> u64 { return static_cast<s32>(x[0]) < static_cast<s32>(x[1]); }));
}

void Generator::begin() {
    std::vector<Instruction> code;
    const auto before = guards_;
    guards_ = 1u << 30;
    const Operand block = reg('r', temp()), y = reg('r', temp()), width = reg('r', temp()),
                  thread = reg('r', r_thread);
    code.push_back(
        parameter("ld.param.u64 $0, [input];", reg('d', d_input), static_cast<int>(Parameter::input)));
    code.push_back(
        parameter("ld.param.u64 $0, [common];", reg('d', d_common), static_cast<int>(Parameter::common)));
    code.push_back(parameter("ld.param.u64 $0, [bad];", reg('d', d_bad), static_cast<int>(Parameter::bad)));
    code.push_back(
        parameter("ld.param.u64 $0, [output];", reg('d', d_block), static_cast<int>(Parameter::output)));
    code.push_back(special(block, Special::ctaid_x));
    code.push_back(special(y, Special::ctaid_y));
    code.push_back(special(width, Special::nctaid_x));
    auto mad = [&](Operand to, Operand a, Operand b, Operand c) {
        code.push_back(compute("mad.lo.s32 $0, $1, $2, $3;", {to, a, b, c},
                               [](const u64 *x) { return x[0] * x[1] + x[2]; }));
    };
    mad(block, y, width, block);
    const Places places(program_.shape.threads());
    code.push_back(compute("mad.wide.u32 $0, $1, $2, $3;",
                           {reg('d', d_block), block, constant('r', places.block_bytes), reg('d', d_block)},
                           [](const u64 *x) { return x[0] * x[1] + x[2]; }));
    code.push_back(special(thread, Special::tid_x));
    if (program_.shape.threads() != program_.shape.block[0]) {
        const Operand z = reg('r', temp()), of_y = reg('r', temp()), of_x = reg('r', temp()),
                      row = reg('r', temp());
        code.push_back(special(row, Special::tid_y));
        code.push_back(special(z, Special::tid_z));
        code.push_back(special(of_y, Special::ntid_y));
        code.push_back(special(of_x, Special::ntid_x));
        mad(row, z, of_y, row);
        mad(thread, row, of_x, thread);
    }
    code.push_back(special(reg('r', r_lane), Special::laneid));
    code.push_back(special(reg('r', 0), Special::tid_x));
    code.push_back(special(reg('r', 1), pick({Special::tid_y, Special::ntid_x, Special::ctaid_x})));
    code.push_back(
        parameter("ld.param.u32 $0, [first];", reg('r', r_uniform), static_cast<int>(Parameter::first)));
    code.push_back(parameter("ld.param.u32 $0, [second];", reg('r', r_uniform + 1),
                             static_cast<int>(Parameter::second)));
    code.push_back(
        special(reg('r', r_uniform + 2), pick({Special::ctaid_x, Special::ntid_x, Special::nctaid_x})));
    Address address;
    address.at = scaled(code, reg('d', d_input), thread, 16, address.offset);
    for (int i = 0; i < 4; ++i) {
        if (affine_ && i < 3) { // little is another for each lane
            code.push_back(
                compute("add.s32 $0, $1, $2;",
                        {reg('r', 2 + i),
                         reg('r', pick({0, 1, static_cast<int>(r_thread), static_cast<int>(r_uniform)})),
                         constant('r', edge('r'))},
                        [](const u64 *x) { return x[0] + x[1]; }));
            continue;
        }
        Instruction in = access(address, true, {"b32", 'r', 4, 1, false});
        in.operands[0] = reg('r', 2 + i);
        code.push_back(in);
        address.offset += 4;
    }
    for (int i = 6; i < r_uniform; ++i)
        code.push_back(
            compute("mov.b32 $0, $1;",
                    {reg('r', i), one_in(2) ? constant('r', edge('r')) : reg('r', r_uniform + to(3))},
                    [](const u64 *x) { return x[0]; }));
    start_others(code);
    who_is_there(code);
    if (program_.shared)
        fill_shared(code);
    if (program_.local)
        for (int i = 0; i < static_cast<int>(local_bytes); i += 16) {
            Address mine;
            mine.space = Space::local;
            mine.at = base_of(code, Space::local, "mine", 0, false);
            mine.offset = i;
            code.push_back(access(mine, false, {"b32", 'r', 4, 4, false}));
        }
    guards_ = before;
    program_.kernel.body.push_back(plain(code));
}

void Generator::who_is_there(std::vector<Instruction> &code) {
    const Operand first = reg('r', temp()), left = reg('r', temp()), mask = reg('r', r_mask);
    code.push_back(compute("sub.s32 $0, $1, $2;", {first, reg('r', r_thread), reg('r', r_lane)},
                           [](const u64 *x) { return x[0] - x[1]; }));
    code.push_back(compute("sub.s32 $0, $1, $2;", {left, constant('r', program_.shape.threads()), first},
                           [](const u64 *x) { return x[0] - x[1]; }));
    code.push_back(compute("shl.b32 $0, 1, $1;", {mask, left},
                           [](const u64 *x) { return x[0] >= 32 ? 0 : 1ull << x[0]; }));
    code.push_back(compute("add.s32 $0, $1, -1;", {mask, mask}, [](const u64 *x) { return x[0] - 1; }));
}

void Generator::fill_shared(std::vector<Instruction> &code) {
    Address mine;
    mine.space = Space::shared;
    mine.at =
        scaled(code, base_of(code, Space::shared, "own", 0, false), reg('r', r_thread), 32, mine.offset);
    for (int i = 0; i < 2; ++i) {
        code.push_back(access(mine, false, {"b32", 'r', 4, 4, false}));
        mine.offset += 16;
    }
    Address sums; // all write the same
    sums.space = Space::shared;
    sums.at = base_of(code, Space::shared, "own", 0, false);
    code.push_back(compute("mov.b64 $0, $1;", {reg('d', d_temp + 9), constant('d', 0)},
                           [](const u64 *x) { return x[0]; }));
    for (int i = 0; i < 2; ++i) {
        sums.offset = static_cast<int>(program_.shape.threads() * 32) + 16 * i;
        Instruction in = access(sums, false, {"b64", 'd', 8, 2, false});
        in.operands[1] = in.operands[2] = reg('d', d_temp + 9);
        code.push_back(in);
    }
    hand_over(code);
}

void Generator::finish() {
    std::vector<Instruction> code;
    guards_ = 1u << 30;
    Address last;
    const Places places(program_.shape.threads());
    last.offset = static_cast<int>(places.last);
    last.at = scaled(code, reg('d', d_block), reg('r', r_thread), last_bytes, last.offset);
    auto put = [&](const Width &wanted, std::vector<Operand> what) {
        Instruction in = access(last, false, wanted);
        std::copy(what.begin(), what.end(), in.operands.begin() + 1);
        code.push_back(in);
        last.offset += wanted.bytes * wanted.count;
    };
    for (int i = 0; i < free_r; i += 4)
        put({"b32", 'r', 4, 4, false}, {reg('r', i), reg('r', i + 1), reg('r', i + 2), reg('r', i + 3)});
    for (int i = 0; i < free_d; i += 2)
        put({"b64", 'd', 8, 2, false}, {reg('d', i), reg('d', i + 1)});
    put({"b16", 'h', 2, 4, false}, {reg('h', 0), reg('h', 1), reg('h', 2), reg('h', 3)});
    const Operand all = reg('r', temp());
    code.push_back(compute("mov.b32 $0, $1;", {all, constant('r', 0)}, [](const u64 *x) { return x[0]; }));
    for (int i = 0; i < free_p; ++i) {
        Instruction in = compute("or.b32 $0, $1, $2;", {all, all, constant('r', 1ull << i)},
                                 [](const u64 *x) { return x[0] | x[1]; });
        in.guard = i;
        code.push_back(in);
    }
    put({"b32", 'r', 4, 1, false}, {all});
    if (program_.shared && atomics_) {
        code.push_back(barrier());
        const Operand part = reg('r', temp()), sum = reg('r', temp());
        and_into(code, part, reg('r', r_thread), 7);
        Address sums;
        sums.space = Space::shared;
        sums.offset = static_cast<int>(program_.shape.threads() * 32);
        sums.at = scaled(code, base_of(code, Space::shared, "own", 0, false), part, 4, sums.offset);
        Instruction in = access(sums, true, {"b32", 'r', 4, 1, false});
        in.operands[0] = sum;
        code.push_back(in);
        put({"b32", 'r', 4, 1, false}, {sum});
    }
    program_.kernel.body.push_back(plain(code));
}

} // namespace random_program
