// Declarations: variables with their initial values, parameters, registers.
#include "parser_state.hpp"

#include <algorithm>
#include <bit>

namespace ptx {

std::int64_t Parser::integer() {
    bool negative = lexer_.accept("-");
    bool is_float = false;
    Token token = lexer_.take();
    auto value = static_cast<std::int64_t>(number_bits(token, is_float));
    return negative ? -value : value;
}

void Parser::initializer(Variable &variable) {
    unsigned element = std::max(1u, size_of(variable.type));
    auto put = [&](std::uint64_t bits) {
        if (variable.initial.size() + element > (1u << 30))
            throw Error(lexer_.peek().line, "initial value of " + variable.name + " is too long");
        for (unsigned i = 0; i < element; ++i)
            variable.initial.push_back(static_cast<std::uint8_t>(bits >> (8 * i)));
    };
    auto value = [&](auto &self) -> void {
        if (lexer_.accept("{")) {
            if (lexer_.accept("}"))
                return;
            do
                self(self);
            while (lexer_.accept(","));
            lexer_.expect("}");
            return;
        }
        if (lexer_.peek().kind == Token::Kind::word) {
            bool generic = lexer_.accept("generic");
            if (generic)
                lexer_.expect("(");
            Relocation relocation{variable.initial.size(), std::string(lexer_.expect_word().text), 0,
                                  generic};
            if (lexer_.peek().is("+") || lexer_.peek().is("-")) {
                bool minus = lexer_.take().is("-");
                relocation.addend = minus ? -integer() : integer();
            }
            if (generic)
                lexer_.expect(")");
            variable.relocations.push_back(relocation);
            put(0);
            return;
        }
        bool negative = lexer_.accept("-");
        bool is_double = false;
        std::uint64_t bits = number_bits(lexer_.take(), is_double);
        if (is_double && variable.type == Type::f32)
            bits = std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
        if (negative)
            bits = is_float(variable.type) ? bits ^ (1ull << (8 * element - 1)) : 0 - bits;
        put(bits);
    };
    value(value);
}

Variable Parser::variable(Space space, bool is_extern) {
    Variable result;
    result.space = space;
    result.is_extern = is_extern;
    unsigned vector = 1;
    while (lexer_.peek().kind == Token::Kind::word && lexer_.peek().text.front() == '.') {
        Token word = lexer_.take();
        if (word.is(".align")) {
            result.align = static_cast<std::uint32_t>(integer());
        } else if (word.is(".v2") || word.is(".v4")) {
            vector = word.is(".v2") ? 2 : 4;
        } else if (word.is(".ptr")) {
            // .ptr .space .align N: about what a parameter points to
            while (lexer_.peek().is(".global") || lexer_.peek().is(".const") || lexer_.peek().is(".shared") ||
                   lexer_.peek().is(".local"))
                lexer_.take();
            if (lexer_.accept(".align"))
                integer();
        } else if (Type type = type_named(word.text.substr(1)); type != Type::none) {
            result.type = type;
        } else if (!word.is(".managed") && !word.is(".unified") && !word.is(".attribute")) {
            throw Error(word.line, "unknown in a declaration: " + std::string(word.text));
        }
    }
    Token name = lexer_.expect_word();
    result.name = name.text;
    std::uint64_t count = 1;
    bool unsized = false;
    while (lexer_.accept("[")) {
        if (lexer_.accept("]")) {
            unsized = true;
            continue;
        }
        std::int64_t length = integer();
        if (length < 0 || (length != 0 && count > (1ull << 40) / static_cast<std::uint64_t>(length)))
            throw Error(name.line, "size of " + result.name + " is out of range");
        count *= static_cast<std::uint64_t>(length);
        lexer_.expect("]");
    }
    std::uint64_t element = std::max(1u, size_of(result.type)) * vector;
    result.align = std::max<std::uint32_t>(result.align,
                                           static_cast<std::uint32_t>(std::min<std::uint64_t>(element, 16)));
    if (!std::has_single_bit(result.align) || result.align > 65536)
        throw Error(name.line, "alignment of " + result.name + " is no power of two");
    if (lexer_.accept("="))
        initializer(result);
    result.size = unsized ? (is_extern ? 0 : result.initial.size()) : element * count;
    if (result.initial.size() > result.size)
        throw Error(name.line, "initial value of " + result.name + " is longer than it");
    return result;
}

Variable Parser::module_variable() {
    bool is_extern = false;
    while (is_linkage(lexer_.peek().text))
        is_extern |= lexer_.take().is(".extern");
    Space space = space_named(lexer_.expect_word().text);
    return variable(space, is_extern);
}

void Parser::parameter_list(std::vector<Variable> &into) {
    if (!lexer_.accept("("))
        return;
    if (lexer_.accept(")"))
        return;
    do {
        Token space = lexer_.take();
        if (!space.is(".param") && !space.is(".reg"))
            throw Error(space.line, "expected .param, found '" + std::string(space.text) + "'");
        into.push_back(variable(Space::param, false));
    } while (lexer_.accept(","));
    lexer_.expect(")");
}

void Parser::declare_registers() {
    unsigned vector = 1;
    Type type = Type::none;
    while (lexer_.peek().kind == Token::Kind::word && lexer_.peek().text.front() == '.') {
        Token word = lexer_.take();
        if (Type named = type_named(word.text.substr(1)); named != Type::none)
            type = named;
        else
            vector = 0;
    }
    if (vector != 1 || type == Type::none)
        throw Error(lexer_.peek().line, "a register of this kind is not supported");
    do {
        std::string name(lexer_.expect_word().text);
        int first = static_cast<int>(function_.registers.size());
        if (lexer_.accept("<")) {
            std::int64_t count = integer();
            lexer_.expect(">");
            if (count < 0 || count > 1'000'000)
                throw Error(lexer_.peek().line, "too many registers");
            for (std::int64_t i = 0; i < count; ++i)
                function_.registers.push_back({name + std::to_string(i), type});
            scopes_.back().ranges.push_back({name, first, static_cast<int>(count)});
        } else {
            function_.registers.push_back({name, type});
            scopes_.back().registers[name] = first;
        }
    } while (lexer_.accept(","));
    lexer_.expect(";");
}

void Parser::declare_variable(Space space) {
    do {
        Variable declared = variable(space, false);
        if (scopes_.size() > 1) {
            std::string unique = declared.name + "@" + std::to_string(blocks_);
            scopes_.back().variables[declared.name] = unique;
            declared.name = unique;
        }
        function_.variables.push_back(std::move(declared));
    } while (lexer_.accept(","));
    lexer_.expect(";");
}

} // namespace ptx
