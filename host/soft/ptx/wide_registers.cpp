// 128-bit registers as pairs of 64-bit ones: what is loaded, stored, moved or exchanged of them are two
// halves.
#include "parser_state.hpp"

#include <algorithm>

namespace ptx {

namespace {

struct Halves {
    std::vector<int> upper; // of each register its upper half, or -1

    bool has(const Operand &operand) const {
        return operand.kind == Operand::Kind::reg && upper[static_cast<std::size_t>(operand.index)] >= 0;
    }
    Operand upper_of(const Operand &operand) const {
        Operand half = operand;
        half.index = upper[static_cast<std::size_t>(operand.index)];
        return half;
    }
    Operand both(const Operand &operand) const {
        Operand vector;
        vector.kind = Operand::Kind::vector;
        vector.elements = {operand, upper_of(operand)};
        return vector;
    }
};

/// What an operand of mov.b128 has in its lower or upper half.
Operand half_of(const Instruction &in, const Operand &operand, const Halves &halves, bool upper) {
    if (halves.has(operand))
        return upper ? halves.upper_of(operand) : operand;
    if (operand.kind == Operand::Kind::vector && operand.elements.size() == 2)
        return operand.elements[upper];
    throw Error(in.line, "PTX instruction " + in.text() + " is not implemented: 128-bit operand");
}

void split(const Instruction &in, const Halves &halves, std::vector<Instruction> &into) {
    Instruction half = in;
    if (in.opcode == "mov" && in.operands.size() == 2) {
        half.modifiers = {"b64"};
        for (bool upper : {false, true}) {
            half.operands[0] = half_of(in, in.operands[0], halves, upper);
            half.operands[1] = half_of(in, in.operands[1], halves, upper);
            if (half.operands[0].kind != Operand::Kind::sink)
                into.push_back(half);
        }
        return;
    }
    const bool moves = in.opcode == "ld" || in.opcode == "ldu" || in.opcode == "st";
    if (!moves && in.opcode != "atom")
        throw Error(in.line, "PTX instruction " + in.text() + " is not implemented: 128-bit operand");
    for (Operand &operand : half.operands)
        if (halves.has(operand))
            operand = halves.both(operand);
    if (moves) {
        const auto type = std::ranges::find(half.modifiers, "b128");
        *type = "v2";
        half.modifiers.insert(type + 1, "b64");
    }
    into.push_back(std::move(half));
}

} // namespace

void split_wide_registers(Function &function) {
    Halves halves;
    halves.upper.assign(function.registers.size(), -1);
    bool any = false;
    for (std::size_t i = 0; i < halves.upper.size(); ++i) {
        if (function.registers[i].type != Type::b128)
            continue;
        any = true;
        function.registers[i].type = Type::b64;
        halves.upper[i] = static_cast<int>(function.registers.size());
        function.registers.push_back({function.registers[i].name + ".upper", Type::b64});
    }
    if (!any)
        return;
    halves.upper.resize(function.registers.size(), -1);
    auto names_one = [&](const auto &self, const Operand &operand) -> bool {
        return halves.has(operand) || std::ranges::any_of(operand.elements, [&](const Operand &element) {
                   return self(self, element);
               });
    };
    std::vector<Instruction> body;
    std::vector<std::size_t> places; // of each instruction as it was
    for (const Instruction &in : function.body) {
        places.push_back(body.size());
        const bool wide =
            std::ranges::any_of(in.operands, [&](const Operand &o) { return names_one(names_one, o); });
        if (wide && !in.has("b128"))
            throw Error(in.line, "PTX instruction " + in.text() + " is not implemented: 128-bit operand");
        if (wide)
            split(in, halves, body);
        else
            body.push_back(in);
    }
    places.push_back(body.size());
    for (auto &[name, place] : function.labels)
        place = places[place];
    function.body = std::move(body);
}

} // namespace ptx
