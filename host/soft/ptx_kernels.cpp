// Kernel headers out of PTX text, each read when it is asked for: a library has thousands.
#include <algorithm>

#include "soft/kernels.hpp"
#include "soft/ptx/lexer.hpp"
#include "soft/ptx/parser.hpp"

namespace shimbench::soft {

namespace {

bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || c == '%' || c == '.';
}

/// Calls visit(place) for each place of a directive, until that says true.
template <class Visit> void each_directive(std::string_view text, std::string_view directive, Visit visit) {
    for (auto at = text.find(directive); at != text.npos; at = text.find(directive, at + directive.size())) {
        const std::size_t line = text.rfind('\n', at) + 1, end = at + directive.size(); // npos + 1 is 0
        const bool whole = (at == 0 || !is_name(text[at - 1])) && end < text.size() &&
                           (text[end] == '.' || !is_name(text[end]));
        if (whole && text.substr(line, at - line).find("//") == text.npos && visit(at))
            return;
    }
}

std::string_view name_behind(std::string_view ptx, std::size_t entry) {
    ptx::Lexer words(ptx.substr(entry), 1);
    words.take();
    return words.peek().kind == ptx::Token::Kind::word ? words.peek().text : std::string_view();
}

std::uint32_t aligned(std::uint64_t offset, std::uint64_t alignment) {
    return static_cast<std::uint32_t>((offset + alignment - 1) / alignment * alignment);
}

/// False when they are more than a launch can have.
bool lay_out(const std::vector<ptx::Variable> &parameters, ParameterLayout &layout) {
    for (const ptx::Variable &parameter : parameters) {
        const std::uint32_t offset = aligned(layout.bytes, parameter.align);
        if (layout.parameters.size() >= WIRE_PARAMETERS_MAX || offset > WIRE_PARAMETER_BYTES ||
            parameter.size > WIRE_PARAMETER_BYTES - offset)
            return false;
        layout.parameters.push_back({offset, static_cast<std::uint32_t>(parameter.size)});
        layout.bytes = offset + static_cast<std::uint32_t>(parameter.size);
    }
    return true;
}

/// The braces of the function that begins there, and what is between them.
std::string_view body_of(std::string_view function) {
    ptx::Lexer words(function, 1);
    while (!words.peek().is("{"))
        if (words.take().kind == ptx::Token::Kind::end)
            return {};
    const std::size_t begin = words.offset();
    words.take();
    words.skip_block();
    return function.substr(begin, words.offset() - begin);
}

/// Bytes of the shared variables that a body declares.
std::uint32_t shared_bytes(std::string_view body) {
    constexpr std::uint64_t most = 1u << 30;
    std::uint64_t bytes = 0;
    each_directive(body, ".shared", [&](std::size_t at) {
        const ptx::Variable variable = ptx::declared_in(body.substr(at));
        bytes = aligned(bytes, variable.align) + std::min(variable.size, most);
        return bytes > most;
    });
    return static_cast<std::uint32_t>(std::min(bytes, most));
}

} // namespace

std::vector<std::string_view> ptx_kernel_names(std::string_view ptx) {
    std::vector<std::string_view> names;
    each_directive(ptx, ".entry", [&](std::size_t at) {
        names.push_back(name_behind(ptx, at));
        return false;
    });
    return names;
}

std::optional<KernelFacts> ptx_kernel(std::string_view ptx, std::string_view name) {
    std::string_view text;
    each_directive(ptx, ".entry", [&](std::size_t at) {
        if (name_behind(ptx, at) != name)
            return false;
        text = ptx.substr(at);
        return true;
    });
    if (text.empty())
        return std::nullopt;
    try {
        const ptx::Function head = ptx::head_of(text);
        KernelFacts kernel;
        kernel.name = head.name;
        if (!lay_out(head.parameters, kernel.layout))
            return std::nullopt;
        if (const std::uint32_t threads = head.required_threads ? head.required_threads : head.max_threads)
            kernel.max_threads = std::min(threads, 1024u);
        kernel.static_shared_bytes = shared_bytes(body_of(text));
        return kernel;
    } catch (const ptx::Error &) {
        return std::nullopt;
    }
}

} // namespace shimbench::soft
