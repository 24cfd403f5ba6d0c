// What became of each operation, in a file that is mapped: whatever ends the player, it is there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <span>

namespace shimbench::replay {

inline constexpr char kResultsMagic[8] = {'S', 'B', 'P', 'L', 'A', 'Y', '0', '1'};

enum class State : uint32_t {
    Waiting,  // not come to
    UnderWay, // called, not returned
    Done,
    Skipped, // it needs what another operation failed to make
    Absent,  // the library exports no such function
};

struct ResultsHead {
    char magic[8];
    uint64_t operations;
    uint32_t threads; // as many u32 thread ids follow, padded to eight bytes
    uint32_t reserved;
    uint64_t unknown; // handles and addresses that no recorded call had made
};

struct Result {
    State state;
    int32_t result;
    uint64_t began, ended; // CLOCK_MONOTONIC, ns
};
static_assert(sizeof(Result) == 24);

class Results {
  public:
    Results(const std::filesystem::path &path, uint64_t operations, uint32_t threads);
    ~Results();
    Results(const Results &) = delete;
    Results &operator=(const Results &) = delete;

    Result &of(uint64_t operation) { return results_[operation]; }
    void thread_is(uint32_t thread, uint32_t tid) { threads_[thread] = tid; }
    void unknown(uint64_t count) { head_->unknown = count; }

  private:
    std::byte *base_ = nullptr;
    size_t mapped_ = 0;
    ResultsHead *head_ = nullptr;
    uint32_t *threads_ = nullptr;
    Result *results_ = nullptr;
};

// A hash of device memory after an operation; one a line: call, start as recorded, bytes, hash.
class Hashes {
  public:
    explicit Hashes(const std::filesystem::path &path) : out_(path) {}
    void add(uint32_t call, uint64_t start, std::span<const std::byte> content);

  private:
    std::mutex mutex_;
    std::ofstream out_;
};

} // namespace shimbench::replay
