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

/// Whether it may be PTX all the same: what is left out here, or the operands of an instruction that is.
bool is_ours(const ptx::Error &error) {
    const std::string_view text = error.what();
    if (text.find("not supported") != text.npos)
        return true;
    const auto at = text.rfind(", in ");
    return at != text.npos &&
           !::soft::known_modifiers().contains(text.substr(at + 5, text.find('.', at) - at - 5));
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
                (void)module.function(name);
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
