// What types are called and how large they are, and what stands in an instruction.
#include "ast.hpp"

#include <algorithm>

namespace ptx {

namespace {

struct TypeRow {
    std::string_view name;
    Type type;
    unsigned size;
    bool is_signed, is_float;
};
constexpr TypeRow type_rows[] = {
    {"pred", Type::pred, 0, false, false},   {"b1", Type::b1, 0, false, false},
    {"u2", Type::u2, 0, false, false},       {"s2", Type::s2, 0, true, false},
    {"u4", Type::u4, 0, false, false},       {"s4", Type::s4, 0, true, false},
    {"b8", Type::b8, 1, false, false},       {"u8", Type::u8, 1, false, false},
    {"s8", Type::s8, 1, true, false},        {"b16", Type::b16, 2, false, false},
    {"u16", Type::u16, 2, false, false},     {"s16", Type::s16, 2, true, false},
    {"f16", Type::f16, 2, true, true},       {"bf16", Type::bf16, 2, true, true},
    {"b32", Type::b32, 4, false, false},     {"u32", Type::u32, 4, false, false},
    {"s32", Type::s32, 4, true, false},      {"e4m3", Type::e4m3, 1, true, true},
    {"e5m2", Type::e5m2, 1, true, true},     {"e4m3x2", Type::e4m3x2, 2, true, true},
    {"e5m2x2", Type::e5m2x2, 2, true, true}, {"f32", Type::f32, 4, true, true},
    {"f16x2", Type::f16x2, 4, true, true},   {"bf16x2", Type::bf16x2, 4, true, true},
    {"tf32", Type::tf32, 4, true, true},     {"b64", Type::b64, 8, false, false},
    {"u64", Type::u64, 8, false, false},     {"s64", Type::s64, 8, true, false},
    {"f64", Type::f64, 8, true, true},       {"b128", Type::b128, 16, false, false},
};

const TypeRow *row_of(Type type) {
    for (const TypeRow &row : type_rows)
        if (row.type == type)
            return &row;
    return nullptr;
}

} // namespace

Space space_named(std::string_view name) {
    if (name == ".global")
        return Space::global;
    if (name == ".const")
        return Space::constant;
    if (name == ".shared")
        return Space::shared;
    if (name == ".local")
        return Space::local;
    if (name == ".param")
        return Space::param;
    return Space::none;
}

bool is_linkage(std::string_view word) {
    return word == ".visible" || word == ".extern" || word == ".weak" || word == ".common";
}

unsigned size_of(Type type) {
    const TypeRow *row = row_of(type);
    return row ? row->size : 0;
}
bool is_signed(Type type) {
    const TypeRow *row = row_of(type);
    return row && row->is_signed;
}
bool is_float(Type type) {
    const TypeRow *row = row_of(type);
    return row && row->is_float;
}
Type type_named(std::string_view suffix) {
    for (const TypeRow &row : type_rows)
        if (row.name == suffix)
            return row.type;
    return Type::none;
}

bool Instruction::has(std::string_view modifier) const {
    return std::find(modifiers.begin(), modifiers.end(), modifier) != modifiers.end();
}

Type Instruction::type(unsigned from_end) const {
    for (auto modifier = modifiers.rbegin(); modifier != modifiers.rend(); ++modifier)
        if (Type type = type_named(*modifier); type != Type::none && from_end-- == 0)
            return type;
    return Type::none;
}

std::string Instruction::text() const {
    std::string result = opcode;
    for (const std::string &modifier : modifiers)
        result += "." + modifier;
    return result;
}

} // namespace ptx
