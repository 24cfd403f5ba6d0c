// Constant expressions: numbers, and what is computed of them.
//
// Source: PTX ISA, "Constants".
#include "parser_state.hpp"

#include <bit>
#include <string_view>

namespace ptx {

namespace {

using Kind = Constant::Kind;

struct Operator {
    std::string_view text;
    int closeness; // with which it binds
};
// Of two characters first: "<" begins "<<" as well.
constexpr Operator operators[] = {{"||", 1}, {"&&", 2}, {"==", 6}, {"!=", 6}, {"<=", 7}, {">=", 7},
                                  {"<<", 8}, {">>", 8}, {"|", 3},  {"^", 4},  {"&", 5},  {"<", 7},
                                  {">", 7},  {"+", 9},  {"-", 9},  {"*", 10}, {"/", 10}, {"%", 10}};

Constant truth(bool value) {
    return {Kind::whole, value};
}

Constant of_reals(std::string_view op, double a, double b, int line) {
    auto real = [](double value) { return Constant{Kind::real, std::bit_cast<std::uint64_t>(value)}; };
    if (op == "+")
        return real(a + b);
    if (op == "-")
        return real(a - b);
    if (op == "*")
        return real(a * b);
    if (op == "/")
        return real(a / b);
    if (op == "<")
        return truth(a < b);
    if (op == "<=")
        return truth(a <= b);
    if (op == ">")
        return truth(a > b);
    if (op == ">=")
        return truth(a >= b);
    if (op == "==")
        return truth(a == b);
    if (op == "!=")
        return truth(a != b);
    throw Error(line, "'" + std::string(op) + "' takes integers only");
}

Constant shifted(std::string_view op, Constant a, std::uint64_t by) {
    const bool negative = a.kind == Kind::whole && static_cast<std::int64_t>(a.bits) < 0;
    if (op == "<<")
        return {a.kind, by > 63 ? 0 : a.bits << by};
    if (a.kind == Kind::natural)
        return {a.kind, by > 63 ? 0 : a.bits >> by};
    if (by > 63)
        return {a.kind, negative ? ~std::uint64_t{0} : 0};
    return {a.kind, static_cast<std::uint64_t>(static_cast<std::int64_t>(a.bits) >> by)};
}

Constant quotient(Constant a, Constant b, Kind kind, bool is_remainder, int line) {
    if (b.bits == 0)
        throw Error(line, "division by zero in a constant expression");
    if (is_remainder) // of naturals, whatever the operands are
        return {Kind::whole, a.bits % b.bits};
    if (kind == Kind::natural)
        return {kind, a.bits / b.bits};
    if (b.bits == ~std::uint64_t{0}) // of the least number by -1 too
        return {kind, 0 - a.bits};
    return {kind, static_cast<std::uint64_t>(static_cast<std::int64_t>(a.bits) /
                                             static_cast<std::int64_t>(b.bits))};
}

Constant of_integers(std::string_view op, Constant a, Constant b, int line) {
    const Kind kind = a.kind == Kind::natural || b.kind == Kind::natural ? Kind::natural : Kind::whole;
    const bool less = kind == Kind::natural
                          ? a.bits < b.bits
                          : static_cast<std::int64_t>(a.bits) < static_cast<std::int64_t>(b.bits);
    if (op == "+")
        return {kind, a.bits + b.bits};
    if (op == "-")
        return {kind, a.bits - b.bits};
    if (op == "*")
        return {kind, a.bits * b.bits};
    if (op == "/" || op == "%")
        return quotient(a, b, kind, op == "%", line);
    if (op == "<<" || op == ">>")
        return shifted(op, a, b.bits);
    if (op == "&")
        return {kind, a.bits & b.bits};
    if (op == "|")
        return {kind, a.bits | b.bits};
    if (op == "^")
        return {kind, a.bits ^ b.bits};
    if (op == "&&")
        return truth(a.bits != 0 && b.bits != 0);
    if (op == "||")
        return truth(a.bits != 0 || b.bits != 0);
    if (op == "==")
        return truth(a.bits == b.bits);
    if (op == "!=")
        return truth(a.bits != b.bits);
    return truth(op == "<"    ? less
                 : op == ">=" ? !less
                 : op == "<=" ? less || a.bits == b.bits
                              : !less && a.bits != b.bits);
}

Constant combined(std::string_view op, Constant a, Constant b, int line) {
    if (a.kind == Kind::single || b.kind == Kind::single)
        throw Error(line, "0f numbers can't be computed with");
    if ((a.kind == Kind::real) != (b.kind == Kind::real))
        throw Error(line, "a constant expression mixes integers and floats");
    if (a.kind == Kind::real)
        return of_reals(op, std::bit_cast<double>(a.bits), std::bit_cast<double>(b.bits), line);
    return of_integers(op, a, b, line);
}

Constant negative_of(Constant a) {
    if (a.kind == Kind::real)
        return {a.kind, a.bits ^ std::uint64_t{1} << 63};
    if (a.kind == Kind::single)
        return {a.kind, a.bits ^ std::uint64_t{1} << 31};
    return {a.kind, 0 - a.bits};
}

} // namespace

/// Whether what comes next can be nothing but a constant.
bool Parser::begins_constant() const {
    const Token &next = lexer_.peek();
    return next.kind == Token::Kind::number || next.is("-") || next.is("+") || next.is("~") || next.is("(");
}

Constant Parser::literal() {
    const Token token = lexer_.take();
    if (token.is("WARP_SZ"))
        return {Kind::whole, 32};
    if (token.kind != Token::Kind::number)
        throw Error(token.line, "expected a number, found '" + std::string(token.text) + "'");
    bool is_float = false;
    const std::uint64_t bits = number_bits(token, is_float);
    const bool is_single = token.text.size() > 2 && token.text[0] == '0' && (token.text[1] | 0x20) == 'f';
    const bool is_natural = (token.text.back() | 0x20) == 'u' || bits >> 63;
    return {is_float     ? Kind::real
            : is_single  ? Kind::single
            : is_natural ? Kind::natural
                         : Kind::whole,
            bits};
}

Constant Parser::factor() {
    const Nested nested(*this);
    const int line = lexer_.peek().line;
    if (lexer_.accept("+"))
        return factor();
    if (lexer_.accept("-"))
        return negative_of(factor());
    if (lexer_.peek().is("~") || lexer_.peek().is("!")) {
        const bool inverts = lexer_.take().is("~");
        const Constant operand = factor();
        if (operand.kind == Kind::real || operand.kind == Kind::single)
            throw Error(line, "'~' and '!' take integers only");
        return inverts ? Constant{Kind::natural, ~operand.bits} : truth(operand.bits == 0);
    }
    if (!lexer_.accept("("))
        return literal();
    for (const auto &[name, kind] : {std::pair{".s64", Kind::whole}, {".u64", Kind::natural}})
        if (lexer_.accept(name)) {
            lexer_.expect(")");
            return {kind, factor().bits};
        }
    const Constant inner = expression();
    lexer_.expect(")");
    return inner;
}

Constant Parser::expression(int closeness) {
    const Nested nested(*this);
    Constant left = factor();
    for (;;) {
        const Token &next = lexer_.peek();
        const int line = next.line;
        if (closeness == 0 && lexer_.accept("?")) {
            const Constant yes = expression();
            lexer_.expect(":");
            const Constant no = expression();
            if ((yes.kind == Kind::real) != (no.kind == Kind::real))
                throw Error(line, "a constant expression mixes integers and floats");
            const bool natural = yes.kind == Kind::natural || no.kind == Kind::natural;
            left = left.bits != 0 ? yes : no;
            return natural ? Constant{Kind::natural, left.bits} : left;
        }
        const std::string_view rest = lexer_.text().substr(lexer_.offset());
        const Operator *found = nullptr;
        for (const Operator &each : operators)
            if (next.kind == Token::Kind::punctuation || next.is("%"))
                if (!found && rest.starts_with(each.text))
                    found = &each;
        if (!found || found->closeness < closeness)
            return left;
        for (std::size_t i = 0; i < found->text.size(); ++i)
            lexer_.take();
        left = combined(found->text, left, expression(found->closeness + 1), line);
    }
}

std::int64_t Parser::integer(int closeness) {
    const int line = lexer_.peek().line;
    const Constant value = expression(closeness);
    if (value.kind == Kind::real || value.kind == Kind::single)
        throw Error(line, "expected an integer");
    return static_cast<std::int64_t>(value.bits);
}

} // namespace ptx
