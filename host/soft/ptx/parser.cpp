// Bodies of functions: statements, labels, operands.
#include "parser_state.hpp"

#include <algorithm>

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

/// Whether an element of an array is memory to it; to others it is an address.
bool names_memory(std::string_view opcode) {
    return opcode == "ld" || opcode == "ldu" || opcode == "st" || opcode == "atom" || opcode == "red";
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

} // namespace

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
        if (word.is(".pragma"))
            skip_statement(word);
        else if (word.is(".maxntid"))
            function_.max_threads = product();
        else if (word.is(".reqntid"))
            function_.required_threads = product();
        else if (word.is(".reqnctapercluster"))
            function_.cluster_blocks = product();
    }
    if (with_body) {
        lexer_.expect("{");
        block();
        split_wide_registers(function_);
    }
    return std::move(function_);
}

void Parser::block() {
    const Nested nested(*this);
    Scope &scope = scopes_.emplace_back();
    scope.first_instruction = function_.body.size();
    if (++blocks_ > 1)
        scope.suffix = "@" + std::to_string(blocks_);
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
    const std::string unique = name + scopes_.back().suffix;
    if (unique != name)
        scopes_.back().labels[name] = unique;
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

/// A register, or a part of one: %r1.b0.
bool Parser::find_part(std::string_view name, Operand &found) const {
    found.kind = Operand::Kind::reg;
    if (found.index = find_register(name); found.index >= 0)
        return true;
    const std::size_t dot = name.find('.');
    if (dot == name.npos || dot + 1 >= name.size() || (name[dot + 1] != 'b' && name[dot + 1] != 'h'))
        return false;
    found.text = name.substr(dot + 1);
    found.index = find_register(name.substr(0, dot));
    return found.index >= 0;
}

Operand Parser::primary() {
    Operand result;
    if (lexer_.peek().is("-")) { // of a register, as vmad has it, or a constant's sign
        const Lexer before = lexer_;
        lexer_.take();
        if (lexer_.peek().kind == Token::Kind::word && !lexer_.peek().is("WARP_SZ")) {
            result = primary();
            result.negated = true;
            return result;
        }
        lexer_ = before;
    }
    if (begins_constant()) {
        const Constant value = expression();
        result.kind = Operand::Kind::immediate;
        result.bits = value.bits;
        result.is_float = value.kind == Constant::Kind::real;
        return result;
    }
    Token word = lexer_.expect_word();
    if (Operand found; find_part(word.text, found)) {
        result = std::move(found);
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
        if (lexer_.accept("[")) {
            result.is_element = true;
            result.offset = element_offset(word, result.text);
            lexer_.expect("]");
        }
    }
    return result;
}

/// Bytes from an array's begin to the element whose index stands in brackets behind its name.
std::int64_t Parser::element_offset(const Token &word, const std::string &name) {
    const std::int64_t index = integer();
    if (index == 0)
        return 0;
    for (const Variable &variable : function_.variables)
        if (variable.name == name)
            return index * static_cast<std::int64_t>(size_of(variable.type));
    throw Error(word.line,
                "elements of " + std::string(word.text) + " but its first are not supported by name");
}

Operand Parser::operand() {
    const Nested nested(*this);
    Operand result;
    const auto with_second = [&] { // behind a value or a list: | and a predicate
        if (!lexer_.accept("|"))
            return std::move(result);
        Operand pair;
        pair.kind = Operand::Kind::pair;
        pair.elements = {std::move(result), primary()};
        return pair;
    };
    if (lexer_.accept("{")) {
        result = list("}");
        return with_second();
    }
    if (in_call_ && lexer_.accept("(")) // its arguments or results
        return list(")");
    bool address = lexer_.accept("[");
    bool negated = lexer_.accept("!");
    result = primary();
    if (negated && result.kind == Operand::Kind::immediate)
        result.bits = result.bits == 0;
    else
        result.negated |= negated;
    while (lexer_.peek().is("+") || (lexer_.peek().is("-") && result.kind != Operand::Kind::immediate)) {
        bool minus = lexer_.take().is("-");
        std::int64_t offset = integer(products);
        result.offset += minus ? -offset : offset;
    }
    if (address) {
        while (lexer_.accept(",")) // a sampler, coordinates
            result.elements.push_back(operand());
        lexer_.expect("]");
        lexer_.accept(".unified"); // of a unified address: says nothing here
        if (result.kind == Operand::Kind::immediate) {
            result.offset += static_cast<std::int64_t>(result.bits);
            result.bits = 0;
        }
        result.kind = Operand::Kind::address;
        return result;
    }
    return with_second();
}

/// What stands between braces or parentheses, the first of which has been taken.
Operand Parser::list(std::string_view end) {
    Operand result;
    result.kind = Operand::Kind::vector;
    if (lexer_.accept(end))
        return result;
    do
        result.elements.push_back(operand());
    while (lexer_.accept(","));
    lexer_.expect(end);
    return result;
}

/// Up to the semicolon. What cannot be read is the instruction's own trouble: it is kept in place of its
/// operands, to be told when the instruction is wanted, and the rest of the text is read all the same.
void Parser::operands(Instruction &instruction, std::string_view name) {
    if (lexer_.accept(";"))
        return;
    in_call_ = instruction.opcode == "call";
    try {
        do
            instruction.operands.push_back(operand());
        while (lexer_.accept(","));
        lexer_.expect(";");
    } catch (const Error &error) {
        instruction.operands.assign(1, {});
        instruction.operands[0].text = std::string(error.what()) + ", in " + std::string(name);
        instruction.operands[0].offset = error.line;
        for (int depth = 0; !lexer_.accept(";"); lexer_.take()) {
            if (lexer_.peek().kind == Token::Kind::end || (lexer_.peek().is("}") && depth == 0))
                return;
            depth += lexer_.peek().is("{") - lexer_.peek().is("}");
        }
    }
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
        skip_statement(word);
    } else if (word.is(".loc") || word.is(".file")) {
        while (lexer_.peek().line == word.line && lexer_.peek().kind != Token::Kind::end)
            lexer_.take();
    } else {
        throw Error(word.line, "unknown directive " + std::string(word.text));
    }
    return true;
}

void Parser::skip_statement(const Token &from) {
    while (!lexer_.accept(";"))
        if (lexer_.take().kind == Token::Kind::end)
            throw Error(from.line, "the text ends inside " + std::string(from.text));
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
    operands(instruction, word.text);
    if (names_memory(instruction.opcode))
        for (Operand &operand : instruction.operands)
            if (operand.is_element) // as in ld.global.u32 %r1, a[2]: what stands there, not where it is
                operand.kind = Operand::Kind::address;
    function_.body.push_back(std::move(instruction));
}

Function Module::function(std::string_view name) const {
    const FunctionText &found = find(name);
    Function function = Parser(found.text, found.line).function(true);
    name_aliased(function);
    rename_symbols(function, found.part);
    return function;
}

Function Module::signature(std::string_view name) const {
    const FunctionText &found = find(name);
    return Parser(found.text, found.line).function(false);
}

Function head_of(std::string_view text) {
    return Parser(text, 1).function(false);
}

Variable declared_in(std::string_view text) {
    return Parser(text, 1).module_variable();
}

} // namespace ptx
