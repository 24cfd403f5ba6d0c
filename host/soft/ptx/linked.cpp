// Several texts that are linked are one: what one declares another defines, and what is private to one has
// its name for itself.
#include "parser_state.hpp"

#include <algorithm>

namespace ptx {

namespace {

/// Whether a variable may be defined in several of the texts that are linked.
bool is_linkage_of_many(std::string_view text) {
    return text.starts_with(".weak") || text.starts_with(".common");
}

[[noreturn]] void raise_twice(std::string_view name, int line) {
    throw Error(line,
                std::string(name) + " is there twice: texts that are linked must not define the same name");
}

} // namespace

std::string_view Module::rename(std::string_view name, unsigned part) const {
    if (renamed_.size() <= part)
        renamed_.resize(part + 1);
    auto &other = renamed_[part][std::string(name)];
    if (!other)
        other = std::make_unique<const std::string>(std::string(name) + "@" + std::to_string(part));
    return *other;
}

std::string_view Module::name_in(unsigned part, std::string_view name) const {
    if (part >= renamed_.size())
        return name;
    const auto found = renamed_[part].find(std::string(name));
    return found == renamed_[part].end() ? name : std::string_view(*found->second);
}

void Module::rename_symbols(Function &function, unsigned part) const {
    if (part >= renamed_.size() || renamed_[part].empty())
        return;
    auto is_own = [&](const std::string &name) {
        auto named = [&](const Variable &variable) { return variable.name == name; };
        return std::ranges::any_of(function.variables, named) ||
               std::ranges::any_of(function.parameters, named) ||
               std::ranges::any_of(function.results, named);
    };
    auto settle = [&](const auto &self, Operand &operand) -> void {
        if (!operand.text.empty() && operand.kind != Operand::Kind::special && !is_own(operand.text))
            operand.text = name_in(part, operand.text);
        for (Operand &element : operand.elements)
            self(self, element);
    };
    for (Instruction &in : function.body)
        if (in.opcode != "bra" && in.opcode != "brx") // those name labels
            for (Operand &operand : in.operands)
                settle(settle, operand);
}

void Module::define(std::string_view name, const FunctionText &function, bool is_weak) {
    const auto known = functions_.find(name);
    if (known != functions_.end()) {
        const FunctionText before = known->second;
        if (before.part == function.part || (!before.is_private && !function.is_private)) {
            if (!is_weak) // of weak ones the first is taken
                raise_twice(name, function.line);
            return;
        }
        if (!function.is_private) { // the name is this one's: the private one before it gives way
            const std::string_view other = rename(name, before.part);
            *std::find(order_.begin(), order_.end(), name) = other;
            functions_[other] = before;
            functions_[name] = function;
            order_.push_back(name);
            return;
        }
        name = rename(name, function.part);
    }
    functions_[name] = function;
    order_.push_back(name);
}

/// `places`: in variables_, by name; `texts`: of each of variables_.
void Module::add_variable(Variable variable, const VariableText &text,
                          std::unordered_map<std::string, std::size_t> &places,
                          std::vector<const VariableText *> &texts) const {
    if (const auto known = places.find(variable.name); known != places.end()) {
        // What one text of several that are linked declares, another defines.
        Variable &other = variables_[known->second];
        const VariableText &before = *texts[known->second];
        if (before.part != text.part && (before.is_private || text.is_private)) {
            if (text.is_private) {
                variable.name = rename(variable.name, text.part);
            } else {
                const std::size_t place = known->second;
                other.name = rename(variable.name, before.part);
                places.erase(known);
                places[other.name] = place;
            }
        } else {
            if (!variable.is_extern && !other.is_extern && !is_linkage_of_many(text.text))
                raise_twice(variable.name, text.line);
            if (other.is_extern && !variable.is_extern) {
                other = std::move(variable);
                texts[known->second] = &text;
            }
            return;
        }
    }
    places[variable.name] = variables_.size();
    variables_.push_back(std::move(variable));
    texts.push_back(&text);
}

const std::vector<Variable> &Module::variables() const {
    if (!variables_read_) {
        std::unordered_map<std::string, std::size_t> places;
        std::vector<const VariableText *> texts;
        for (const VariableText &text : variable_texts_)
            add_variable(Parser(text.text, text.line).module_variable(), text, places, texts);
        for (std::size_t i = 0; i < variables_.size(); ++i)
            for (Relocation &relocation : variables_[i].relocations)
                relocation.symbol = name_in(texts[i]->part, relocation.symbol);
        variables_read_ = true;
    }
    return variables_;
}

} // namespace ptx
