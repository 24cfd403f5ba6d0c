#include "lexer.hpp"

#include <bit>
#include <charconv>
#include <cstdlib>

namespace ptx {

namespace {

bool is_word_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || c == '%' || c == '.';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_word(char c) {
    return is_word_start(c) || is_digit(c);
}

} // namespace

void Lexer::skip_blank() {
    while (at_ < text_.size()) {
        char c = text_[at_];
        if (c == '\n') {
            ++line_;
            ++at_;
        } else if (c == ' ' || c == '\t' || c == '\r' || c == '\0') {
            ++at_;
        } else if (c == '/' && text_.substr(at_, 2) == "//") {
            while (at_ < text_.size() && text_[at_] != '\n')
                ++at_;
        } else if (c == '/' && text_.substr(at_, 2) == "/*") {
            at_ += 2;
            while (at_ < text_.size() && text_.substr(at_, 2) != "*/")
                line_ += text_[at_++] == '\n';
            at_ = std::min(at_ + 2, text_.size());
        } else {
            return;
        }
    }
}

void Lexer::advance() {
    skip_blank();
    token_.line = line_;
    std::size_t start = at_;
    if (at_ >= text_.size()) {
        token_ = {Token::Kind::end, text_.substr(text_.size()), line_};
        return;
    }
    char c = text_[at_];
    if (is_digit(c)) {
        // 1.5e-3 is one number, 0x1e-3 are two.
        const bool has_exponent = c != '0' || at_ + 1 >= text_.size() || text_[at_ + 1] == '.';
        auto is_sign = [&] {
            return has_exponent && (text_[at_] == '-' || text_[at_] == '+') &&
                   (text_[at_ - 1] == 'e' || text_[at_ - 1] == 'E');
        };
        while (at_ < text_.size() && (is_word(text_[at_]) || is_sign()))
            ++at_;
        token_.kind = Token::Kind::number;
    } else if (is_word_start(c)) {
        // "::" belongs to a word (L2::128B); a single colon ends a label. A directive ends where the next
        // begins, as in ".reg.b32".
        ++at_;
        while (at_ < text_.size() && (is_word(text_[at_]) || text_.substr(at_, 2) == "::") &&
               !(c == '.' && text_[at_] == '.'))
            at_ += text_[at_] == ':' ? 2 : 1;
        token_.kind = Token::Kind::word;
    } else if (c == '"') {
        ++at_;
        while (at_ < text_.size() && text_[at_] != '"')
            at_ += text_[at_] == '\\' ? 2 : 1;
        at_ = std::min(at_ + 1, text_.size());
        token_.kind = Token::Kind::string;
    } else {
        ++at_;
        token_.kind = Token::Kind::punctuation;
    }
    token_.text = text_.substr(start, at_ - start);
}

void Lexer::expect(std::string_view wanted) {
    if (!accept(wanted))
        throw Error(token_.line,
                    "expected '" + std::string(wanted) + "', found '" + std::string(token_.text) + "'");
}

Token Lexer::expect_word() {
    if (token_.kind != Token::Kind::word)
        throw Error(token_.line, "expected a name, found '" + std::string(token_.text) + "'");
    return take();
}

void Lexer::skip_block() {
    // The block's first token is already read ahead: start again from it.
    at_ = offset();
    line_ = token_.line;
    for (int depth = 1; depth > 0; ++at_) {
        skip_blank();
        if (at_ >= text_.size())
            throw Error(line_, "a block is not closed before the end of the text");
        char c = text_[at_];
        if (c == '{')
            ++depth;
        else if (c == '}')
            --depth;
        else if (c == '"')
            at_ = std::min(text_.find('"', at_ + 1), text_.size() - 1);
    }
    advance();
}

std::uint64_t number_bits(const Token &token, bool &is_float) {
    std::string_view text = token.text;
    is_float = false;
    auto bad = [&] { return Error(token.line, "not a number: '" + std::string(token.text) + "'"); };
    auto hex = [&](std::string_view digits) {
        std::uint64_t value = 0;
        auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
        if (error != std::errc() || end != digits.data() + digits.size())
            throw bad();
        return value;
    };
    if (text.size() > 2 && text[0] == '0' && (text[1] == 'f' || text[1] == 'F'))
        return hex(text.substr(2));
    if (text.size() > 2 && text[0] == '0' && (text[1] == 'd' || text[1] == 'D')) {
        is_float = true;
        return hex(text.substr(2));
    }
    const bool is_hex = text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    if (text.find('.') != text.npos || (!is_hex && text.find_first_of("eE") != text.npos)) {
        is_float = true;
        char *end = nullptr;
        std::string copy(text);
        double value = std::strtod(copy.c_str(), &end);
        if (*end != 0)
            throw bad();
        return std::bit_cast<std::uint64_t>(value);
    }
    while (!text.empty() && (text.back() == 'U' || text.back() == 'u'))
        text.remove_suffix(1);
    if (is_hex)
        return hex(text.substr(2));
    int base = 10;
    if (text.size() > 2 && text[0] == '0' && (text[1] == 'b' || text[1] == 'B')) {
        base = 2;
        text.remove_prefix(2);
    } else if (text.size() > 1 && text[0] == '0') {
        base = 8;
    }
    std::uint64_t value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc() || end != text.data() + text.size())
        throw bad();
    return value;
}

} // namespace ptx
