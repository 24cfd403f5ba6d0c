// A module's index: where its functions and variables lie in its text, found without reading any body.
#include "lexer.hpp"
#include "parser.hpp"

#include <algorithm>
#include <unordered_set>

namespace ptx {

Module::Module(std::string text) : text_(std::make_unique<const std::string>(std::move(text))) {
    Lexer lexer(*text_, 1);
    while (lexer.peek().kind != Token::Kind::end) {
        std::size_t start = lexer.offset();
        int line = lexer.peek().line;
        Token word = lexer.take();
        if (word.is(".version")) {
            version_ = lexer.take().text;
            ++parts_;
            continue;
        }
        if (word.is(".target")) {
            target_ = lexer.take().text;
            while (lexer.accept(","))
                lexer.take();
            continue;
        }
        if (word.is(".address_size")) {
            if (!lexer.take().is("64"))
                throw Error(word.line, "only 64-bit addresses are supported");
            continue;
        }
        Token linkage = word;
        bool is_private = true;
        while (is_linkage(word.text)) {
            linkage = word;
            is_private = false;
            word = lexer.take();
        }
        bool is_entry = word.is(".entry");
        if (is_entry || word.is(".func")) {
            std::string_view name;
            // .func (results) name (parameters); the name is the word outside parentheses
            for (int depth = 0; !lexer.peek().is("{") && !lexer.peek().is(";");) {
                Token token = lexer.take();
                while (token.is(".pragma") && lexer.peek().kind != Token::Kind::end && !lexer.accept(";"))
                    lexer.take();
                if (token.kind == Token::Kind::end)
                    throw Error(line, "the text ends inside a function's head");
                depth += token.is("(") - token.is(")");
                if (depth == 0 && token.kind == Token::Kind::word && token.text.front() != '.' &&
                    name.empty())
                    name = token.text;
            }
            if (lexer.accept(";")) // a prototype
                continue;
            lexer.expect("{");
            lexer.skip_block();
            define(name,
                   {lexer.text().substr(start, lexer.offset() - start), line, is_entry, parts_,
                    is_private && !is_entry},
                   linkage.is(".weak"));
        } else if (space_named(word.text) != Space::none) {
            while (!lexer.peek().is(";")) {
                if (lexer.accept("{"))
                    lexer.skip_block();
                else if (lexer.take().kind == Token::Kind::end)
                    throw Error(line, "the text ends inside a declaration");
            }
            variable_texts_.push_back(
                {lexer.text().substr(start, lexer.offset() - start), line, parts_, is_private});
            lexer.expect(";");
        } else if (word.is(".alias")) {
            const Token alias = lexer.expect_word();
            lexer.expect(",");
            aliases_[alias.text] = lexer.expect_word().text;
            lexer.expect(";");
        } else if (word.is(".tex")) { // of old: .tex .u32 name;
            while (!lexer.accept(";"))
                if (lexer.take().kind == Token::Kind::end)
                    throw Error(line, "the text ends inside a declaration");
        } else if (word.is(".section") || word.is(".file") || word.is(".pragma")) {
            // Debug sections end with a block, the others with a line or a semicolon.
            if (word.is(".section")) {
                while (!lexer.accept("{"))
                    if (lexer.take().kind == Token::Kind::end)
                        throw Error(line, "the text ends inside a section's head");
                lexer.skip_block();
            } else {
                int in_line = word.line;
                while (lexer.peek().line == in_line && lexer.peek().kind != Token::Kind::end)
                    lexer.take();
            }
        } else if (!word.is(";")) {
            throw Error(word.line, "unknown at module level: '" + std::string(word.text) + "'");
        }
    }
    if (parts_ > 1)
        (void)variables(); // what other names some have must be known before a body is read
}

const FunctionText &Module::find(std::string_view name) const {
    auto found = functions_.find(unaliased(name));
    if (found == functions_.end())
        throw Error(0, "no function " + std::string(name) + " in this module");
    return found->second;
}

bool Module::has_entry(std::string_view name) const {
    auto found = functions_.find(name);
    return found != functions_.end() && found->second.is_entry;
}

std::optional<std::uint64_t> Module::function_address(std::string_view name) const {
    const auto found = std::find(order_.begin(), order_.end(), unaliased(name));
    if (found == order_.end())
        return std::nullopt;
    return 16 * (1 + static_cast<std::uint64_t>(found - order_.begin())); // below all that is ever mapped
}

std::string_view Module::unaliased(std::string_view name) const {
    const auto found = aliases_.find(name);
    return found == aliases_.end() ? name : found->second;
}

/// Calls by an alias are calls of what it stands for.
void Module::name_aliased(Function &function) const {
    if (aliases_.empty())
        return;
    for (Instruction &in : function.body)
        if (in.opcode == "call" || in.opcode == "mov")
            for (Operand &operand : in.operands)
                if (operand.kind == Operand::Kind::symbol)
                    operand.text = unaliased(operand.text);
}

std::vector<std::string> Module::callable_names() const {
    std::vector<std::string> names;
    for (std::string_view name : order_)
        if (!functions_.at(name).is_entry)
            names.emplace_back(name);
    return names;
}

const std::vector<std::string> &Module::pointed_names() const {
    if (pointed_names_)
        return *pointed_names_;
    std::unordered_set<std::string_view> pointed;
    bool names_only = false; // a declaration or a call: up to the end of the statement
    unsigned part = 0;
    for (Lexer lexer(*text_, 1); lexer.peek().kind != Token::Kind::end;) {
        const Token token = lexer.take();
        part += token.is(".version");
        if (token.is(";") || token.is("{") || token.is("}"))
            names_only = false;
        else if (token.is(".func") || token.is("call") || token.text.starts_with("call."))
            names_only = true;
        else if (const auto found = functions_.find(unaliased(name_in(part, token.text)));
                 !names_only && found != functions_.end() && !found->second.is_entry)
            pointed.insert(found->first);
    }
    pointed_names_ = callable_names();
    std::erase_if(*pointed_names_, [&](const std::string &name) { return !pointed.contains(name); });
    return *pointed_names_;
}

std::vector<std::string> Module::entry_names() const {
    std::vector<std::string> names;
    for (std::string_view name : order_)
        if (functions_.at(name).is_entry)
            names.emplace_back(name);
    return names;
}

} // namespace ptx
