// Which instructions are performed, by opcode and modifier: what stands behind each dot, types apart.
#pragma once

#include "../ptx/ast.hpp"

#include <map>
#include <string_view>

namespace soft {

/// Opcodes and, in words, the modifiers that the handlers know. What is not among them is refused rather
/// than ignored, so that a newer PTX is never half understood.
const std::map<std::string_view, std::string_view> &known_modifiers();

/// Throws ptx::Error, naming the instruction and the modifier.
void check_modifiers(const ptx::Instruction &in);

/// Throws ptx::Error for operands that could not be read, and for forms of them that no handler knows.
void check_operands(const ptx::Instruction &in);

} // namespace soft
