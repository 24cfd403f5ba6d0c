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

/// Whether PTX has a special register of that name, "%tid.x".
bool is_special(std::string_view name) {
    static constexpr std::string_view names[] = {"tid",
                                                 "ntid",
                                                 "laneid",
                                                 "warpid",
                                                 "nwarpid",
                                                 "ctaid",
                                                 "nctaid",
                                                 "smid",
                                                 "nsmid",
                                                 "gridid",
                                                 "clusterid",
                                                 "nclusterid",
                                                 "lanemask_eq",
                                                 "lanemask_le",
                                                 "lanemask_lt",
                                                 "lanemask_ge",
                                                 "lanemask_gt",
                                                 "clock",
                                                 "clock_hi",
                                                 "clock64",
                                                 "globaltimer",
                                                 "globaltimer_lo",
                                                 "globaltimer_hi",
                                                 "cluster_ctaid",
                                                 "cluster_nctaid",
                                                 "cluster_ctarank",
                                                 "cluster_nctarank",
                                                 "is_explicit_cluster",
                                                 "total_smem_size",
                                                 "aggr_smem_size",
                                                 "dynamic_smem_size",
                                                 "current_graph_exec"};
    name.remove_prefix(1);
    for (std::string_view prefix : {"pm", "envreg", "reserved_smem_offset"})
        if (name.starts_with(prefix))
            return true;
    return std::ranges::find(names, name.substr(0, name.find('.'))) != std::end(names);
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
        std::unordered_map<std::string, std::string> labels;    // the same, in blocks within the body
        std::size_t first_instruction = 0;
    };

    std::int64_t integer();
    void initializer(Variable &variable);
    void parameter_list(std::vector<Variable> &into);
    void block();
    void statement();
    bool directive(const Token &word);
    void label(const std::string &name);
    void settle_labels(const Scope &scope);
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
    std::string last_label_;
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
    scopes_.emplace_back().first_instruction = function_.body.size();
    while (!lexer_.accept("}")) {
        if (lexer_.peek().kind == Token::Kind::end)
            throw Error(lexer_.peek().line, function_.name + " is not closed before the end of the text");
        statement();
    }
    settle_labels(scopes_.back());
    scopes_.pop_back();
}

/// A label within an inner block is known there only: others may have the same name elsewhere.
void Parser::label(const std::string &name) {
    std::string unique = name;
    if (scopes_.size() > 1) {
        unique += "@" + std::to_string(blocks_);
        scopes_.back().labels[name] = unique;
    }
    function_.labels[unique] = function_.body.size();
    last_label_ = unique;
}

/// Branches of a block that ends to labels of its own; those of inner blocks have been settled before.
void Parser::settle_labels(const Scope &scope) {
    if (scope.labels.empty())
        return;
    auto settle = [&](std::string &name) {
        if (const auto found = scope.labels.find(name); found != scope.labels.end())
            name = found->second;
    };
    for (std::size_t i = scope.first_instruction; i < function_.body.size(); ++i) {
        Instruction &in = function_.body[i];
        if (in.opcode != "bra" && in.opcode != "brx")
            continue;
        for (Operand &operand : in.operands)
            settle(operand.text);
    }
    for (const auto &[name, unique] : scope.labels)
        if (const auto found = function_.branch_targets.find(unique); found != function_.branch_targets.end())
            std::for_each(found->second.begin(), found->second.end(), settle);
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
        if (word.text.front() == '%' && !is_special(word.text))
            throw Error(word.line, std::string(word.text) + " is not declared");
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

/// Takes what begins with a dot; false when the word is an instruction's or a label.
bool Parser::directive(const Token &word) {
    if (word.text.front() != '.')
        return false;
    if (word.is(".reg")) {
        declare_registers();
    } else if (Space space = space_named(word.text); space != Space::none) {
        declare_variable(space);
    } else if (word.is(".branchtargets")) {
        std::vector<std::string> &targets = function_.branch_targets[last_label_];
        do
            targets.emplace_back(lexer_.expect_word().text);
        while (lexer_.accept(","));
        lexer_.expect(";");
    } else if (word.is(".pragma") || word.is(".callprototype") || word.is(".calltargets")) {
        // These, .loc and .file say nothing about what is computed.
        while (!lexer_.accept(";"))
            if (lexer_.take().kind == Token::Kind::end)
                throw Error(word.line, "the text ends inside " + std::string(word.text));
    } else if (word.is(".loc") || word.is(".file")) {
        while (lexer_.peek().line == word.line && lexer_.peek().kind != Token::Kind::end)
            lexer_.take();
    } else {
        throw Error(word.line, "unknown directive " + std::string(word.text));
    }
    return true;
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
    if (directive(word))
        return;
    if (lexer_.accept(":"))
        return label(std::string(word.text));
    std::vector<std::string> parts = split(word.text, '.');
    instruction.opcode = std::move(parts.front());
    instruction.modifiers.assign(std::make_move_iterator(parts.begin() + 1),
                                 std::make_move_iterator(parts.end()));
    for (std::string &modifier : instruction.modifiers) // the longer names of what we know by the shorter
        if (modifier == "shared::cta" || modifier == "shared::cluster" || modifier == "param::entry" ||
            modifier == "param::func") // all clusters are of one block
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

namespace {

/// Whether a variable may be defined in several of the texts that are linked.
bool is_linkage_of_many(std::string_view text) {
    return text.starts_with(".weak") || text.starts_with(".common");
}

} // namespace

const std::vector<Variable> &Module::variables() const {
    if (!variables_read_) {
        std::unordered_map<std::string, std::size_t> places; // in variables_, by name
        for (auto [text, line] : variable_texts_) {
            Variable variable = Parser(text, line).module_variable();
            const auto [known, added] = places.try_emplace(variable.name, variables_.size());
            if (added) {
                variables_.push_back(std::move(variable));
                continue;
            }
            // What one text of several that are linked declares, another defines.
            Variable &other = variables_[known->second];
            if (!variable.is_extern && !other.is_extern && !is_linkage_of_many(text))
                throw Error(line, variable.name +
                                      " is there twice: texts that are linked must not define the same name");
            if (other.is_extern && !variable.is_extern)
                other = std::move(variable);
        }
        variables_read_ = true;
    }
    return variables_;
}

} // namespace ptx
