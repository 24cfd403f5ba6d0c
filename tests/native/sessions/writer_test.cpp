// The writer by itself, for the sanitizers: sealing beside writing, checks, JSON. What it writes is read
// back by tests/sessions.
#include "checks.hpp"
#include "writer.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

using namespace shimbench::session;

namespace {

void check(bool holds, const char *what) {
    if (!holds) {
        std::fprintf(stderr, "not so: %s\n", what);
        std::exit(1);
    }
}

void the_checksum_is_zlib_s() {
    check(crc32(bytes_of("123456789")) == 0xcbf43926u, "CRC-32 of its check string");
    check(crc32(bytes_of("6789"), crc32(bytes_of("12345"))) == 0xcbf43926u, "CRC-32 in two parts");
}

void a_row_s_check_depends_on_every_bit_and_its_number() {
    CallRow row{};
    uint32_t before = row_check(row, 5);
    check(before != row_check(row, 6), "another number, another check");
    auto *bytes = reinterpret_cast<unsigned char *>(&row);
    for (size_t bit = 0; bit < 8 * offsetof(CallRow, check); bit++) {
        bytes[bit / 8] ^= static_cast<unsigned char>(1 << bit % 8);
        check(row_check(row, 5) != before, "a flipped bit changes the check");
        bytes[bit / 8] ^= static_cast<unsigned char>(1 << bit % 8);
    }
}

void text_of_any_bytes_is_json() {
    check(json_string("a\"\\\n\x01") == "\"a\\\"\\\\\\u000a\\u0001\"", "escapes");
    check(json_string("h\xc3\xa9") == "\"h\xc3\xa9\"", "UTF-8 stays");
    check(json_string("\xff\xc3") == "\"\\ufffd\\ufffd\"", "what is no UTF-8 is replaced");
    check(json_string("\xed\xa0\x80") == "\"\\ufffd\\ufffd\\ufffd\"", "surrogates are no UTF-8");
}

void calls_are_sealed_while_others_are_written(const std::filesystem::path &directory) {
    Writer writer(directory, "test", "{}");
    constexpr uint64_t count = 400'000;
    for (uint64_t i = 0; i < count; i++) {
        CallRow row{};
        row.time = static_cast<int64_t>(i * 700);
        row.thread = static_cast<uint32_t>(i % 3);
        row.sequence = static_cast<uint32_t>(i);
        row.args[0] = i * 0x9e3779b97f4a7c15ull;
        std::string text = "payload " + std::to_string(i % 1000);
        row.payload = writer.blob(bytes_of(text));
        writer.call(row);
        if (i % 5000 == 4999) {
            writer.line({writer.now(), 1, 0, LogStream::Stderr, LogRole::Target, false}, "a line\n");
            writer.event(writer.now(), "mark", "\"n\":1");
            check(writer.publish(), "it is taken");
        }
    }
    check(writer.calls() == count && writer.lost() == 0, "all calls are there");
    std::vector<InFlightRow> flying(3);
    writer.in_flight(writer.now(), flying);
    writer.finish();
    check(std::filesystem::file_size(directory / "calls.index") ==
              sizeof(StreamHead) + (count + kChunkRows - 1) / kChunkRows * sizeof(ChunkEntry),
          "one entry a seal");
    check(std::filesystem::file_size(directory / "blobs.index") ==
              sizeof(StreamHead) + 1000 * sizeof(BlobEntry),
          "equal payloads are stored once");
}

void a_line_s_pieces_are_stored_at_once_and_named_by_its_end(const std::filesystem::path &directory) {
    Writer writer(directory, "test", "{}");
    const Line line{1, 7, 0, LogStream::Stdout, LogRole::Target, false};
    BegunLine begun;
    std::string text;
    for (int i = 0; i < 40; i++) {
        std::string piece = "piece " + std::to_string(i) + std::string(1000, 'x');
        check(writer.keep_piece(begun, piece), "a piece is taken");
        writer.line(line, "another line\n");
        text += piece;
    }
    const WaitingLine waiting{line, &begun, "and the rest"};
    writer.partial_lines(std::span(&waiting, 1));
    constexpr size_t table = sizeof(uint64_t) + 40 * sizeof(LinePiece);
    check(std::filesystem::file_size(directory / "log.partial") == sizeof(LogEntry) + table + 12,
          "a waiting line names its pieces");
    writer.line(line, "end\n", begun);
    check(writer.publish() && writer.lost_lines() == 0, "nothing is lost");
    check(begun.crc == crc32(bytes_of(text)) && begun.length == text.size(), "it is checked as a whole");
    writer.finish();
    check(std::filesystem::file_size(directory / "log.bytes") == text.size() + 40 * 13 + table + 4,
          "its text is stored once");
    check(!std::filesystem::exists(directory / "log.partial"), "no line waits any more");
}

void a_session_is_written_once(const std::filesystem::path &directory) {
    bool refused = false;
    try {
        Writer writer(directory, "test", "");
    } catch (const std::system_error &) {
        refused = true;
    }
    check(refused, "a directory that holds a session is refused");
}

} // namespace

int main() {
    std::string folder = (std::filesystem::temp_directory_path() / "session-XXXXXX").string();
    check(mkdtemp(folder.data()) != nullptr, "a folder");
    the_checksum_is_zlib_s();
    a_row_s_check_depends_on_every_bit_and_its_number();
    text_of_any_bytes_is_json();
    calls_are_sealed_while_others_are_written(folder + "/s");
    a_line_s_pieces_are_stored_at_once_and_named_by_its_end(folder + "/l");
    a_session_is_written_once(folder + "/s");
    std::filesystem::remove_all(folder);
    std::puts("ok");
}
