// The writer's stream of lines: whole ones, and those that wait for their end.
#include "checks.hpp"
#include "writer.hpp"

#include <unistd.h>

namespace shimbench::session {

LogEntry Writer::entry_of(const Line &line, std::string_view text, uint64_t offset) const {
    LogEntry entry{};
    entry.offset = offset;
    entry.time = line.time;
    entry.after_call = rows_ + batch_.size();
    entry.length = static_cast<uint32_t>(text.size());
    entry.pid = line.pid;
    entry.process = line.process;
    entry.stream = line.stream;
    entry.role = line.role;
    entry.flags = line.torn ? kLineTorn : 0;
    entry.text_crc = crc32(bytes_of(text));
    seal_record(entry);
    return entry;
}

void Writer::line(const Line &line, std::string_view text) {
    log_index_.append_record(entry_of(line, text, log_.end()));
    log_.append(bytes_of(text));
    pending_lines_++;
}

void Writer::partial_lines(std::span<const std::pair<Line, std::string_view>> lines) {
    if (lines.empty()) {
        if (partial_exists_)
            unlink((directory_ / "log.partial").c_str());
        partial_exists_ = false;
        return;
    }
    std::vector<std::byte> data;
    for (const auto &[line, text] : lines) {
        LogEntry entry = entry_of(line, text, line_count_ + pending_lines_);
        auto head = std::as_bytes(std::span(&entry, 1));
        data.insert(data.end(), head.begin(), head.end());
        auto body = bytes_of(text);
        data.insert(data.end(), body.begin(), body.end());
    }
    partial_exists_ = replace_file(directory_ / "log.partial", data);
}

} // namespace shimbench::session
