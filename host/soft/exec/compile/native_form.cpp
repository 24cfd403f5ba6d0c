#include "emitter.hpp"

#include "../control.hpp"
#include "../select.hpp"

#include <algorithm>
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
    if ((in.opcode == "div" || in.opcode == "rem") && is_integer(in.type()) && ptx::size_of(in.type()) >= 4)
        return Native::divide;
    if (!is_integer(in.type()) || !one_of(in.opcode, plain) || in.has("cc") || in.has("sat") ||
        in.has("relu"))
        return Native::call;
    if (in.has("hi") && ptx::size_of(in.type()) != 4)
        return Native::call;
    return Native::integer;
}

Native real_form(const Instruction &in) {
    static constexpr std::array<std::string_view, 9> plain = {"add", "sub", "mul", "fma", "mad",
                                                              "min", "max", "neg", "abs"};
    static constexpr std::array<std::string_view, 5> approximate = {"div", "rcp", "sqrt", "rsqrt", "ex2"};
    if (one_of(in.opcode, approximate))
        return in.type() == Type::f32 && !in.has("rz") && !in.has("rm") && !in.has("rp")
                   ? Native::approximation
                   : Native::call;
    if ((in.type() == Type::f16 || in.type() == Type::f16x2) &&
        (in.opcode == "add" || in.opcode == "sub" || in.opcode == "mul"))
        return in.has("sat") || in.has("relu") || in.has("rz") || in.has("rm") || in.has("rp")
                   ? Native::call
                   : Native::halves;
    if (!one_of(in.opcode, plain) || in.has("NaN") || in.has("xorsign"))
        return Native::call;
    if (in.has("rz") || in.has("rm") || in.has("rp"))
        return in.type() == Type::f32 || in.type() == Type::f64 ? Native::directed : Native::call;
    if (in.type() == Type::f32)
        return Native::real;
    return in.type() == Type::f64 && !in.has("sat") ? Native::real : Native::call;
}

Native conversion_form(const Instruction &in) {
    const Type to = in.type(1), from = in.type();
    const bool words = to == Type::s32 || to == Type::u32 || to == Type::f32;
    if (from == Type::f32 && words && !in.has("sat") &&
        (in.has("rzi") || in.has("rni") || in.has("rmi") || in.has("rpi")))
        return Native::round_whole;
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

bool multiplies_natively(const Instruction &in) {
    const Type a = in.type(2), b = in.type(1), c = in.type(0), d = in.type(3);
    if (c == Type::s32)
        return !in.has("satfinite") && ptx::size_of(a) == 1 && ptx::size_of(b) == 1;
    return !in.has("m8n8k4") && a == Type::f16 && b == Type::f16 && (c == Type::f32 || c == Type::f16) &&
           c == d;
}

/// Accesses that must happen in their order and their number.
bool is_ordered(const Instruction &in) {
    static constexpr std::array<std::string_view, 5> words = {"volatile", "relaxed", "acquire", "release",
                                                              "mmio"};
    return std::any_of(in.modifiers.begin(), in.modifiers.end(),
                       [](const std::string &word) { return one_of(word, words); });
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
        if (type == Type::f16 || type == Type::bf16 || type == Type::f16x2 || type == Type::bf16x2 ||
            ptx::size_of(type) < 2)
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
    if (in.opcode == "mma")
        return draft.op.run != run_guarded && multiplies_natively(in) ? Native::multiply : Native::call;
    if (in.opcode == "ldmatrix")
        return draft.op.run != run_guarded && in.has("b16") ? Native::matrices : Native::call;
    if (in.opcode == "movmatrix")
        return draft.op.run != run_guarded ? Native::transpose : Native::call;
    if (in.opcode == "shfl")
        return is_constant(source, draft.op.b) && is_constant(source, draft.op.c) ? Native::shuffle
                                                                                  : Native::call;
    if (in.opcode == "ld" || in.opcode == "st") {
        if (draft.op.moved == nullptr || is_ordered(in))
            return Native::call;
        return in.opcode == "ld" ? Native::load : Native::store;
    }
    if (in.opcode == "cvta")
        return run == choose_address(ptx::Space::shared, true) ? Native::window : Native::call;
    if (ptx::is_float(type))
        return real_form(in);
    return integer_form(in);
}

bool scalar_form(const Source &source, std::uint32_t operation) {
    const Native form = native_form(source, operation);
    if (form == Native::matrices) // lanes get other words of a row that is one for all
        return false;
    if (form != Native::load)
        return form != Native::call && form != Native::directed;
    // What is read under a guard may not be read at all; in local memory each lane has its own.
    const Draft &draft = source.drafts[operation];
    return draft.op.run != run_guarded &&
           !in_local(source.instructions[static_cast<std::size_t>(draft.instruction)]);
}

} // namespace soft
