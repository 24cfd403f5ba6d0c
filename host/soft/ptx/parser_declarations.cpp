// Declarations: variables with their initial values, parameters, registers.
#include "parser_state.hpp"

#include <algorithm>
#include <bit>

namespace ptx {

namespace {

/// Bytes of what braces stand for at each depth but the first, which may be left incomplete.
std::vector<std::uint64_t> extents_of(const std::vector<std::uint64_t> &lengths, unsigned element,
                                      unsigned vector) {
    std::vector<std::uint64_t> extents(std::max<std::size_t>(lengths.size(), 1));
    std::uint64_t bytes = std::uint64_t{std::max(1u, element)} * vector;
    if (vector > 1)
        extents.push_back(bytes);
    for (std::size_t depth = lengths.size(); depth-- > 1;)
        extents[depth] = bytes *= lengths[depth];
    return extents;
}

} // namespace

/// An address that is stored when the module is loaded: symbol+4, generic(symbol+4) or generic(symbol)+4.
void Parser::initial_address(Variable &variable, unsigned bytes, unsigned shift) {
    const bool generic = lexer_.accept("generic");
    if (generic)
        lexer_.expect("(");
    Relocation relocation{
        variable.initial.size(), std::string(lexer_.expect_word().text), 0, generic, bytes, shift};
    auto offset = [&] {
        while (lexer_.peek().is("+") || lexer_.peek().is("-")) {
            const bool minus = lexer_.take().is("-");
            const std::int64_t value = integer(products);
            relocation.addend += minus ? -value : value;
        }
    };
    offset();
    if (generic) {
        lexer_.expect(")");
        offset();
    }
    variable.relocations.push_back(std::move(relocation));
}

/// One value, or a list in braces; `extents`: bytes of what braces at each depth stand for, 0 where it is not
/// known.
void Parser::initial_value(Variable &variable, const std::vector<std::uint64_t> &extents, std::size_t depth) {
    const Nested nested(*this);
    const unsigned element = std::max(1u, size_of(variable.type));
    const std::size_t start = variable.initial.size();
    auto grow = [&](std::uint64_t size) {
        if (size > (1u << 30))
            throw Error(lexer_.peek().line, "initial value of " + variable.name + " is too long");
        variable.initial.resize(size);
    };
    if (lexer_.accept("{")) {
        if (!lexer_.accept("}")) {
            do
                initial_value(variable, extents, depth + 1);
            while (lexer_.accept(","));
            lexer_.expect("}");
        }
        const std::uint64_t extent = depth < extents.size() ? extents[depth] : 0;
        if (extent != 0 && variable.initial.size() - start > extent)
            throw Error(lexer_.peek().line, "initial value of " + variable.name + " is longer than it");
        if (extent != 0) // what a list leaves out is zero
            grow(start + extent);
        return;
    }
    grow(start + element);
    auto put = [&](std::uint64_t bits) {
        for (unsigned i = 0; i < std::min(element, 8u); ++i)
            variable.initial[start + i] = static_cast<std::uint8_t>(bits >> (8 * i));
    };
    if (lexer_.peek().kind == Token::Kind::word && !begins_constant()) {
        variable.initial.resize(start);
        initial_address(variable, std::min(element, 8u), 0);
        return grow(start + element);
    }
    const int line = lexer_.peek().line;
    Constant value = expression();
    if (lexer_.accept("(")) { // mask(value): one byte of it, or of an address
        const auto mask = value.bits;
        const auto shift = static_cast<unsigned>(std::countr_zero(mask));
        if (mask == 0 || shift % 8 != 0 || mask >> shift != 0xff)
            throw Error(line, "a mask of an initial value must name one byte");
        if (lexer_.peek().kind == Token::Kind::word && !begins_constant()) {
            variable.initial.resize(start);
            initial_address(variable, 1, shift);
            grow(start + element);
        } else {
            put(expression().bits >> shift & 0xff);
        }
        return lexer_.expect(")");
    }
    if (value.kind == Constant::Kind::real && variable.type == Type::f32)
        value.bits = std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(value.bits)));
    put(value.bits);
}

void Parser::initializer(Variable &variable, const std::vector<std::uint64_t> &extents) {
    initial_value(variable, extents, 0);
}

Variable Parser::variable(Space space, bool is_extern) {
    Variable result;
    result.space = space;
    result.is_extern = is_extern;
    bool opaque = false;
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
        } else if (word.is(".texref") || word.is(".samplerref") || word.is(".surfref")) {
            result.type = Type::b64; // a handle, of which nothing is known
            opaque = true;
        } else if (word.is(".attribute")) { // (.managed), (.unified(a, b)), (.managed, .unified(a, b))
            lexer_.expect("(");
            for (int depth = 1; depth > 0;) {
                const Token token = lexer_.take();
                if (token.kind == Token::Kind::end)
                    throw Error(word.line, "the text ends inside .attribute");
                depth += token.is("(") - token.is(")");
                result.is_managed |= token.is(".managed");
            }
        } else {
            throw Error(word.line, "unknown in a declaration: " + std::string(word.text));
        }
    }
    Token name = lexer_.expect_word();
    result.name = name.text;
    std::uint64_t count = 1;
    bool unsized = false;
    std::vector<std::uint64_t> lengths; // of each dimension
    while (lexer_.accept("[")) {
        if (lexer_.accept("]")) {
            unsized = true;
            lengths.push_back(0);
            continue;
        }
        std::int64_t length = integer();
        if (length < 0 || (length != 0 && count > (1ull << 40) / static_cast<std::uint64_t>(length)))
            throw Error(name.line, "size of " + result.name + " is out of range");
        count *= static_cast<std::uint64_t>(length);
        lengths.push_back(static_cast<std::uint64_t>(length));
        lexer_.expect("]");
    }
    std::uint64_t element = std::max(1u, size_of(result.type)) * vector;
    result.align = std::max<std::uint32_t>(result.align,
                                           static_cast<std::uint32_t>(std::min<std::uint64_t>(element, 16)));
    if (!std::has_single_bit(result.align) || result.align > 65536)
        throw Error(name.line, "alignment of " + result.name + " is no power of two");
    if (lexer_.accept("=")) {
        if (opaque && lexer_.accept("{")) // addr_mode_0 = wrap and the like, which nobody heeds
            lexer_.skip_block();
        else
            initializer(result, extents_of(lengths, size_of(result.type), vector));
    }
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
        into.push_back(variable(space.is(".reg") ? Space::reg : Space::param, false));
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
            std::int64_t count = integer(products);
            lexer_.expect(">");
            if (count < 0 || count + first > 1'000'000)
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
            std::string unique = declared.name + scopes_.back().suffix;
            scopes_.back().variables[declared.name] = unique;
            declared.name = unique;
        }
        function_.variables.push_back(std::move(declared));
    } while (lexer_.accept(","));
    lexer_.expect(";");
}

} // namespace ptx
