// The little JSON the writer makes itself.
#include "writer.hpp"

#include <cstdio>

namespace shimbench::session {

namespace {

// Length of the UTF-8 sequence at the start of `text`, 0 when it is none.
size_t sequence_length(std::string_view text) {
    auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
    auto follows = [&](size_t i) { return (byte(i) & 0xc0u) == 0x80u; };
    unsigned first = byte(0);
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first < 0xe0)
        return follows(1) ? 2 : 0;
    if (first >= 0xe0 && first < 0xf0) {
        bool surrogate = first == 0xed && byte(1) >= 0xa0;
        bool overlong = first == 0xe0 && byte(1) < 0xa0;
        return follows(1) && follows(2) && !surrogate && !overlong ? 3 : 0;
    }
    if (first >= 0xf0 && first < 0xf5) {
        bool outside = (first == 0xf4 && byte(1) >= 0x90) || (first == 0xf0 && byte(1) < 0x90);
        return follows(1) && follows(2) && follows(3) && !outside ? 4 : 0;
    }
    return 0;
}

} // namespace

std::string json_string(std::string_view text) {
    std::string out = "\"";
    while (!text.empty()) {
        size_t length = sequence_length(text);
        auto byte = static_cast<unsigned char>(text[0]);
        if (length == 0) {
            out += "\\ufffd";
            length = 1;
        } else if (byte == '"' || byte == '\\') {
            out += '\\';
            out += text[0];
        } else if (byte < 0x20) {
            char escaped[8];
            std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
            out += escaped;
        } else {
            out.append(text.substr(0, length));
        }
        text.remove_prefix(length);
    }
    return out + '"';
}

} // namespace shimbench::session
