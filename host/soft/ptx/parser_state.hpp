// Reads a function's text, or a variable's: what parser.cpp, which reads bodies, and parser_declarations.cpp
// share.
#pragma once

#include "lexer.hpp"
#include "parser.hpp"

#include <unordered_map>

namespace ptx {

/// Makes two 64-bit registers of each 128-bit one.
void split_wide_registers(Function &function);

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
    std::int64_t element_offset(const Token &word, const std::string &name);
    int find_register(std::string_view name) const;
    std::string unique_name(std::string_view name) const;

    Lexer lexer_;
    Function function_;
    std::vector<Scope> scopes_;
    int blocks_ = 0; // opened so far: makes names of inner scopes unique
    std::string last_label_;
};

} // namespace ptx
