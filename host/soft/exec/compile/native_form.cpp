#include "emitter.hpp"

#include "../control.hpp"

#include <array>
#include <string_view>

namespace soft {

namespace {

using ptx::Instruction;
using ptx::Type;

template <std::size_t N> bool one_of(std::string_view name, const std::array<std::string_view, N> &names) {
    for (std::string_view each : names)
        if (each == name)
            return true;
    return false;
}

bool is_integer(Type type) {
    return type != Type::none && type != Type::pred && !ptx::is_float(type) && ptx::size_of(type) >= 2 &&
           ptx::size_of(type) <= 8;
}

Native integer_form(const Instruction &in) {
    static constexpr std::array<std::string_view, 15> plain = {"add", "sub", "mul", "mad", "and",
                                                               "or",  "xor", "not", "shl", "shr",
                                                               "min", "max", "neg", "abs", "cnot"};
    if (!is_integer(in.type()) || !one_of(in.opcode, plain) || in.has("cc") || in.has("sat"))
        return Native::call;
    if (in.has("hi") && ptx::size_of(in.type()) != 4)
        return Native::call;
    return Native::integer;
}

Native real_form(const Instruction &in) {
    static constexpr std::array<std::string_view, 9> plain = {"add", "sub", "mul", "fma", "mad",
                                                              "min", "max", "neg", "abs"};
    if (!one_of(in.opcode, plain) || in.has("NaN") || in.has("xorsign") || in.has("rz") || in.has("rm") ||
        in.has("rp"))
        return Native::call;
    if (in.type() == Type::f32)
        return Native::real;
    return in.type() == Type::f64 && !in.has("sat") ? Native::real : Native::call;
}

Native conversion_form(const Instruction &in) {
    const Type to = in.type(1), from = in.type();
    for (std::string_view other :
         {"sat", "satfinite", "relu", "rz", "rm", "rp", "rzi", "rmi", "rpi", "rni", "ftz"})
        if (in.has(other))
            return Native::call;
    auto whole = [](Type type) { return is_integer(type) || ptx::size_of(type) == 1; };
    if (whole(to) && whole(from))
        return Native::convert;
    if (to == Type::f32 && (from == Type::f16 || from == Type::bf16))
        return Native::convert;
    if (to == Type::f32 && whole(from) && ptx::size_of(from) <= 4)
        return Native::convert;
    if (to == Type::f16 && from == Type::f32)
        return Native::convert;
    return Native::call;
}

bool is_constant(const Source &source, std::uint32_t value) {
    return source.values[value].kind == Value::Kind::constant;
}

} // namespace

Native native_form(const Source &source, std::uint32_t operation) {
    const Draft &draft = source.drafts[operation];
    const Handler run = draft.op.run == run_guarded ? draft.op.guarded : draft.op.run;
    if (run == copy_word || run == copy_wide)
        return Native::copy;
    if (run == narrow)
        return Native::narrow;
    if (run == widen)
        return Native::widen;
    if (run == widen_signed)
        return Native::widen_signed;
    if (draft.instruction < 0)
        return Native::call;
    const Instruction &in = source.instructions[static_cast<std::size_t>(draft.instruction)];
    const Type type = in.type();
    if (in.opcode == "mov") {
        if (in.operands.size() == 2 && in.operands[1].kind == ptx::Operand::Kind::vector)
            return Native::pack;
        if (in.operands.size() == 2 && in.operands[0].kind == ptx::Operand::Kind::vector)
            return Native::unpack;
        if (type == Type::pred)
            return Native::logic;
        return draft.op.a != 0 && ptx::size_of(type) <= 8 && run != read_clock ? Native::copy : Native::call;
    }
    if (in.opcode == "setp") {
        if (type == Type::f16 || type == Type::bf16 || ptx::size_of(type) < 2)
            return Native::call;
        return Native::compare;
    }
    if (type == Type::pred)
        return in.opcode == "and" || in.opcode == "or" || in.opcode == "xor" || in.opcode == "not"
                   ? Native::logic
                   : Native::call;
    if (in.opcode == "selp")
        return Native::select;
    if (in.opcode == "cvt")
        return conversion_form(in);
    if (in.opcode == "dp4a")
        return Native::dot4;
    if (in.opcode == "prmt")
        return in.modifiers.size() == 1 && is_constant(source, draft.op.c) ? Native::permute : Native::call;
    if (in.opcode == "lop3")
        return is_constant(source, draft.op.predicate) ? Native::table : Native::call;
    if (in.opcode == "shfl")
        return is_constant(source, draft.op.b) && is_constant(source, draft.op.c) ? Native::shuffle
                                                                                  : Native::call;
    if (in.opcode == "ld" || in.opcode == "st")
        return draft.op.moved == nullptr ? Native::call : in.opcode == "ld" ? Native::load : Native::store;
    if (ptx::is_float(type))
        return real_form(in);
    return integer_form(in);
}

bool reads_once(const Source &source, std::uint32_t operation) {
    const Draft &draft = source.drafts[operation];
    const Instruction &in = source.instructions[static_cast<std::size_t>(draft.instruction)];
    return draft.op.run != run_guarded && !in.has("volatile") && !in.has("relaxed") && !in.has("acquire") &&
           !in.has("mmio");
}

bool scalar_form(const Source &source, std::uint32_t operation) {
    const Native form = native_form(source, operation);
    return form != Native::call && (form != Native::load || reads_once(source, operation));
}

} // namespace soft
