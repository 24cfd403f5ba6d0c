#include "parser.hpp"

#include "lexer.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace ptx {

namespace {

std::vector<std::string> split(std::string_view text, char by) {
    std::vector<std::string> parts;
    while (true) {
        std::size_t end = text.find(by);
        parts.emplace_back(text.substr(0, end));
        if (end == text.npos)
            return parts;
        text.remove_prefix(end + 1);
    }
}

/// Reads declarations and bodies; one for a function's text or for one variable's.
class Parser {
  public:
    Parser(std::string_view text, int line) : lexer_(text, line) {}

    Function function(bool with_body);
    Variable variable(Space space, bool is_extern);
    Variable module_variable();

  private:
    struct Scope {
        std::unordered_map<std::string, int> registers;
        // %r<83> declares %r0..%r82 from `first` on
        struct Range {
            std::string prefix;
            int first, count;
        };
        std::vector<Range> ranges;
        std::unordered_map<std::string, std::string> variables; // name in this scope -> unique name
    };

    std::int64_t integer();
    void initializer(Variable &variable);
    void parameter_list(std::vector<Variable> &into);
    void block();
    void statement();
    void declare_registers();
    void declare_variable(Space space);
    Operand operand();
    Operand primary();
    int find_register(std::string_view name) const;
    std::string unique_name(std::string_view name) const;

