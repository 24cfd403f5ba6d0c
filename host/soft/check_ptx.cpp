#include "soft/check_ptx.hpp"

#include "soft/exec/modifiers.hpp"
#include "soft/ptx/parser.hpp"

namespace shimbench::soft {

namespace {

// Reading bodies takes about a second for so many bytes: longer texts are read kernel by kernel, when
// launched.
constexpr std::size_t bytes_read_at_once = 16u << 20;

std::string described(const ptx::Error &error) {
    return "ptxas application ptx input, line " + std::to_string(error.line) + "; error : " + error.what() +
           "\n";
}

/// Whether it may be PTX all the same, and is left out here.
bool is_ours(const ptx::Error &error) {
    const std::string_view text = error.what();
    return text.find("not supported") != text.npos || text.find("is not implemented") != text.npos;
}

/// What cannot be read of a function. Operands of an instruction that is not performed may be well-formed for
/// all we know: it is refused by its name when its kernel is launched.
std::string complaints_of(const ptx::Function &function) {
    std::string complaints;
    for (const ptx::Instruction &in : function.body) {
        if (in.operands.size() != 1 || in.operands[0].kind != ptx::Operand::Kind::none)
            continue;
        try {
            ::soft::check_modifiers(in);
            ::soft::check_operands(in);
        } catch (const ptx::Error &error) {
            if (!is_ours(error))
                complaints += described(error);
        }
    }
    return complaints;
}

} // namespace

std::string ptx_complaint(std::string text) {
    const bool bodies = text.size() <= bytes_read_at_once;
    try {
        const ptx::Module module(std::move(text));
        (void)module.variables();
        std::string complaints;
        auto read = [&](const std::string &name) {
            try {
                complaints += complaints_of(module.function(name));
            } catch (const ptx::Error &error) {
                if (!is_ours(error))
                    complaints += described(error);
            }
        };
        if (bodies) {
            for (const std::string &name : module.entry_names())
                read(name);
            for (const std::string &name : module.callable_names())
                read(name);
        }
        return complaints;
    } catch (const ptx::Error &error) {
        return is_ours(error) ? "" : described(error);
    }
}

} // namespace shimbench::soft
