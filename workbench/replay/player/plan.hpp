// A plan: recorded calls made ready to be performed again. sessions/replay/plan.py writes it and mirrors the
// records here. Little endian; every record is a multiple of eight bytes.
//
//   PlanHead | names | operations | data
//
// Values of the recording, handles and addresses, stand in it as they were; the player puts what stands for
// them now in their place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace shimbench::replay {

inline constexpr char kPlanMagic[8] = {'S', 'B', 'P', 'L', 'A', 'N', '0', '1'};
inline constexpr uint32_t kMostArguments = 16;

struct PlanHead {
    char magic[8];
    uint32_t threads;
    uint32_t functions; // names, each ended by NUL: "cuInit"
    uint64_t operations;
    uint64_t names_offset, names_size;
    uint64_t operations_offset, operations_size;
    uint64_t data_offset, data_size;
};
static_assert(sizeof(PlanHead) == 72);

enum class Kind : uint8_t {
    Word,      // `value` as it is
    Handle,    // of type `type`
    Address,   // of the device or of pinned memory
    Data,      // a pointer to a copy of `length` bytes at `data`, with its fixups made
    Scratch,   // a pointer to `length` zeroed bytes
    Filled,    // host memory at `value` that the call fills, `length` bytes
    Source,    // host memory at `value` that the call reads: `length` bytes at `data`
    Image,     // a module's image of `length` bytes at `data`; `type` 1: behind a fatbin's wrapper
    Kernel,    // kernelParams, from a tap_kernel of `length` bytes at `data`; `type`: which argument is the
               // function, from 1, or 0
    Packed,    // `extra`, from the same
    Callback,  // a function that does nothing
    Register,  // host memory at `value` of `length` bytes, made for the call
    Nowhere,   // fixups only: a null pointer
    Primary,   // a handle as Handle: the primary context of device `length`, which may be asked for ahead of
               // the call that retains it (the runtime has it from a private table)
    Forbidden, // a pointer to `length` bytes that nobody may read or write
};

struct Argument {
    Kind kind;
    uint8_t type;
    uint16_t fixups; // as many Fixup records behind the arguments belong to it, in order
    uint32_t reserved;
    uint64_t value, length, data;
};
static_assert(sizeof(Argument) == 32);

// Eight bytes inside of an argument's data that are to be replaced: Handle, Address, Data (a pointer to
// `value` in the data section), Scratch (a pointer to `value` bytes) or Nowhere.
struct Fixup {
    uint32_t offset;
    Kind kind;
    uint8_t type;
    uint16_t reserved;
    uint64_t value;
};
static_assert(sizeof(Fixup) == 16);

enum class Made : uint8_t {
    Handle, // the eight bytes behind the argument stand for `recorded` from now on
    Range,  // they are the start of memory that stands for [recorded, recorded + size)
    Backed, // the address in the argument itself is memory of `size` bytes from now on
};

struct Outcome {
    uint8_t argument;
    Made made;
    uint8_t type;
    uint8_t reserved;
    uint32_t offset; // in what the argument points to
    uint64_t recorded, size;
};
static_assert(sizeof(Outcome) == 24);

// Before it begins, thread `thread` has performed its first `count` operations.
struct Wait {
    uint32_t thread, count;
};
static_assert(sizeof(Wait) == 8);

inline constexpr uint16_t kHashed = 1;      // device memory it names is hashed after it, when asked for
inline constexpr uint16_t kCapturing = 2;   // a stream's capture begins
inline constexpr uint16_t kCaptured = 4;    // and ends
inline constexpr uint16_t kGraph = 8;       // what was captured may run: all memory that it named is hashed
inline constexpr uint16_t kUnreturned = 16; // it never returned in the recording
inline constexpr uint16_t kPoll = 32; // asked again until it is ready, where that was the recorded answer

struct Operation {
    uint32_t size; // of this and all that follows it
    uint32_t call; // as displayed
    uint16_t function, thread;
    uint16_t arguments, waits, fixups, outcomes;
    int32_t result; // recorded
    uint16_t flags;
    uint16_t reserved;
    uint32_t reserved_word;
};
static_assert(sizeof(Operation) == 32);

// One operation, its parts found and within bounds.
struct Step {
    const Operation *head;
    std::span<const Wait> waits;
    std::span<const Argument> arguments;
    std::span<const Fixup> fixups;
    std::span<const Outcome> outcomes;
    uint64_t number; // from 0, over all threads
};

class Plan {
  public:
    // Throws std::runtime_error when the file is no plan.
    explicit Plan(const std::filesystem::path &path);
    ~Plan();
    Plan(const Plan &) = delete;
    Plan &operator=(const Plan &) = delete;

    const std::vector<std::string> &functions() const { return functions_; }
    std::span<const std::vector<Step>> threads() const { return threads_; }
    uint64_t size() const { return count_; }
    // Bytes of the data section, private to this process; throws when they lie outside.
    std::span<std::byte> data(uint64_t offset, uint64_t length) const;

  private:
    void find_steps(std::span<const std::byte> operations);

    std::byte *base_ = nullptr;
    size_t mapped_ = 0;
    PlanHead head_{};
    std::vector<std::string> functions_;
    std::vector<std::vector<Step>> threads_;
    uint64_t count_ = 0;
};

} // namespace shimbench::replay
