// PTX text to data: a module's index at once, a function's body when it is asked for.
#pragma once

#include "ast.hpp"

#include <memory>
#include <optional>

namespace ptx {

/// A module's text and where its functions lie. Indexing reads no body, so that a library of
/// thousands of kernels loads in milliseconds.
class Module {
  public:
    /// Takes PTX text. Throws Error when its outline cannot be read.
    explicit Module(std::string text);

    bool has_entry(std::string_view name) const;
    std::vector<std::string> entry_names() const;
    /// Reads a function's body. Throws Error with the line.
    Function function(std::string_view name) const;
    /// Parameters and limits only, without the body.
    Function signature(std::string_view name) const;
    /// What a function's name stands for where an address is wanted: nothing lies there, but it is its own.
    std::optional<std::uint64_t> function_address(std::string_view name) const;
    /// Names of what can be called: all functions that are no entries, in their order.
    std::vector<std::string> callable_names() const;
    /// Those of them that something else names than a declaration or a call: a pointer may lead to no other.
    const std::vector<std::string> &pointed_names() const;
    /// A function's text as it stands in the module, and the line it begins in.
    const FunctionText &source(std::string_view name) const { return find(name); }
    /// Module-level variables, initial values included; read on the first call.
    const std::vector<Variable> &variables() const;

    std::string_view version() const { return version_; } // "9.1"
    std::string_view target() const { return target_; }   // "sm_80"
    std::string_view text() const { return *text_; }

  private:
    struct VariableText {
        std::string_view text;
        int line;
        unsigned part;
        bool is_private;
    };

    const FunctionText &find(std::string_view name) const;
    void define(std::string_view name, const FunctionText &function, bool is_weak);
    /// Another name for one that several of the texts that are linked have each for themselves.
    std::string_view rename(std::string_view name, unsigned part) const;
    std::string_view name_in(unsigned part, std::string_view name) const;
    void rename_symbols(Function &function, unsigned part) const;
    /// Of an alias the function that it stands for; else the name itself.
    std::string_view unaliased(std::string_view name) const;
    void name_aliased(Function &function) const;
    void add_variable(Variable variable, const VariableText &text,
                      std::unordered_map<std::string, std::size_t> &places,
                      std::vector<const VariableText *> &texts) const;

    std::unique_ptr<const std::string> text_; // on the heap: the views below stay valid on a move
    std::string_view version_, target_;
    std::unordered_map<std::string_view, FunctionText> functions_;
    std::vector<std::string_view> order_;
    std::unordered_map<std::string_view, std::string_view> aliases_; // of functions
    std::vector<VariableText> variable_texts_;
    unsigned parts_ = 0; // texts that are linked: each begins with .version
    mutable std::vector<std::unordered_map<std::string, std::unique_ptr<const std::string>>>
        renamed_; // of each text
    mutable std::vector<Variable> variables_;
    mutable bool variables_read_ = false;
    mutable std::optional<std::vector<std::string>> pointed_names_;
};

/// The head of the function whose text begins there, .entry or .func. Throws Error.
Function head_of(std::string_view text);
/// The variable whose declaration begins there, with its linkage or its space. Throws Error.
Variable declared_in(std::string_view text);

} // namespace ptx
