// Arithmetic on floats. Each gives, bit for bit, what its handler does: sums in the same order, the same
// polynomials.
#include "emitter.hpp"

namespace soft {

using ptx::Instruction;
using ptx::Type;

Lanes Emitter::real_source(std::uint32_t value, Type type) {
    Lanes lanes = get(value);
    lanes.value = bits_of(lanes.value, shaped(type == Type::f64 ? f64_ : f32_, lanes.vector));
    return lanes;
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
        r = intrinsic("llvm.fma", {x.value, y.value, z.value}, {here}, here);
    } else if (name == "neg") {
        r = LLVMBuildFNeg(b, x.value, "");
    } else if (name == "abs") {
        r = intrinsic("llvm.fabs", {x.value}, {here}, here);
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
    const Lanes done = flushed({r, vector}, explicitly);
    result(i, in.has("sat") ? saturated(done) : done);
}

/// Not below 0 nor above 1, and no NaN.
Lanes Emitter::saturated(Lanes x) {
    LLVMBuilderRef b = builder_;
    TypeRef here = LLVMTypeOf(x.value);
    Ref zero = LLVMConstNull(here), top = real_number(here, 1.0);
    Ref below = LLVMBuildFCmp(b, LLVMRealOLT, x.value, top, "");
    Ref above = LLVMBuildFCmp(b, LLVMRealOGT, x.value, zero, "");
    return {LLVMBuildSelect(b, above, LLVMBuildSelect(b, below, x.value, top, ""), zero, ""), x.vector};
}

/// add, sub, mul and fma that round towards zero, downwards or upwards: AVX-512 says so in the instruction.
void Emitter::directed(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Op &op = source_.drafts[i].op;
    const Type type = in.type();
    const bool wide = type == Type::f64, three = in.opcode == "fma" || in.opcode == "mad";
    const bool explicitly = in.has("ftz") && !wide && !flushes_;
    std::vector<Ref> operands;
    for (std::uint32_t value : {op.a, op.b, op.c})
        if (operands.size() < (three ? 3 : 2))
            operands.push_back(whole(flushed(real_source(value, type), explicitly)));
    const unsigned at_once = wide ? 8 : 16;
    constexpr std::uint64_t without_exceptions = 8;
    const std::uint64_t rounding = (in.has("rz") ? 3 : in.has("rp") ? 2 : 1) | without_exceptions;
    const std::string name =
        std::string("llvm.x86.avx512.") + (three ? "vfmadd" : in.opcode) + (wide ? ".pd.512" : ".ps.512");
    TypeRef part = LLVMVectorType(wide ? f64_ : f32_, at_once);
    std::vector<Ref> done;
    for (unsigned lane = 0; lane < lanes; lane += at_once) {
        Ref x = slice(operands[0], lane, at_once), y = slice(operands[1], lane, at_once);
        Ref mode = number(i32_, rounding);
        done.push_back(
            three ? intrinsic(name.c_str(), {x, y, slice(operands[2], lane, at_once), mode}, {}, part)
                  : intrinsic(name.c_str(), {x, y, mode}, {}, part));
    }
    const Lanes sum = flushed({join(std::move(done)), true}, explicitly);
    result(i, in.has("sat") ? saturated(sum) : sum);
}

/// Bits of so many 16-bit floats as the processor converts at once.
Emitter::Ref Emitter::floats_of(Ref halves) {
    TypeRef half_type = LLVMHalfTypeInContext(context_), to = LLVMVectorType(f32_, reals_at_once());
    if (!features_.avx512)
        return LLVMBuildFPExt(builder_, bits_of(halves, LLVMVectorType(half_type, 8)), to, "");
    return intrinsic("llvm.x86.avx512.mask.vcvtph2ps.512",
                     {halves, LLVMConstNull(to), number(i16_, 0xffff), number(i32_, 4)}, {}, to);
}

/// Bits of 16-bit floats as floats.
Emitter::Ref Emitter::half_to_float(Lanes half) {
    if (!half.vector)
        return LLVMBuildFPExt(builder_, bits_of(half.value, LLVMHalfTypeInContext(context_)), f32_, "");
    std::vector<Ref> parts;
    for (unsigned from = 0; from < lanes; from += reals_at_once())
        parts.push_back(floats_of(slice(half.value, from, reals_at_once())));
    return join(std::move(parts));
}

/// To nearest even, as bits.
Emitter::Ref Emitter::float_to_half(Lanes x) {
    TypeRef half_type = LLVMHalfTypeInContext(context_);
    if (!x.vector)
        return bits_of(LLVMBuildFPTrunc(builder_, x.value, half_type, ""), i16_);
    const unsigned at_once = reals_at_once();
    TypeRef to = LLVMVectorType(i16_, at_once);
    std::vector<Ref> parts;
    for (unsigned from = 0; from < lanes; from += at_once) {
        Ref part = slice(x.value, from, at_once);
        if (features_.avx512)
            part = intrinsic("llvm.x86.avx512.mask.vcvtps2ph.512",
                             {part, number(i32_, 0), LLVMConstNull(to), number(i16_, 0xffff)}, {}, to);
        else if (features_.avx2)
            part = intrinsic("llvm.x86.vcvtps2ph.256", {part, number(i32_, 0)}, {}, to);
        else
            part = bits_of(LLVMBuildFPTrunc(builder_, part, LLVMVectorType(half_type, 8), ""), to);
        parts.push_back(part);
    }
    return join(std::move(parts));
}

/// add, sub and mul of 16-bit floats, or of pairs: in 32 bits, rounded once.
void Emitter::half_arithmetic(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Op &op = source_.drafts[i].op;
    LLVMBuilderRef b = builder_;
    const bool packed = in.type() == Type::f16x2;
    Lanes x = get(op.a), y = get(op.b);
    const bool vector = unify({&x, &y});
    TypeRef words = shaped(i32_, vector), shorts = shaped(i16_, vector);
    auto part = [&](Ref value, unsigned e) {
        Ref bits = e == 0 ? value : LLVMBuildLShr(b, value, number(words, 16), "");
        return half_to_float({LLVMBuildTrunc(b, bits, shorts, ""), vector});
    };
    Ref sum = nullptr;
    for (unsigned e = 0; e < (packed ? 2 : 1); ++e) {
        Ref left = part(x.value, e), right = part(y.value, e);
        Ref r = in.opcode == "add"   ? LLVMBuildFAdd(b, left, right, "")
                : in.opcode == "sub" ? LLVMBuildFSub(b, left, right, "")
                                     : LLVMBuildFMul(b, left, right, "");
        Ref bits = LLVMBuildZExt(b, float_to_half({r, vector}), words, "");
        sum = e == 0 ? bits : LLVMBuildOr(b, sum, LLVMBuildShl(b, bits, number(words, 16), ""), "");
    }
    result(i, {sum, vector});
}

/// 2^x: exp2_approx of ops_float.cpp.
Emitter::Ref Emitter::power_of_two(Ref x) {
    LLVMBuilderRef b = builder_;
    TypeRef here = LLVMTypeOf(x);
    const bool vector = LLVMGetTypeKind(here) == LLVMVectorTypeKind;
    TypeRef words = shaped(i32_, vector);
    auto real = [&](double value) { return real_number(here, value); };
    Ref above = LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOGT, x, real(129.0), ""), real(129.0), x, "");
    Ref clamped =
        LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealOLT, x, real(-150.0), ""), real(-150.0), above, "");
    Ref whole_part = intrinsic("llvm.floor", {LLVMBuildFAdd(b, clamped, real(0.5), "")}, {here}, here);
    Ref t = LLVMBuildFSub(b, clamped, whole_part, "");
    Ref p = real(1.5403530e-4f);
    for (float factor : {1.3333558e-3f, 9.6181291e-3f, 5.5504109e-2f, 2.4022651e-1f, 6.9314718e-1f, 1.0f})
        p = LLVMBuildFAdd(b, LLVMBuildFMul(b, p, t, ""), real(factor), "");
    Ref n = LLVMBuildFPToSI(b, whole_part, words, "");
    Ref half = LLVMBuildAShr(b, n, number(words, 1), "");
    auto scale = [&](Ref exponent) {
        Ref biased = LLVMBuildAdd(b, exponent, number(words, 127), "");
        return bits_of(LLVMBuildShl(b, biased, number(words, 23), ""), here);
    };
    Ref r = LLVMBuildFMul(b, LLVMBuildFMul(b, p, scale(half), ""), scale(LLVMBuildSub(b, n, half, "")), "");
    return LLVMBuildSelect(b, LLVMBuildFCmp(b, LLVMRealUNO, x, x, ""), x, r, "");
}

