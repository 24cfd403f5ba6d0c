#include "server/state.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <ctime>
#include <system_error>

#include <protocol_hash.h>

namespace shimbench {

namespace {

constexpr auto least_pause = std::chrono::milliseconds(100);

std::string field(std::string_view name, std::uint64_t value) {
    return "\"" + std::string(name) + "\":" + std::to_string(value);
}

std::string device_text(const HostFacts &facts) {
    const auto &device = facts.device;
    char pci[16], uuid[33];
    std::snprintf(pci, sizeof(pci), "%04x:%02x:%02x.0", device.pci_domain & 0xffff, device.pci_bus & 0xff,
                  device.pci_device & 0xff);
    for (unsigned n = 0; n < 16; n++)
        std::snprintf(uuid + 2 * n, 3, "%02x", device.uuid[n]);
    // 75 and 76: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR.
    const std::string capability =
        std::to_string(device.attributes[75]) + "." + std::to_string(device.attributes[76]);
    return "{\"kind\":" + json_string(facts.kind) + ",\"name\":" + json_string(device.name) + ",\"uuid\":\"" +
           uuid + "\",\"pci\":\"" + pci + "\",\"compute_capability\":\"" + capability + "\"," +
           field("memory", device.memory_bytes) +
           ",\"executes_kernels\":" + (device.executes_kernels ? "true" : "false") + "}";
}

std::string client_text(const ClientRow &row) {
    std::string text = "{" + field("pid", static_cast<std::uint64_t>(row.client.load())) +
                       ",\"command\":" + json_string(row.command) + "," +
                       field("worker", static_cast<std::uint64_t>(row.worker.load())) + "," +
                       field("connected_ns", static_cast<std::uint64_t>(row.connected_ns));
    const std::pair<const char *, std::uint64_t> figures[] = {
        {"memory", static_cast<std::uint64_t>(row.memory.load())},
        {"variables", row.variables},
        {"pinned", row.pinned},
        {"calls", row.calls},
        {"launches", row.launches},
        {"copied", row.copied},
        {"allocations", row.allocations},
        {"streams", row.streams},
        {"events", row.events},
        {"modules", row.modules},
        {"graphs", row.graphs},
        {"errors", row.errors},
        {"last_error", row.last_error},
        {"last_function", row.last_function}};
    for (const auto &[name, value] : figures)
        text += "," + field(name, value);
    return text + "}";
}

} // namespace

std::string json_string(std::string_view text) {
    std::string quoted = "\"";
    for (std::size_t at = 0; at < text.size();) {
        const auto lead = static_cast<unsigned char>(text[at]);
        const std::size_t length = lead < 0x80       ? 1
                                   : lead >> 5 == 6  ? 2
                                   : lead >> 4 == 14 ? 3
                                   : lead >> 3 == 30 ? 4
                                                     : 0;
        bool whole = length && at + length <= text.size();
        for (std::size_t n = 1; whole && n < length; n++)
            whole = (static_cast<unsigned char>(text[at + n]) & 0xc0) == 0x80;
        if (!whole) {
            quoted += "\\ufffd";
            at++;
            continue;
        }
        if (lead == '"' || lead == '\\')
            quoted += {'\\', static_cast<char>(lead)};
        else if (lead == '\n' || lead == '\t')
            quoted += lead == '\n' ? "\\n" : "\\t";
        else if (lead < 0x20) {
            char escape[8];
            std::snprintf(escape, sizeof(escape), "\\u%04x", lead);
            quoted += escape;
        } else
            quoted += text.substr(at, length);
        at += length;
    }
    return quoted + "\"";
}

std::string state_text(const HostFacts &facts, const Table &table, Utilization busy) {
    std::string clients;
    std::uint64_t launches = 0;
    for (const auto &row : table.rows) {
        if (row.state.load() != RowState::Connected)
            continue;
        launches += row.launches;
        clients += (clients.empty() ? "" : ",") + client_text(row);
    }
    return "\"protocol\":\"" + std::string(PROTOCOL_HASH) + "\",\"device\":" + device_text(facts) + "," +
           field("client_limit", facts.max_clients) + "," + field("client_memory_limit", facts.client_bytes) +
           "," + field("memory_used", table.used()) + "," + field("launches", launches) + ",\"busy\":{" +
           field("kernels", busy.kernels) + "," + field("memory", busy.memory) + "},\"clients\":[" + clients +
           "]";
}

StateWriter::StateWriter(const std::string &target) {
    if (target.empty())
        return;
    if (std::all_of(target.begin(), target.end(), [](char c) { return c >= '0' && c <= '9'; })) {
        descriptor_ = std::stoi(target);
        if (fcntl(descriptor_, F_GETFD) < 0)
            throw std::system_error(errno, std::generic_category(), "--state " + target);
        whole_lines_ = is_file();
        return;
    }
    descriptor_ = open(target.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    owned_ = true;
    if (descriptor_ < 0)
        throw std::system_error(errno, std::generic_category(), "--state " + target);
    whole_lines_ = is_file();
}

bool StateWriter::is_file() const {
    struct stat facts{};
    return descriptor_ >= 0 && fstat(descriptor_, &facts) == 0 && S_ISREG(facts.st_mode);
}

StateWriter::~StateWriter() {
    if (owned_ && descriptor_ >= 0)
        close(descriptor_);
}

void StateWriter::line(std::string_view text) {
    if (descriptor_ < 0)
        return;
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    std::string line =
        "{\"format\":1,\"time_ns\":" + std::to_string(now.tv_sec * 1000000000ll + now.tv_nsec) + ",";
    line += text;
    line += "}\n";
    if (line.size() > PIPE_BUF && !whole_lines_)
        return; // several workers write: in a pipe their lines would mix
    for (std::size_t sent = 0; sent < line.size();) {
        const ssize_t got = write(descriptor_, line.data() + sent, line.size() - sent);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return; // nobody reads: the host goes on
        sent += static_cast<std::size_t>(got);
    }
}

void StateWriter::event(std::string_view event, std::string_view fields) {
    line("\"kind\":\"event\",\"event\":" + json_string(event) + std::string(fields));
}

void StateWriter::state(const std::string &text, bool at_once) {
    const auto now = std::chrono::steady_clock::now();
    if (text == written_ || (!at_once && now - last_ < least_pause))
        return;
    line("\"kind\":\"state\"," + text);
    written_ = text;
    last_ = now;
}

} // namespace shimbench
