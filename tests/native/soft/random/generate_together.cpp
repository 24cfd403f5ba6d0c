// What the lanes of a warp and the threads of a block do together.
#include "generator.hpp"

namespace random_program {

void Generator::collective(std::vector<Instruction> &code) {
    const Operand mask = mask_here();
    auto put = [&](Kind kind, const std::string &mode, const std::string &name, std::vector<Operand> operands,
                   int results) {
        std::string text = name + " $0";
        for (std::size_t i = 1; i < operands.size(); ++i)
            text += (static_cast<int>(i) < results ? "|$" : ", $") + std::to_string(i);
        Instruction in = make_instruction(kind, text + ";", std::move(operands), results);
        in.mode = mode;
        code.push_back(std::move(in));
    };
    Operand p;
    switch (to(8)) {
    case 0:
        return put(Kind::vote, "ballot", "vote.sync.ballot.b32", {result('r'), source('p'), mask}, 1);
    case 1: {
        const std::string mode = pick({"all", "any", "uni"});
        return put(Kind::vote, mode, "vote.sync." + mode + ".pred", {result('p'), source('p'), mask}, 1);
    }
    case 2:
        return put(Kind::match, "any", "match.any.sync.b32", {result('r'), source('R'), mask}, 1);
    case 3:
        return put(Kind::match, "all", "match.all.sync.b64", {result('r'), result('p'), source('D'), mask},
                   2);
    case 4: {
        const std::string mode =
            pick({"add.u32", "min.s32", "max.u32", "and.b32", "or.b32", "xor.b32", "max.s32", "min.u32"});
        return put(Kind::reduce, mode, "redux.sync." + mode, {result('r'), source('R'), mask}, 1);
    }
    default:
        shuffle(code);
    }
}

void Generator::shuffle(std::vector<Instruction> &code) {
    const std::string mode = pick({"up", "down", "bfly", "idx"});
    Operand distance = constant('r', pick<u64>({1, 2, 4, 8, 16, 0, 3, 31, 5}));
    if (one_in(3)) {
        distance = reg('r', temp());
        and_into(code, distance, source('r'), 31);
    }
    const Operand raw = reg('r', temp()), inside = reg('p', one_in(2) ? to(free_p) : p_temp),
                  from = reg('r', temp());
    const u64 clamp = mode == "up" ? 0 : 31;
    Instruction in =
        make_instruction(Kind::shuffle, "shfl.sync." + mode + ".b32 $0|$1, $2, $3, $4, $5;",
                         {raw, inside, source('R'), distance, constant('r', clamp), mask_here()}, 2);
    in.mode = mode;
    code.push_back(std::move(in));
    const Operand lane = reg('r', r_lane);
    if (mode == "idx")
        code.push_back(compute("mov.b32 $0, $1;", {from, distance}, [](const u64 *x) { return x[0]; }));
    else if (mode == "bfly")
        code.push_back(
            compute("xor.b32 $0, $1, $2;", {from, lane, distance}, [](const u64 *x) { return x[0] ^ x[1]; }));
    else if (mode == "up")
        code.push_back(
            compute("sub.s32 $0, $1, $2;", {from, lane, distance}, [](const u64 *x) { return x[0] - x[1]; }));
    else
        code.push_back(
            compute("add.s32 $0, $1, $2;", {from, lane, distance}, [](const u64 *x) { return x[0] + x[1]; }));
    and_into(code, from, from, 31);
    code.push_back(
        compute("shr.u32 $0, $1, $2;", {from, mask_here(), from}, [](const u64 *x) { return x[0] >> x[1]; }));
    and_into(code, from, from, 1);
    const Operand here = reg('p', p_temp + 1);
    code.push_back(
        compute("setp.ne.s32 $0, $1, 0;", {here, from}, [](const u64 *x) -> u64 { return x[0] != 0; }));
    code.push_back(compute("selp.b32 $0, $1, $2, $3;", {result('r'), raw, constant('r', 0x5a5a), here},
                           [](const u64 *x) { return x[2] ? x[0] : x[1]; }));
}

Instruction Generator::barrier() {
    return make_instruction(Kind::barrier, pick({"bar.sync 0;", "barrier.sync 0;", "bar.sync 0;"}), {}, 0);
}

void Generator::reduce_block(std::vector<Instruction> &code) {
    const std::string mode = pick({"and", "or", "popc"});
    Instruction in = make_instruction(Kind::barrier_reduce,
                                      "bar.red." + mode + (mode == "popc" ? ".u32" : ".pred") + " $0, 0, $1;",
                                      {mode == "popc" ? result('r') : result('p'), source('p')}, 1);
    in.mode = mode;
    code.push_back(std::move(in));
}

void Generator::hand_over(std::vector<Instruction> &code) {
    code.push_back(barrier());
    Address address;
    address.space = Space::shared;
    const Operand base =
        base_of(code, Space::shared, "handed", static_cast<int>(program_.shape.threads() * 32 + 64), false);
    address.at = scaled(code, base, reg('r', r_thread), exchange_bytes, address.offset);
    const auto before = guards_;
    guards_ = 1u << 30;
    code.push_back(access(address, false, {"b32", 'r', 4, 4, false}));
    guards_ = before;
    code.push_back(barrier());
}

} // namespace random_program