/// div, rcp, sqrt, rsqrt and ex2 of f32.
void Emitter::approximation(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Op &op = source_.drafts[i].op;
    const std::string &name = in.opcode;
    LLVMBuilderRef b = builder_;
    const bool explicitly = in.has("ftz") && !flushes_;
    Lanes x = flushed(real_source(op.a, Type::f32), explicitly), y = x;
    if (name == "div")
        y = flushed(real_source(op.b, Type::f32), explicitly);
    const bool vector = unify({&x, &y});
    TypeRef here = LLVMTypeOf(x.value);
    Ref r = x.value;
    if (name == "ex2")
        r = power_of_two(r);
    if (name == "sqrt" || name == "rsqrt")
        r = intrinsic("llvm.sqrt", {r}, {here}, here);
    if (name == "rcp" || name == "rsqrt")
        r = LLVMBuildFDiv(b, real_number(here, 1.0), r, "");
    if (name == "div")
        r = LLVMBuildFDiv(b, r, y.value, "");
    result(i, flushed({r, vector}, explicitly));
}

/// cvt of f32 to whole numbers, as floats or saturated to 32 bits.
void Emitter::round_whole(std::uint32_t i) {
    const Instruction &in = instruction(i);
    const Type to = in.type(1);
    Lanes x = flushed(real_source(source_.drafts[i].op.a, Type::f32), in.has("ftz"));
    TypeRef here = LLVMTypeOf(x.value);
    const char *name = in.has("rzi")   ? "llvm.trunc"
                       : in.has("rmi") ? "llvm.floor"
                       : in.has("rpi") ? "llvm.ceil"
                                       : "llvm.nearbyint";
    x.value = intrinsic(name, {x.value}, {here}, here);
    if (to != Type::f32) {
        TypeRef words = shaped(i32_, x.vector);
        x.value = intrinsic(ptx::is_signed(to) ? "llvm.fptosi.sat" : "llvm.fptoui.sat", {x.value},
                            {words, here}, words);
    }
    result(i, x);
}

} // namespace soft
