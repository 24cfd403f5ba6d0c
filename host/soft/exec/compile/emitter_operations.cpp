// The operations that are written out rather than left to their handlers. Each gives, bit for bit, what
// its handler does.
#include "emitter.hpp"

#include "../control.hpp"
#include "../warp.hpp"

#include <algorithm>
#include <cstddef>
#include <stdexcept>

namespace soft {

using ptx::Instruction;
using ptx::Type;

/// A 32-bit value as one of 64 bits.
Lanes Emitter::extended(std::uint32_t i, std::uint32_t value, bool is_signed) {
    Lanes x = get(value);
    bool by_sign = is_signed;
    if (bases_) {
        const Form &known = form(value);
        const Extension extension = extension_of(known, is_signed);
        by_sign = extension == Extension::exact_signed || extension == Extension::checked_signed;
        auto passes = [&](std::int64_t offset) { // beyond what 32 bits hold, with that offset
            Ref wide = by_sign ? LLVMBuildSExt(builder_, x.value, i64_, "")
                               : LLVMBuildZExt(builder_, x.value, i64_, "");
            Ref sum =
                LLVMBuildAdd(builder_, wide, LLVMConstInt(i64_, static_cast<std::uint64_t>(offset), 1), "");
            Ref low = LLVMBuildTrunc(builder_, sum, i32_, "");
            Ref back =
                by_sign ? LLVMBuildSExt(builder_, low, i64_, "") : LLVMBuildZExt(builder_, low, i64_, "");
            return LLVMBuildICmp(builder_, LLVMIntNE, sum, back, "");
        };
        if (extension == Extension::checked_signed || extension == Extension::checked_unsigned)
            give_up(i, LLVMBuildOr(builder_, passes(known.smallest()), passes(known.largest()), ""));
    }
    TypeRef to = shaped(i64_, x.vector);
    x.value = by_sign ? LLVMBuildSExt(builder_, x.value, to, "") : LLVMBuildZExt(builder_, x.value, to, "");
    return x;
}

void Emitter::extend(std::uint32_t i, bool is_signed) {
    const Op &op = source_.drafts[i].op;
    define(i, op.dst, extended(i, op.a, is_signed));
}

/// A value's low bits, as an integer as wide as the type.
Lanes Emitter::source(std::uint32_t value, Type type) {
    Lanes lanes = get(value);
    const unsigned bits = 8 * ptx::size_of(type), held = values_[value].wide ? 64 : 32;
    if (bits < held)
        lanes.value = LLVMBuildTrunc(builder_, lanes.value, shaped(integer_type(bits), lanes.vector), "");
    return lanes;
}

/// Defines op.dst as an integer or float of any width: extended to its register's.
void Emitter::result(std::uint32_t i, Lanes lanes, bool is_signed) {
    const std::uint32_t to = source_.drafts[i].op.dst;
    const unsigned held = values_[to].wide ? 64 : 32;
    TypeRef type = LLVMTypeOf(lanes.value);
    if (lanes.vector)
        type = LLVMGetElementType(type);
    if (type == f32_ || type == f64_) {
        lanes.value = bits_of(lanes.value, shaped(integer_type(held), lanes.vector));
    } else if (LLVMGetIntTypeWidth(type) < held) {
        TypeRef wanted = shaped(integer_type(held), lanes.vector);
        lanes.value = is_signed ? LLVMBuildSExt(builder_, lanes.value, wanted, "")
                                : LLVMBuildZExt(builder_, lanes.value, wanted, "");
    }
    define(i, to, lanes);
}

void Emitter::integer(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Op &op = source_.drafts[i].op;
    const Type type = in.type();
    const bool is_signed = ptx::is_signed(type);
    const unsigned bits = 8 * ptx::size_of(type);
    LLVMBuilderRef b = builder_;
    const std::string &name = in.opcode;
    Lanes x = source(op.a, type);
    auto finish = [&](Ref value, bool vector) { result(i, {value, vector}); };
    if (name == "not")
        return finish(LLVMBuildNot(b, x.value, ""), x.vector);
    if (name == "neg")
        return finish(LLVMBuildNeg(b, x.value, ""), x.vector);
    TypeRef narrow_type = LLVMTypeOf(x.value);
    if (name == "abs") {
        if (!is_signed)
            return finish(x.value, x.vector);
        Ref negative = LLVMBuildICmp(b, LLVMIntSLT, x.value, number(narrow_type, 0), "");
        return finish(LLVMBuildSelect(b, negative, LLVMBuildNeg(b, x.value, ""), x.value, ""), x.vector);
    }
    if (name == "cnot") {
        Ref zero = LLVMBuildICmp(b, LLVMIntEQ, x.value, number(narrow_type, 0), "");
        return finish(LLVMBuildZExt(b, zero, narrow_type, ""), x.vector);
    }
    if (name == "shl" || name == "shr") {
        Lanes n = get(op.b); // a count of 32 bits; beyond the width everything has been shifted out
        unify({&x, &n});
        TypeRef count_type = LLVMTypeOf(n.value), value_type = LLVMTypeOf(x.value);
        Ref limit = number(count_type, bits - 1);
        Ref beyond = LLVMBuildICmp(b, LLVMIntUGT, n.value, limit, "");
        Ref count = LLVMBuildSelect(b, beyond, limit, n.value, "");
        count = LLVMBuildIntCast2(b, count, value_type, 0, "");
        if (name == "shr" && is_signed)
            return finish(LLVMBuildAShr(b, x.value, count, ""), x.vector);
        Ref shifted =
            name == "shl" ? LLVMBuildShl(b, x.value, count, "") : LLVMBuildLShr(b, x.value, count, "");
        return finish(LLVMBuildSelect(b, beyond, number(value_type, 0), shifted, ""), x.vector);
    }
    Lanes y = source(op.b, type);
    if (bases_ && (name == "or" || name == "xor")) {
        // Bits that only what the lanes add has are in the result's offsets, not in its base.
        auto without_low = [&](Lanes &mask, std::uint32_t other) {
            const unsigned zeros = form(other).zeros;
            const std::uint64_t high = zeros >= bits ? 0 : ~0ull << zeros;
            if (!form(other).uniform() && LLVMIsConstant(mask.value))
                mask.value = LLVMBuildAnd(b, mask.value, number(LLVMTypeOf(mask.value), high), "");
        };
        without_low(y, op.a);
        without_low(x, op.b);
    }
    const bool fused = name == "mad";
    Lanes z;
    if (fused) {
        z = in.has("wide") ? get(op.c) : source(op.c, type);
        if (in.has("wide") && bits == 16 && values_[op.c].wide)
            throw std::logic_error("operand too wide");
        unify({&x, &y, &z});
    } else {
        unify({&x, &y});
    }
    const bool vector = x.vector;
    TypeRef here = LLVMTypeOf(x.value);
    if (name == "mul" || fused) {
        TypeRef wide = shaped(integer_type(2 * bits), vector);
        Ref product;
        if (in.has("wide") || in.has("hi")) {
            auto twice = [&](const Lanes &lanes, std::uint32_t value) {
                if (bases_ && in.has("wide") && bits == 32)
                    return extended(i, value, is_signed).value;
                return is_signed ? LLVMBuildSExt(b, lanes.value, wide, "")
                                 : LLVMBuildZExt(b, lanes.value, wide, "");
            };
            Ref left = twice(x, op.a), right = twice(y, op.b);
            product = LLVMBuildMul(b, left, right, "");
            if (in.has("hi"))
                product = LLVMBuildTrunc(b, LLVMBuildLShr(b, product, number(wide, bits), ""), here, "");
        } else {
            product = LLVMBuildMul(b, x.value, y.value, "");
        }
        return finish(fused ? LLVMBuildAdd(b, product, z.value, "") : product, vector);
    }
    if (name == "add")
        return finish(LLVMBuildAdd(b, x.value, y.value, ""), vector);
    if (name == "sub")
        return finish(LLVMBuildSub(b, x.value, y.value, ""), vector);
    if (name == "and")
        return finish(LLVMBuildAnd(b, x.value, y.value, ""), vector);
    if (name == "or")
        return finish(LLVMBuildOr(b, x.value, y.value, ""), vector);
    if (name == "xor")
        return finish(LLVMBuildXor(b, x.value, y.value, ""), vector);
    const LLVMIntPredicate order =
        name == "min" ? (is_signed ? LLVMIntSLT : LLVMIntULT) : (is_signed ? LLVMIntSGT : LLVMIntUGT);
    Ref first = LLVMBuildICmp(b, order, x.value, y.value, "");
    finish(LLVMBuildSelect(b, first, x.value, y.value, ""), vector);
}

/// div and rem of numbers that all lanes have alike.
void Emitter::divide(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Op &op = source_.drafts[i].op;
    const Type type = in.type();
    LLVMBuilderRef b = builder_;
    const bool is_signed = ptx::is_signed(type), quotient = in.opcode == "div";
    Ref x = source(op.a, type).value, y = source(op.b, type).value;
    TypeRef here = LLVMTypeOf(x);
    Ref ones = LLVMConstAllOnes(here), one = number(here, 1);
    Ref by_zero = LLVMBuildICmp(b, LLVMIntEQ, y, number(here, 0), "");
    Ref negates = is_signed ? LLVMBuildICmp(b, LLVMIntEQ, y, ones, "") : number(i1_, 0);
    Ref divisor = LLVMBuildSelect(b, LLVMBuildOr(b, by_zero, negates, ""), one, y, ""); // none that traps
    Ref r;
    if (quotient) {
        r = is_signed ? LLVMBuildSDiv(b, x, divisor, "") : LLVMBuildUDiv(b, x, divisor, "");
        r = LLVMBuildSelect(b, negates, LLVMBuildNeg(b, x, ""), r, "");
        r = LLVMBuildSelect(b, by_zero, ones, r, "");
    } else {
        r = is_signed ? LLVMBuildSRem(b, x, divisor, "") : LLVMBuildURem(b, x, divisor, "");
        r = LLVMBuildSelect(b, by_zero, x, r, "");
    }
    result(i, {r, false});
}

namespace {

struct Relation {
    std::string_view name;
    LLVMIntPredicate with_sign, without;
    LLVMRealPredicate real;
};
constexpr Relation relations[] = {
    {"eq", LLVMIntEQ, LLVMIntEQ, LLVMRealOEQ},    {"ne", LLVMIntNE, LLVMIntNE, LLVMRealONE},
    {"lt", LLVMIntSLT, LLVMIntULT, LLVMRealOLT},  {"le", LLVMIntSLE, LLVMIntULE, LLVMRealOLE},
    {"gt", LLVMIntSGT, LLVMIntUGT, LLVMRealOGT},  {"ge", LLVMIntSGE, LLVMIntUGE, LLVMRealOGE},
    {"lo", LLVMIntULT, LLVMIntULT, LLVMRealOLT},  {"ls", LLVMIntULE, LLVMIntULE, LLVMRealOLE},
    {"hi", LLVMIntUGT, LLVMIntUGT, LLVMRealOGT},  {"hs", LLVMIntUGE, LLVMIntUGE, LLVMRealOGE},
    {"equ", LLVMIntEQ, LLVMIntEQ, LLVMRealUEQ},   {"neu", LLVMIntNE, LLVMIntNE, LLVMRealUNE},
    {"ltu", LLVMIntSLT, LLVMIntULT, LLVMRealULT}, {"leu", LLVMIntSLE, LLVMIntULE, LLVMRealULE},
    {"gtu", LLVMIntSGT, LLVMIntUGT, LLVMRealUGT}, {"geu", LLVMIntSGE, LLVMIntUGE, LLVMRealUGE},
    {"num", LLVMIntEQ, LLVMIntEQ, LLVMRealORD},   {"nan", LLVMIntNE, LLVMIntNE, LLVMRealUNO},
};

} // namespace

void Emitter::compare(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Op &op = source_.drafts[i].op;
    const Type type = in.type();
    const auto *relation = std::find_if(std::begin(relations), std::end(relations),
                                        [&](const Relation &r) { return r.name == in.modifiers.front(); });
    if (relation == std::end(relations))
        throw std::logic_error("unknown comparison");
    Lanes yes;
    if (ptx::is_float(type)) {
        const bool explicitly = in.has("ftz") && type == Type::f32 && !flushes_;
        Lanes x = flushed(real_source(op.a, type), explicitly),
              y = flushed(real_source(op.b, type), explicitly);
        yes.vector = unify({&x, &y});
        yes.value = LLVMBuildFCmp(builder_, relation->real, x.value, y.value, "");
    } else {
        Lanes x = source(op.a, type), y = source(op.b, type);
        yes.vector = unify({&x, &y});
        yes.value = LLVMBuildICmp(builder_, ptx::is_signed(type) ? relation->with_sign : relation->without,
                                  x.value, y.value, "");
    }
    Lanes no{LLVMBuildNot(builder_, yes.value, ""), yes.vector};
    if (op.flags & has_predicate) {
        Lanes with = get(op.predicate);
        if (op.flags & predicate_negated)
            with.value = LLVMBuildNot(builder_, with.value, "");
        yes.vector = no.vector = unify({&yes, &no, &with});
        auto combined = [&](Ref x) {
            return in.has("and")  ? LLVMBuildAnd(builder_, x, with.value, "")
                   : in.has("or") ? LLVMBuildOr(builder_, x, with.value, "")
                                  : LLVMBuildXor(builder_, x, with.value, "");
        };
        yes.value = combined(yes.value);
        no.value = combined(no.value);
    }
    const bool writes_guard = op.dst == op.guard; // last, then: both results ask it
    if (op.c != 0 && writes_guard)
        define(i, op.c, no);
    define(i, op.dst, yes);
    if (op.c != 0 && !writes_guard)
        define(i, op.c, no);
}

void Emitter::logic(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Op &op = source_.drafts[i].op;
    const bool one = in.opcode == "not" || in.opcode == "mov";
    Lanes x = get(op.a), y = one ? x : get(op.b);
    if (op.flags & a_negated)
        x.value = LLVMBuildNot(builder_, x.value, "");
    if (op.flags & b_negated)
        y.value = LLVMBuildNot(builder_, y.value, "");
    x.vector = unify({&x, &y});
    x.value = in.opcode == "and"   ? LLVMBuildAnd(builder_, x.value, y.value, "")
              : in.opcode == "or"  ? LLVMBuildOr(builder_, x.value, y.value, "")
              : in.opcode == "xor" ? LLVMBuildXor(builder_, x.value, y.value, "")
              : in.opcode == "not" ? LLVMBuildNot(builder_, x.value, "")
                                   : x.value;
    define(i, op.dst, x);
}

Emitter::Ref Emitter::slice(Ref vector, unsigned from, unsigned count) {
    std::vector<Ref> lanes_wanted;
    for (unsigned i = 0; i < count; ++i)
        lanes_wanted.push_back(number(i32_, from + i));
    return LLVMBuildShuffleVector(builder_, vector, LLVMGetUndef(LLVMTypeOf(vector)),
                                  LLVMConstVector(lanes_wanted.data(), count), "");
}

/// Its lanes in another order.
Emitter::Ref Emitter::picked(Ref vector, const std::array<unsigned, lanes> &order) {
    std::array<Ref, lanes> wanted{};
    for (unsigned i = 0; i < lanes; ++i)
        wanted[i] = number(i32_, order[i]);
    return LLVMBuildShuffleVector(builder_, vector, LLVMGetUndef(LLVMTypeOf(vector)),
                                  LLVMConstVector(wanted.data(), lanes), "");
}

/// Vectors of one size, a power of two of them, after one another.
Emitter::Ref Emitter::join(std::vector<Ref> parts) {
    while (parts.size() > 1) {
        std::vector<Ref> pairs;
        for (std::size_t p = 0; p < parts.size(); p += 2) {
            const unsigned count = 2 * LLVMGetVectorSize(LLVMTypeOf(parts[p]));
            std::vector<Ref> all;
            for (unsigned i = 0; i < count; ++i)
                all.push_back(number(i32_, i));
            pairs.push_back(LLVMBuildShuffleVector(builder_, parts[p], parts[p + 1],
                                                   LLVMConstVector(all.data(), count), ""));
        }
        parts = std::move(pairs);
    }
    return parts.front();
}

void Emitter::convert(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Op &op = source_.drafts[i].op;
    const Type to = in.type(1), from = in.type();
    if (to == Type::f16) {
        Lanes x = real_source(op.a, from);
        return result(i, {float_to_half(x), x.vector});
    }
    Lanes x = source(op.a, from);
    if (to == Type::f32) {
        TypeRef wanted = shaped(f32_, x.vector);
        if (from == Type::f16)
            x.value = half_to_float(x);
        else if (from == Type::bf16)
            x.value =
                bits_of(LLVMBuildShl(builder_, LLVMBuildZExt(builder_, x.value, shaped(i32_, x.vector), ""),
                                     number(shaped(i32_, x.vector), 16), ""),
                        wanted);
        else
            x.value = ptx::is_signed(from) ? LLVMBuildSIToFP(builder_, x.value, wanted, "")
                                           : LLVMBuildUIToFP(builder_, x.value, wanted, "");
        return result(i, x);
    }
    if (bases_ && ptx::size_of(to) == 8 && ptx::size_of(from) == 4)
        return result(i, extended(i, op.a, ptx::is_signed(from)));
    TypeRef wanted = shaped(integer_type(8 * ptx::size_of(to)), x.vector);
    x.value = LLVMBuildIntCast2(builder_, x.value, wanted, ptx::is_signed(from), "");
    result(i, x, ptx::is_signed(to)); // a register holds narrow signed integers extended to its width
}

/// Four products of bytes, and a sum.
void Emitter::dot4(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Op &op = source_.drafts[i].op;
    const bool sign_a = in.type(1) == Type::s32, sign_b = in.type() == Type::s32;
    LLVMBuilderRef b = builder_;
    Lanes x = get(op.a), y = get(op.b), z = get(op.c);
    const bool vector = unify({&x, &y, &z});
    if (vector && features_.avx2)
        return result(i, {dot_products(x.value, sign_a, y.value, sign_b, z.value), true});
    Ref sum = z.value;
    TypeRef type = LLVMTypeOf(x.value);
    auto byte = [&](Ref value, bool is_signed, unsigned at) {
        Ref high = LLVMBuildShl(b, value, number(type, 24 - at), "");
        return is_signed ? LLVMBuildAShr(b, high, number(type, 24), "")
                         : LLVMBuildLShr(b, high, number(type, 24), "");
    };
    for (unsigned at = 0; at < 32; at += 8)
        sum = LLVMBuildAdd(b, sum, LLVMBuildMul(b, byte(x.value, sign_a, at), byte(y.value, sign_b, at), ""),
                           "");
    result(i, {sum, vector});
}

/// prmt with a selector that is known: bytes of a and b, or their signs.
void Emitter::permute(std::uint32_t i) {
    const Op &op = source_.drafts[i].op;
    const auto selector = static_cast<std::uint32_t>(values_[op.c].bits);
    LLVMBuilderRef b = builder_;
    Lanes x = get(op.a), y = get(op.b);
    const bool vector = unify({&x, &y});
    const unsigned count = vector ? 4 * lanes : 4;
    TypeRef bytes = LLVMVectorType(i8_, count);
    Ref left = bits_of(x.value, bytes), right = bits_of(y.value, bytes);
    auto picked = [&](Ref from_a, Ref from_b, unsigned spread_only) {
        std::vector<Ref> order;
        for (unsigned k = 0; k < count; ++k) {
            const unsigned choice = (selector >> (4 * (k % 4))) & 0xf, at = choice & 7;
            (void)spread_only;
            order.push_back(number(i32_, k / 4 * 4 + (at & 3) + (at & 4 ? count : 0)));
        }
        return LLVMBuildShuffleVector(b, from_a, from_b, LLVMConstVector(order.data(), count), "");
    };
    Ref chosen = picked(left, right, 0);
    if (selector & 0x8888) {
        Ref signs = LLVMBuildAShr(b, chosen, number(bytes, 7), "");
        std::vector<Ref> order;
        for (unsigned k = 0; k < count; ++k)
            order.push_back(number(i32_, (selector >> (4 * (k % 4))) & 8 ? count + k : k));
        chosen = LLVMBuildShuffleVector(b, chosen, signs, LLVMConstVector(order.data(), count), "");
    }
    result(i, {bits_of(chosen, shaped(i32_, vector)), vector});
}

/// lop3 with its truth table known.
void Emitter::table(std::uint32_t i) {
    const Op &op = source_.drafts[i].op;
    const std::uint64_t truth = values_[op.predicate].bits;
    LLVMBuilderRef b = builder_;
    Lanes x = get(op.a), y = get(op.b), z = get(op.c);
    const bool vector = unify({&x, &y, &z});
    Ref sum = number(LLVMTypeOf(x.value), 0);
    for (unsigned k = 0; k < 8; ++k) {
        if (!((truth >> k) & 1))
            continue;
        Ref p = k & 4 ? x.value : LLVMBuildNot(b, x.value, "");
        Ref q = k & 2 ? y.value : LLVMBuildNot(b, y.value, "");
        Ref r = k & 1 ? z.value : LLVMBuildNot(b, z.value, "");
        sum = LLVMBuildOr(b, sum, LLVMBuildAnd(b, LLVMBuildAnd(b, p, q, ""), r, ""), "");
    }
    result(i, {sum, vector});
}

/// shfl with lane and clamp known: which lane gives to which is known as well.
void Emitter::shuffle(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Op &op = source_.drafts[i].op;
    const auto value = static_cast<int>(values_[op.b].bits & 0x1f), c = static_cast<int>(values_[op.c].bits);
    const int clamp = c & 0x1f, segment_mask = (c >> 8) & 0x1f;
    std::vector<Ref> from_lanes, inside_lanes;
    for (int lane = 0; lane < static_cast<int>(lanes); ++lane) {
        const int most = (lane & segment_mask) | (clamp & ~segment_mask), least = lane & segment_mask;
        int from = 0;
        bool inside = false;
        if (in.has("up"))
            from = lane - value, inside = from >= most;
        else if (in.has("down"))
            from = lane + value, inside = from <= most;
        else if (in.has("bfly"))
            from = lane ^ value, inside = from <= most;
        else
            from = least | (value & ~segment_mask), inside = from <= most;
        from_lanes.push_back(number(i32_, static_cast<std::uint64_t>(inside ? from & 31 : lane)));
        inside_lanes.push_back(number(i1_, inside));
    }
    Lanes x = get(op.a);
    if (x.vector)
        x.value = LLVMBuildShuffleVector(builder_, x.value, LLVMGetUndef(LLVMTypeOf(x.value)),
                                         LLVMConstVector(from_lanes.data(), lanes), "");
    result(i, x);
    if (op.flags & has_predicate)
        define(i, op.predicate, {LLVMConstVector(inside_lanes.data(), lanes), true});
}

void Emitter::pack(std::uint32_t i) {
    const Draft &draft = source_.drafts[i];
    const unsigned held = values_[draft.op.dst].wide ? 64 : 32;
    const unsigned bits = 8 * ptx::size_of(instruction(i).type()) / static_cast<unsigned>(draft.list.size());
    if (bits == 16 && held == 32) { // of what was loaded as a word?
        const auto low = halves_.find(draft.list[0]), high = halves_.find(draft.list[1]);
        if (low != halves_.end() && high != halves_.end() && low->second.word == high->second.word &&
            low->second.which == 0 && high->second.which == 1)
            return result(i, {low->second.word, true});
    }
    Lanes sum{number(integer_type(held), 0), false};
    for (std::size_t k = 0; k < draft.list.size(); ++k) {
        Lanes part = get(draft.list[k]);
        unify({&part, &sum});
        TypeRef type = LLVMTypeOf(sum.value);
        part.value = LLVMBuildIntCast2(builder_, part.value, type, 0, "");
        if (bits < 32)
            part.value = LLVMBuildAnd(builder_, part.value, number(type, (1ull << bits) - 1), "");
        sum.value = LLVMBuildOr(builder_, sum.value,
                                LLVMBuildShl(builder_, part.value, number(type, bits * k), ""), "");
    }
    result(i, sum);
}

void Emitter::unpack(std::uint32_t i) {
    const Draft &draft = source_.drafts[i];
    const unsigned bits = 8 * ptx::size_of(instruction(i).type()) / static_cast<unsigned>(draft.list.size());
    const Lanes x = get(draft.op.a);
    TypeRef type = LLVMTypeOf(x.value), word = shaped(i32_, x.vector);
    for (std::size_t k = 0; k < draft.list.size(); ++k) {
        Lanes part{LLVMBuildLShr(builder_, x.value, number(type, bits * k), ""), x.vector};
        part.value = LLVMBuildIntCast2(builder_, part.value, word, 0, "");
        if (bits < 32)
            part.value = LLVMBuildAnd(builder_, part.value, number(word, (1ull << bits) - 1), "");
        define(i, draft.list[k], part);
    }
}

} // namespace soft
