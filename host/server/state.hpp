// What the host tells the panes: JSON lines, described in host/STATE.md.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/table.hpp"
#include "wire/protocol.h"

namespace shimbench {

// `text` as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD.
std::string json_string(std::string_view text);

// What does not change while the host runs.
struct HostFacts {
    std::string kind; // of device: "count-only"
    wire_device device{};
    std::uint64_t client_bytes = 0;
    unsigned max_clients = 0;
};

// The clients and their use, without a time: equal texts mean that nothing changed.
std::string state_text(const HostFacts &facts, const Table &table, Utilization busy);

class StateWriter {
  public:
    // `target`: "" none, a number an open descriptor, else a file's path (appended to; made owner only).
    // Throws std::system_error.
    explicit StateWriter(const std::string &target);
    StateWriter(const StateWriter &) = delete;
    StateWriter &operator=(const StateWriter &) = delete;
    ~StateWriter();

    void event(std::string_view event, std::string_view fields);
    // Writes the state when it changed, at most ten times a second unless `now`.
    void state(const std::string &text, bool now);
    int descriptor() const { return descriptor_; }

  private:
    void line(std::string_view text);
    bool is_file() const;

    int descriptor_ = -1;
    bool whole_lines_ = false; // however long: a file, to which each is appended at once
    bool owned_ = false;
    std::string written_;
    std::chrono::steady_clock::time_point last_{};
};

} // namespace shimbench
