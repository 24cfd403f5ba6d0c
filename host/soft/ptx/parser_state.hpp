// Reads a function's text, or a variable's: what parser.cpp, which reads bodies, and parser_declarations.cpp
// share.
#pragma once

#include "lexer.hpp"
#include "parser.hpp"

#include <unordered_map>

namespace ptx {

/// Makes two 64-bit registers of each 128-bit one.
void split_wide_registers(Function &function);

/// What a constant expression comes to.
struct Constant {
    enum class Kind : std::uint8_t { whole, natural, real, single }; // .s64, .u64, .f64, and 0f...
    Kind kind = Kind::whole;
    std::uint64_t bits = 0;
};

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
        std::string suffix; // of the names that are known in it alone; none in a function's outermost one
    };
    /// What may stand in itself, as blocks do, but not without end.
    class Nested {
      public:
        explicit Nested(Parser &parser) : depth_(parser.depth_) {
            if (++depth_ > 200) {
                --depth_;
                throw Error(parser.lexer_.peek().line, "nested too deeply");
            }
        }
        ~Nested() { --depth_; }
        Nested(const Nested &) = delete;

      private:
        unsigned &depth_;
    };

    /// A constant expression, whose operators bind at least so closely; throws Error for a float.
    std::int64_t integer(int closeness = sums);
    Constant expression(int closeness = 0);
    Constant factor();
    Constant literal();
    bool begins_constant() const;
    void initializer(Variable &variable, const std::vector<std::uint64_t> &extents);
    void initial_value(Variable &variable, const std::vector<std::uint64_t> &extents, std::size_t depth);
    void initial_address(Variable &variable, unsigned bytes, unsigned shift);
    void skip_statement(const Token &from);
    void parameter_list(std::vector<Variable> &into);
    void block();
    void statement();
    bool directive(const Token &word);
    void label(const std::string &name);
    void settle_labels(const Scope &scope);
    void declare_registers();
    void declare_variable(Space space);
    void operands(Instruction &instruction, std::string_view name);
    Operand operand();
    Operand list(std::string_view end);
    bool find_part(std::string_view name, Operand &found) const;
    Operand primary();
    std::int64_t element_offset(const Token &word, const std::string &name);
    int find_register(std::string_view name) const;
    std::string unique_name(std::string_view name) const;

    Lexer lexer_;
    Function function_;
    std::vector<Scope> scopes_;
    static constexpr int sums = 9, products = 10; // how closely their operators bind
    int blocks_ = 0;                              // opened so far: makes names of inner scopes unique
    unsigned depth_ = 0;
    bool in_call_ = false; // what stands in parentheses is a list
    std::string last_label_;
};

} // namespace ptx
