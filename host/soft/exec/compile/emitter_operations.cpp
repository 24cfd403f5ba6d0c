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

/// A value's low bits, as an integer as wide as the type.
Lanes Emitter::source(std::uint32_t value, Type type) {
    Lanes lanes = get(value);
    const unsigned bits = 8 * ptx::size_of(type), held = values_[value].wide ? 64 : 32;
    if (bits < held)
        lanes.value = LLVMBuildTrunc(builder_, lanes.value, shaped(integer_type(bits), lanes.vector), "");
    return lanes;
}

Lanes Emitter::real_source(std::uint32_t value, Type type) {
    Lanes lanes = get(value);
    lanes.value = bits_of(lanes.value, shaped(type == Type::f64 ? f64_ : f32_, lanes.vector));
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

/// A subnormal float becomes a zero of its sign, unless the processor sees to that.
Lanes Emitter::flushed(Lanes x, bool wanted) {
    if (!wanted)
        return x;
    TypeRef whole_type = shaped(i32_, x.vector);
    Ref bits = bits_of(x.value, whole_type);
    Ref exponent = LLVMBuildAnd(builder_, bits, number(whole_type, 0x7f800000), "");
    Ref small = LLVMBuildICmp(builder_, LLVMIntEQ, exponent, number(whole_type, 0), "");
    Ref zero = LLVMBuildAnd(builder_, bits, number(whole_type, 0x80000000), "");
    Ref chosen = LLVMBuildSelect(builder_, small, zero, bits, "");
    return {bits_of(chosen, LLVMTypeOf(x.value)), x.vector};
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
            Ref left = is_signed ? LLVMBuildSExt(b, x.value, wide, "") : LLVMBuildZExt(b, x.value, wide, "");
            Ref right = is_signed ? LLVMBuildSExt(b, y.value, wide, "") : LLVMBuildZExt(b, y.value, wide, "");
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

void Emitter::real(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Op &op = source_.drafts[i].op;
    const Type type = in.type();
    const std::string &name = in.opcode;
    LLVMBuilderRef b = builder_;
    const bool ftz = in.has("ftz") && type == Type::f32;
    const bool picks = name == "min" || name == "max" || name == "neg" || name == "abs"; // no arithmetic
    const bool explicitly = ftz && (!flushes_ || picks);
    Lanes x = flushed(real_source(op.a, type), explicitly), y = x, z = x;
    const bool one = name == "neg" || name == "abs", three = name == "fma" || name == "mad";
    if (!one)
        y = flushed(real_source(op.b, type), explicitly);
    if (three)
        z = flushed(real_source(op.c, type), explicitly);
    const bool vector = unify({&x, &y, &z});
    TypeRef here = LLVMTypeOf(x.value);
    Ref r = nullptr;
    if (name == "add") {
        r = LLVMBuildFAdd(b, x.value, y.value, "");
    } else if (name == "sub") {
        r = LLVMBuildFSub(b, x.value, y.value, "");
    } else if (name == "mul") {
        r = LLVMBuildFMul(b, x.value, y.value, "");
    } else if (three) {
        r = intrinsic("llvm.fma", {x.value, y.value, z.value}, here, here);
    } else if (name == "neg") {
        r = LLVMBuildFNeg(b, x.value, "");
    } else if (name == "abs") {
        r = intrinsic("llvm.fabs", {x.value}, here, here);
    } else {
        // A NaN loses against a number, and -0 is below +0: float_min and float_max of lane_math.hpp.
        const bool least = name == "min";
        TypeRef whole_type = shaped(integer_type(type == Type::f64 ? 64 : 32), vector);
        Ref first = LLVMBuildFCmp(b, least ? LLVMRealOLT : LLVMRealOGT, x.value, y.value, "");
        Ref second = LLVMBuildFCmp(b, least ? LLVMRealOLT : LLVMRealOGT, y.value, x.value, "");
        Ref negative = LLVMBuildICmp(b, LLVMIntSLT, bits_of(x.value, whole_type), number(whole_type, 0), "");
        Ref even = least ? LLVMBuildSelect(b, negative, x.value, y.value, "")
                         : LLVMBuildSelect(b, negative, y.value, x.value, "");
        r = LLVMBuildSelect(b, first, x.value, LLVMBuildSelect(b, second, y.value, even, ""), "");
        r = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealUNO, y.value, y.value, ""), x.value, r, "");
        r = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealUNO, x.value, x.value, ""), y.value, r, "");
    }
    Lanes done = flushed({r, vector}, explicitly);
    if (in.has("sat")) {
        Ref zero = LLVMConstNull(here), top = real_number(here, 1.0);
        Ref below = LLVMBuildFCmp(b, LLVMRealOLT, done.value, top, "");
        Ref above = LLVMBuildFCmp(b, LLVMRealOGT, done.value, zero, "");
        done.value = LLVMBuildSelect(b, above, LLVMBuildSelect(b, below, done.value, top, ""), zero, "");
    }
    result(i, done);
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
    define(i, op.dst, yes);
    if (op.c != 0)
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

