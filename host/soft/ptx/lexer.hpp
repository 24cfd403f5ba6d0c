// The words of PTX text, one at a time, with the line they stand in.
#pragma once

#include "ast.hpp"

namespace ptx {

struct Token {
    enum class Kind : std::uint8_t { end, word, number, string, punctuation };
    Kind kind = Kind::end;
    std::string_view text;
    int line = 0;

    bool is(std::string_view wanted) const { return text == wanted && kind != Kind::string; }
};

class Lexer {
  public:
    Lexer(std::string_view text, int first_line) : text_(text), line_(first_line) { advance(); }

    const Token &peek() const { return token_; }
    Token take() {
        Token taken = token_;
        advance();
        return taken;
    }
    bool accept(std::string_view wanted) {
        if (!token_.is(wanted))
            return false;
        advance();
        return true;
    }
    /// Takes what must come now; throws Error naming what stands there instead.
    void expect(std::string_view wanted);
    Token expect_word();

    /// Where the token of peek() starts.
    std::size_t offset() const { return static_cast<std::size_t>(token_.text.data() - text_.data()); }
    std::string_view text() const { return text_; }
    /// Goes behind the brace that closes the one just taken; strings and comments are skipped over.
    void skip_block();

  private:
    void advance();
    void skip_blank();

    std::string_view text_;
    std::size_t at_ = 0;
    int line_;
    Token token_;
};

/// The bits of a number as PTX writes it: 12, -3, 0x1f, 0f3F800000, 0d..., 1.5; `is_float` tells of a
/// decimal fraction or a 0d form, which stand for 64-bit floats. Throws Error.
std::uint64_t number_bits(const Token &token, bool &is_float);

} // namespace ptx