    Lexer lexer_;
    Function function_;
    std::vector<Scope> scopes_;
    int blocks_ = 0; // opened so far: makes names of inner scopes unique
};

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

Function Parser::function(bool with_body) {
    while (is_linkage(lexer_.peek().text))
        lexer_.take();
    Token kind = lexer_.take();
    function_.is_entry = kind.is(".entry");
    function_.line = kind.line;
    if (!function_.is_entry)
        parameter_list(function_.results);
    function_.name = lexer_.expect_word().text;
    parameter_list(function_.parameters);
    while (!lexer_.peek().is("{")) {
        Token word = lexer_.take();
        if (word.kind == Token::Kind::end || word.is(";"))
            throw Error(word.line, function_.name + " has no body");
        auto product = [&] {
            std::uint32_t total = static_cast<std::uint32_t>(integer());
            while (lexer_.accept(","))
                total *= static_cast<std::uint32_t>(integer());
            return total;
        };
        if (word.is(".maxntid"))
            function_.max_threads = product();
        else if (word.is(".reqntid"))
            function_.required_threads = product();
    }
    if (with_body) {
        lexer_.expect("{");
        block();
    }
    return std::move(function_);
}

void Parser::block() {
    ++blocks_;
    scopes_.emplace_back();
    while (!lexer_.accept("}")) {
        if (lexer_.peek().kind == Token::Kind::end)
            throw Error(lexer_.peek().line, function_.name + " is not closed before the end of the text");
        statement();
    }
    scopes_.pop_back();
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

int Parser::find_register(std::string_view name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
        if (auto found = scope->registers.find(std::string(name)); found != scope->registers.end())
            return found->second;
        for (const Scope::Range &range : scope->ranges) {
            if (!name.starts_with(range.prefix) || name.size() == range.prefix.size())
                continue;
            int number = 0;
            bool digits = true;
            for (char c : name.substr(range.prefix.size())) {
                digits &= c >= '0' && c <= '9' && number < 100'000'000;
                number = number * 10 + (c - '0');
                if (!digits)
                    break;
            }
            if (digits && number < range.count)
                return range.first + number;
        }
    }
    return -1;
}

std::string Parser::unique_name(std::string_view name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
        if (auto found = scope->variables.find(std::string(name)); found != scope->variables.end())
            return found->second;
    return std::string(name);
}

Operand Parser::primary() {
    Operand result;
    const Token &next = lexer_.peek();
    if (next.is("-") || next.kind == Token::Kind::number) {
        bool negative = lexer_.accept("-");
        Token token = lexer_.take();
        result.kind = Operand::Kind::immediate;
        result.bits = number_bits(token, result.is_float);
        if (negative)
            result.bits = result.is_float ? result.bits ^ (1ull << 63) : 0 - result.bits;
        return result;
    }
    Token word = lexer_.expect_word();
    if (int index = find_register(word.text); index >= 0) {
        result.kind = Operand::Kind::reg;
        result.index = index;
    } else if (word.text.front() == '%' || word.is("WARP_SZ")) {
        result.kind = Operand::Kind::special;
        result.text = word.text;
    } else if (word.is("_")) {
        result.kind = Operand::Kind::sink;
    } else {
        result.kind = Operand::Kind::symbol;
        result.text = unique_name(word.text);
    }
    return result;
}

Operand Parser::operand() {
    Operand result;
    if (lexer_.accept("{")) {
        result.kind = Operand::Kind::vector;
        do
            result.elements.push_back(operand());
        while (lexer_.accept(","));
        lexer_.expect("}");
        return result;
    }
    if (lexer_.accept("(")) { // the argument and result lists of a call
        result.kind = Operand::Kind::vector;
        if (lexer_.accept(")"))
            return result;
        do
            result.elements.push_back(operand());
        while (lexer_.accept(","));
        lexer_.expect(")");
        return result;
    }
    bool address = lexer_.accept("[");
    bool negated = lexer_.accept("!");
    result = primary();
    result.negated = negated;
    while (lexer_.peek().is("+") || (lexer_.peek().is("-") && result.kind != Operand::Kind::immediate)) {
        bool minus = lexer_.take().is("-");
        std::int64_t offset = integer();
        result.offset += minus ? -offset : offset;
    }
    if (address) {
        lexer_.expect("]");
        if (result.kind == Operand::Kind::immediate) {
            result.offset += static_cast<std::int64_t>(result.bits);
            result.bits = 0;
        }
        result.kind = Operand::Kind::address;
    } else if (lexer_.accept("|")) {
        Operand pair;
        pair.kind = Operand::Kind::pair;
        pair.elements = {std::move(result), primary()};
        return pair;
    }
    return result;
}

void Parser::statement() {
    if (lexer_.accept("{"))
        return block();
    if (lexer_.accept(";"))
        return;
    Instruction instruction;
    instruction.line = lexer_.peek().line;
    if (lexer_.accept("@")) {
        instruction.guard_negated = lexer_.accept("!");
        Token name = lexer_.expect_word();
        instruction.guard = find_register(name.text);
        if (instruction.guard < 0)
            throw Error(name.line, "guard " + std::string(name.text) + " is not declared");
    }
    Token word = lexer_.expect_word();
    if (word.text.front() == '.') {
        if (word.is(".reg"))
            return declare_registers();
        if (Space space = space_named(word.text); space != Space::none)
            return declare_variable(space);
        // .pragma, .loc, .file and .section say nothing about what is computed
        if (word.is(".pragma") || word.is(".callprototype") || word.is(".branchtargets")) {
            while (!lexer_.accept(";"))
                if (lexer_.take().kind == Token::Kind::end)
                    throw Error(word.line, "the text ends inside " + std::string(word.text));
            return;
        }
        if (word.is(".loc") || word.is(".file")) {
            int line = word.line;
            while (lexer_.peek().line == line && lexer_.peek().kind != Token::Kind::end)
                lexer_.take();
            return;
        }
        throw Error(word.line, "unknown directive " + std::string(word.text));
    }
    if (lexer_.accept(":")) {
        function_.labels[std::string(word.text)] = function_.body.size();
        return;
    }
    std::vector<std::string> parts = split(word.text, '.');
    instruction.opcode = std::move(parts.front());
    instruction.modifiers.assign(std::make_move_iterator(parts.begin() + 1),
                                 std::make_move_iterator(parts.end()));
    for (std::string &modifier : instruction.modifiers) // the longer names of what we know by the shorter
        if (modifier == "shared::cta" || modifier == "param::entry" || modifier == "param::func")
            modifier.erase(modifier.find(':'));
    try {
        if (!lexer_.accept(";")) {
            do
                instruction.operands.push_back(operand());
            while (lexer_.accept(","));
            lexer_.expect(";");
        }
    } catch (const Error &error) {
        throw Error(error.line, std::string(error.what()) + ", in " + std::string(word.text));
    }
    function_.body.push_back(std::move(instruction));
}

} // namespace

Function Module::function(std::string_view name) const {
    const FunctionText &found = find(name);
    return Parser(found.text, found.line).function(true);
}

Function Module::signature(std::string_view name) const {
    const FunctionText &found = find(name);
    return Parser(found.text, found.line).function(false);
}

const std::vector<Variable> &Module::variables() const {
    if (!variables_read_) {
        for (auto [text, line] : variable_texts_)
            variables_.push_back(Parser(text, line).module_variable());
        variables_read_ = true;
    }
    return variables_;
}

} // namespace ptx
