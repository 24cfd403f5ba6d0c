// The writer's stream of lines: whole ones, and those that wait for their end.
#include "checks.hpp"
#include "counts.hpp"
#include "writer.hpp"

#include <unistd.h>

namespace shimbench::session {

namespace {

void append_bytes(std::vector<std::byte> &to, std::span<const std::byte> data) {
    to.insert(to.end(), data.begin(), data.end());
}

// What comes before the rest of the text of a line in pieces.
void append_pieces(std::vector<std::byte> &to, const BegunLine &begun) {
    if (begun.empty())
        return;
    uint64_t count = begun.pieces.size();
    append_bytes(to, std::as_bytes(std::span(&count, 1)));
    append_bytes(to, std::as_bytes(std::span(begun.pieces)));
}

} // namespace

LogEntry Writer::entry_of(const Line &line, std::string_view text, const BegunLine &begun,
                          uint64_t offset) const {
    LogEntry entry{};
    entry.offset = offset;
    entry.time = line.time;
    entry.after_call = rows_ + batch_.size();
    entry.length = static_cast<uint32_t>(begun.length + text.size());
    entry.pid = line.pid;
    entry.process = line.process;
    entry.stream = line.stream;
    entry.role = line.role;
    entry.flags = static_cast<uint8_t>((line.torn ? kLineTorn : 0) | (begun.empty() ? 0 : kLineInPieces));
    entry.text_crc = crc32(bytes_of(text), begun.crc);
    seal_record(entry);
    return entry;
}

void Writer::line(const Line &line, std::string_view text, const BegunLine &begun) {
    log_index_.append_record(entry_of(line, text, begun, log_.end()));
    std::vector<std::byte> pieces;
    append_pieces(pieces, begun);
    log_.append(pieces);
    log_.append(bytes_of(text));
    pending_lines_++;
}

bool Writer::keep_piece(BegunLine &begun, std::string_view text) {
    publish(); // a piece that is refused takes no other line along
    LinePiece piece{log_.end(), text.size()};
    log_.append(bytes_of(text));
    if (!log_.flush()) {
        lost_lines_++;
        return false;
    }
    begun.pieces.push_back(piece);
    begun.length += piece.length;
    begun.crc = crc32(bytes_of(text), begun.crc);
    return true;
}

bool Writer::publish_lines() {
    if (!pending_lines_)
        return true;
    bool whole = log_.flush() && log_index_.flush();
    if (whole) {
        line_count_ += pending_lines_;
        store_count(tail_head()->lines, tail_head()->lines_copy, line_count_);
    } else {
        log_index_.discard();
        lost_lines_ += pending_lines_;
    }
    pending_lines_ = 0;
    return whole;
}

void Writer::partial_lines(std::span<const WaitingLine> lines) {
    if (lines.empty()) {
        if (partial_exists_)
            unlink((directory_ / "log.partial").c_str());
        partial_exists_ = false;
        return;
    }
    std::vector<std::byte> data;
    for (const WaitingLine &waiting : lines) {
        LogEntry entry = entry_of(waiting.line, waiting.text, *waiting.begun, line_count_ + pending_lines_);
        append_bytes(data, std::as_bytes(std::span(&entry, 1)));
        append_pieces(data, *waiting.begun);
        append_bytes(data, bytes_of(waiting.text));
    }
    partial_exists_ = replace_file(directory_ / "log.partial", data);
}

} // namespace shimbench::session