/// Bits of 16-bit floats as floats. In eights, which is what the processor converts at once.
Emitter::Ref Emitter::half_to_float(Lanes half) {
    TypeRef half_type = LLVMHalfTypeInContext(context_);
    if (!half.vector)
        return LLVMBuildFPExt(builder_, bits_of(half.value, half_type), f32_, "");
    std::vector<Ref> parts;
    for (unsigned from = 0; from < lanes; from += 8)
        parts.push_back(LLVMBuildFPExt(builder_,
                                       bits_of(slice(half.value, from, 8), LLVMVectorType(half_type, 8)),
                                       LLVMVectorType(f32_, 8), ""));
    return join(std::move(parts));
}

/// To nearest even, as bits.
Emitter::Ref Emitter::float_to_half(Lanes x) {
    TypeRef half_type = LLVMHalfTypeInContext(context_);
    if (!x.vector)
        return bits_of(LLVMBuildFPTrunc(builder_, x.value, half_type, ""), i16_);
    std::vector<Ref> parts;
    for (unsigned from = 0; from < lanes; from += 8) {
        Ref part = slice(x.value, from, 8);
        TypeRef to = LLVMVectorType(i16_, 8);
        parts.push_back(
            avx2_ ? intrinsic("llvm.x86.vcvtps2ph.256", {part, number(i32_, 0)}, nullptr, to)
                  : bits_of(LLVMBuildFPTrunc(builder_, part, LLVMVectorType(half_type, 8), ""), to));
    }
    return join(std::move(parts));
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
    Ref sum = z.value;
    if (vector && avx2_) {
        // Bytes as 16-bit numbers, those at even and those at odd places: pairs of products are one
        // instruction.
        TypeRef halves = LLVMVectorType(i16_, 64);
        Ref eight = number(halves, 8);
        auto part = [&](Ref value, bool is_signed, bool odd) {
            Ref all = bits_of(value, halves);
            if (!odd)
                all = LLVMBuildShl(b, all, eight, "");
            return is_signed ? LLVMBuildAShr(b, all, eight, "") : LLVMBuildLShr(b, all, eight, "");
        };
        for (bool odd : {false, true}) {
            Ref left = part(x.value, sign_a, odd), right = part(y.value, sign_b, odd);
            std::vector<Ref> sums;
            for (unsigned from = 0; from < 64; from += 16)
                sums.push_back(intrinsic("llvm.x86.avx2.pmadd.wd",
                                         {slice(left, from, 16), slice(right, from, 16)}, nullptr,
                                         LLVMVectorType(i32_, 8)));
            sum = LLVMBuildAdd(b, sum, join(std::move(sums)), "");
        }
    } else {
        TypeRef type = LLVMTypeOf(x.value);
        auto byte = [&](Ref value, bool is_signed, unsigned at) {
            Ref high = LLVMBuildShl(b, value, number(type, 24 - at), "");
            return is_signed ? LLVMBuildAShr(b, high, number(type, 24), "")
                             : LLVMBuildLShr(b, high, number(type, 24), "");
        };
        for (unsigned at = 0; at < 32; at += 8)
            sum = LLVMBuildAdd(b, sum,
                               LLVMBuildMul(b, byte(x.value, sign_a, at), byte(y.value, sign_b, at), ""), "");
    }
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

/// Where a load or store goes: register and offset, as 64 bits.
Lanes Emitter::address(std::uint32_t i) {
    const Op &op = source_.drafts[i].op;
    Lanes base = get(op.a);
    const auto offset = static_cast<std::uint64_t>(op.immediate);
    TypeRef type = LLVMTypeOf(base.value);
    const bool wide = values_[op.a].wide;
    base.value = LLVMBuildAdd(builder_, base.value, number(type, wide ? offset : offset & 0xffffffff), "");
    if (!wide)
        base.value = LLVMBuildZExt(builder_, base.value, shaped(i64_, base.vector), "");
    return base;
}

/// Has WarpCore::move perform a load or store of the lanes the guard leaves.
void Emitter::move(std::uint32_t i, const Lanes &where) {
    store_at(warp_, offsetof(WarpCore, where), whole(where), 64);
    const bool guarded = source_.drafts[i].op.run == run_guarded;
    if (guarded) {
        Lanes wanted = guard(i);
        Ref bits =
            wanted.vector ? bits_of(wanted.value, i32_) : LLVMBuildSExt(builder_, wanted.value, i32_, "");
        set_field(offsetof(WarpCore, exec), LLVMBuildAnd(builder_, bits, active_, ""));
    }
    TypeRef arguments[] = {pointer_, pointer_};
    TypeRef type = LLVMFunctionType(void_, arguments, 2, 0);
    Ref callee = field(offsetof(WarpCore, move), LLVMPointerType(type, 0));
    Ref given[] = {warp_, at(operations_, static_cast<std::uint64_t>(i) * sizeof(Op), i8_)};
    LLVMBuildCall2(builder_, type, callee, given, 2, "");
    if (guarded)
        set_field(offsetof(WarpCore, exec), active_);
}

void Emitter::load_lanes(std::uint32_t i) {
    const Draft &draft = source_.drafts[i];
    move(i, address(i));
    const std::size_t count = std::max<std::size_t>(1, draft.list.size());
    for (std::size_t k = 0; k < count; ++k) {
        const std::uint32_t to = draft.list.empty() ? draft.op.dst : draft.list[k];
        const bool wide = values_[to].wide;
        Ref value = load_at(warp_, offsetof(WarpCore, moved) + k * lanes * (wide ? 8 : 4),
                            shaped(wide ? i64_ : i32_, true), 64);
        define(i, to, {value, true});
    }
}

void Emitter::store_lanes(std::uint32_t i) {
    const Draft &draft = source_.drafts[i];
    const std::size_t count = std::max<std::size_t>(1, draft.list.size());
    for (std::size_t k = 0; k < count; ++k) {
        const std::uint32_t from = draft.list.empty() ? draft.op.dst : draft.list[k];
        store_at(warp_, offsetof(WarpCore, moved) + k * lanes * (values_[from].wide ? 8 : 4),
                 whole(get(from)), 64);
    }
    move(i, address(i));
}

/// A load from one address for all lanes. What is wrong with the address the handler says.
void Emitter::load(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Draft &draft = source_.drafts[i];
    const Type type = in.type();
    LLVMBuilderRef b = builder_;
    const unsigned size = ptx::size_of(type),
                   count = std::max<unsigned>(1, static_cast<unsigned>(draft.list.size()));
    const bool shared = std::any_of(in.modifiers.begin(), in.modifiers.end(),
                                    [](const std::string &m) { return m.starts_with("shared"); });
    const Lanes base = get(draft.op.a);
    Ref where = address(i).value;
    Ref wrong = number(i1_, 0);
    if (size * count > 1)
        wrong = LLVMBuildICmp(b, LLVMIntNE, LLVMBuildAnd(b, where, number(i64_, size * count - 1), ""),
                              number(i64_, 0), "");
    if (shared) {
        Ref limit =
            LLVMBuildSub(b, field(offsetof(WarpCore, shared_size), i64_), number(i64_, size * count), "");
        Ref beyond = LLVMBuildOr(b, LLVMBuildICmp(b, LLVMIntUGT, where, limit, ""),
                                 LLVMBuildICmp(b, LLVMIntSLT, limit, number(i64_, 0), ""), "");
        wrong = LLVMBuildOr(b, wrong, beyond, "");
        where = LLVMBuildAdd(b, where, field(offsetof(WarpCore, shared), i64_), "");
    }
    LLVMBasicBlockRef bad = new_block("bad"), good = new_block("good");
    LLVMBuildCondBr(b, wrong, bad, good);
    enter(bad);
    if (values_[draft.op.a].kind == Value::Kind::slot)
        write_one(draft.op.a, base, true);
    call_handler(i);
    LLVMBuildRetVoid(b);
    enter(good);
    set_field(offsetof(WarpCore, pc), number(i32_, i + 1)); // for a fault's report
    TypeRef element = integer_type(8 * size);
    for (unsigned k = 0; k < count; ++k) {
        Ref place = LLVMBuildIntToPtr(
            b, LLVMBuildAdd(b, where, number(i64_, static_cast<std::uint64_t>(k) * size), ""),
            LLVMPointerType(element, 0), "");
        Ref value = LLVMBuildLoad2(b, element, place, "");
        LLVMSetAlignment(value, size);
        LLVMSetVolatile(value,
                        1); // a bad address must be found out, whether or not anybody wants what is there
        const std::uint32_t to = draft.list.empty() ? draft.op.dst : draft.list[k];
        TypeRef held = values_[to].wide ? i64_ : i32_;
        define(i, to, {LLVMBuildIntCast2(b, value, held, ptx::is_signed(type) && size < 4, ""), false});
    }
}

} // namespace soft
