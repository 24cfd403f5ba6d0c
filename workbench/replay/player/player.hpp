// Performs a plan: a thread for each of the recording's, the order between them as it was.
#pragma once

#include "memory.hpp"
#include "plan.hpp"
#include "results.hpp"

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace shimbench::replay {

struct Options {
    std::filesystem::path plan, results, dump;
    bool hashed = false;  // device memory, into RESULTS.hashes
    uint32_t dumped = 0;  // the call after which hashed memory is also written into the folder `dump`
    double patience = 60; // seconds that may pass without any call returning
};

class Player {
  public:
    Player(const Options &options);
    // Until all threads are through; false when one call did not return in time. Then threads still run.
    bool run();
    // After run() said false: whether all calls that have not returned never did in the recording.
    bool hangs_as_recorded();

  private:
    using Words = std::array<uint64_t, kMostArguments>;

    // Of a kernel: where it lies in the block of parameters.
    struct Parameter {
        uint32_t offset, size;
    };
    // What a call's arguments point to, while it is performed.
    struct Frame {
        std::vector<std::unique_ptr<std::byte[]>> memory;
        std::vector<uint64_t> named; // recorded addresses, for hashing
        std::byte *take(uint64_t size);
    };

    void find_functions();
    void perform_thread(uint32_t thread);
    void wait_for(const Step &step);
    void perform(const Step &step, Result &result);
    uint64_t argument(const Argument &argument, std::span<const Fixup> fixups, const Words &words,
                      Frame &frame);
    uint64_t copied(const Argument &argument, std::span<const Fixup> fixups, Frame &frame);
    uint64_t source(const Argument &argument);
    uint64_t image(const Argument &argument, Frame &frame);
    uint64_t kernel(const Argument &argument, const Words &words, Frame &frame);
    void translate(std::span<std::byte> block, uint64_t offset, uint64_t size, bool guessed, Frame &frame);
    const std::vector<Parameter> &parameters_of(uint64_t function);
    void find_primary_context(const Argument &argument);
    void take_outcomes(const Step &step, const Words &words, bool succeeded);
    void hash_memory(const Step &step, std::span<const uint64_t> named);

    Options options_;
    Plan plan_;
    Results results_;
    std::unique_ptr<Hashes> hashes_;
    std::vector<void *> functions_;
    void *driver_ = nullptr;                        // libcuda.so.1
    void *synchronize_ = nullptr, *read_ = nullptr; // cuCtxSynchronize, cuMemcpyDtoH_v2
    Memory memory_;
    std::mutex asking_;
    std::unordered_map<uint64_t, std::vector<Parameter>> parameters_; // by function; what the library told
    std::deque<std::atomic<uint32_t>> performed_;                     // by thread
    std::atomic<uint64_t> total_ = 0;
    std::atomic<uint32_t> ended_ = 0;
    std::atomic<int> capturing_ = 0;
    std::vector<uint64_t> captured_; // addresses that captured calls named; of who hashes, in its one order
};

} // namespace shimbench::replay
