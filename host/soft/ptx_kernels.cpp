// Kernel headers out of PTX text: .entry NAME ( .param ... ) directives { body }.
#include <algorithm>
#include <cctype>

#include "soft/kernels.hpp"

namespace shimbench::soft {

namespace {

bool is_name(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%';
}

// Splits text into words: directives (.param), names, numbers, single punctuation.
class Words {
  public:
    explicit Words(std::string_view text) : text_(text) {}

    std::string_view next() {
        skip();
        if (at_ >= text_.size())
            return {};
        const std::size_t start = at_++;
        if (text_[start] == '.' || is_name(text_[start]))
            while (at_ < text_.size() && is_name(text_[at_]))
                at_++;
        return text_.substr(start, at_ - start);
    }

  private:
    void skip() {
        while (at_ < text_.size()) {
            if (std::isspace(static_cast<unsigned char>(text_[at_])))
                at_++;
            else if (text_.substr(at_, 2) == "//")
                at_ = std::min(text_.find('\n', at_), text_.size());
            else
                return;
        }
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

// Bytes of a type (.u64); 0 when it is none.
std::uint32_t type_bytes(std::string_view type) {
    if (type == ".b128")
        return 16;
    if (type == ".f16x2" || type == ".bf16x2")
        return 4;
    if (type.size() < 3 || type[0] != '.')
        return 0;
    const auto digits = type.find_first_of("0123456789");
    const auto letters = type.substr(1, digits == std::string_view::npos ? 0 : digits - 1);
    if (letters != "u" && letters != "s" && letters != "b" && letters != "f" && letters != "bf")
        return 0;
    const auto bits = type.substr(digits);
    return bits == "8" ? 1 : bits == "16" ? 2 : bits == "32" ? 4 : bits == "64" ? 8 : 0;
}

std::optional<std::uint32_t> number(std::string_view word) {
    if (word.empty() || word.size() > 9 ||
        !std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; }))
        return std::nullopt;
    std::uint32_t value = 0;
    for (const char c : word)
        value = value * 10 + static_cast<std::uint32_t>(c - '0');
    return value;
}

// One declaration after .param or .shared: attributes, type, name, dimensions. `end` is the word after it.
struct Declared {
    std::uint32_t bytes = 0;
    std::uint32_t alignment = 1;
};

std::optional<Declared> declared(Words &words, std::string_view &end) {
    std::uint32_t element = 0, explicit_alignment = 0;
    bool pointee = false;
    std::string_view word = words.next();
    for (; !word.empty() && word[0] == '.'; word = words.next()) {
        if (word == ".align") {
            // Behind .ptr it speaks of what is pointed to.
            const auto value = number(words.next());
            if (!value)
                return std::nullopt;
            if (!pointee)
                explicit_alignment = *value;
        } else if (word == ".ptr") {
            pointee = true;
        } else if (const auto bytes = type_bytes(word)) {
            element = bytes;
        }
    }
    std::uint64_t bytes = element;
    for (end = words.next(); end == "["; end = words.next()) {
        const auto dimension = number(words.next());
        if (!dimension || words.next() != "]")
            return std::nullopt; // [] is dynamic shared memory: no bytes of its own
        bytes *= *dimension;
    }
    if (!element || bytes > (1u << 30))
        return std::nullopt;
    const std::uint32_t alignment = explicit_alignment ? explicit_alignment : element;
    if (alignment & (alignment - 1))
        return std::nullopt;
    return Declared{static_cast<std::uint32_t>(bytes), alignment};
}

std::uint32_t aligned(std::uint32_t offset, std::uint32_t alignment) {
    return (offset + alignment - 1) & ~(alignment - 1);
}

bool read_parameters(Words &words, ParameterLayout &layout) {
    std::uint32_t offset = 0;
    for (std::string_view word = words.next(); word != ")";) {
        if (word == ",")
            word = words.next();
        if (word != ".param")
            return false;
        const auto parameter = declared(words, word);
        if (!parameter || layout.parameters.size() >= WIRE_PARAMETERS_MAX)
            return false;
        offset = aligned(offset, parameter->alignment);
        layout.parameters.push_back({offset, parameter->bytes});
        offset += parameter->bytes;
        if (offset > WIRE_PARAMETER_BYTES)
            return false;
    }
    layout.bytes = offset;
    return true;
}

// Between the parameters and the body: .maxntid x, y, z and others.
std::string_view read_directives(Words &words, KernelFacts &kernel) {
    std::string_view word = words.next();
    while (!word.empty() && word != "{" && word != ";") {
        const bool threads = word == ".maxntid" || word == ".reqntid";
        word = words.next();
        if (!threads)
            continue;
        std::uint64_t product = 1;
        for (auto value = number(word); value; value = number(word)) {
            product *= *value;
            word = words.next();
            if (word != ",")
                break;
            word = words.next();
        }
        kernel.max_threads = static_cast<std::uint32_t>(std::clamp<std::uint64_t>(product, 1, 1024));
    }
    return word;
}

void read_shared(std::string_view body, KernelFacts &kernel) {
    std::uint32_t offset = 0;
    for (auto found = body.find(".shared ."); found != std::string_view::npos;
         found = body.find(".shared .", found + 1)) {
        if (found && is_name(body[found - 1]))
            continue; // ld.shared and the like
        Words words(body.substr(found + 7));
        std::string_view end;
        if (const auto variable = declared(words, end))
            offset = aligned(offset, variable->alignment) + variable->bytes;
    }
    kernel.static_shared_bytes = offset;
}

// Where `.entry NAME` begins for this name, the name included; npos when it is not there.
std::size_t find_entry(std::string_view ptx, std::string_view name) {
    for (auto at = ptx.find(".entry "); at != std::string_view::npos; at = ptx.find(".entry ", at + 7))
        if (Words words(ptx.substr(at + 7)); words.next() == name)
            return at + 7;
    return std::string_view::npos;
}

} // namespace

std::vector<std::string_view> ptx_kernel_names(std::string_view ptx) {
    std::vector<std::string_view> names;
    for (auto at = ptx.find(".entry "); at != std::string_view::npos; at = ptx.find(".entry ", at + 7)) {
        Words words(ptx.substr(at + 7));
        names.push_back(words.next());
    }
    return names;
}

std::optional<KernelFacts> ptx_kernel(std::string_view ptx, std::string_view name) {
    const auto start = find_entry(ptx, name);
    if (start == std::string_view::npos)
        return std::nullopt;
    Words words(ptx.substr(start));
    KernelFacts kernel;
    kernel.name = words.next();
    std::string_view word = words.next();
    if (word == "(") {
        if (!read_parameters(words, kernel.layout))
            return std::nullopt;
        word = read_directives(words, kernel);
    } else if (word != "{") {
        word = read_directives(words, kernel);
    }
    if (word != "{")
        return std::nullopt;
    const auto body = static_cast<std::size_t>(word.data() - ptx.data());
    const auto end = std::min(ptx.find("\n}", body), ptx.size());
    read_shared(ptx.substr(body, end - body), kernel);
    return kernel;
}

} // namespace shimbench::soft
