#include "player.hpp"
#include "words.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <stdexcept>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace shimbench::replay {

namespace {

constexpr uint64_t kAlignment = 64;
constexpr int32_t kNotReady = 600; // CUDA_ERROR_NOT_READY

uint64_t now_ns() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

void dump(const std::filesystem::path &path, std::span<const std::byte> content) {
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char *>(content.data()), static_cast<std::streamsize>(content.size()));
}

} // namespace

std::byte *Player::Frame::take(uint64_t size) {
    memory.push_back(std::make_unique<std::byte[]>(size + kAlignment));
    auto address = (word_of(memory.back().get()) + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<std::byte *>(address);
}

Player::Player(const Options &options)
    : options_(options), plan_(options.plan),
      results_(options.results, plan_.size(), static_cast<uint32_t>(plan_.threads().size())) {
    if (options.hashed)
        hashes_ = std::make_unique<Hashes>(options.results.string() + ".hashes");
    for (size_t i = 0; i < plan_.threads().size(); i++)
        performed_.emplace_back(0);
    find_functions();
}

// Names of NVML and of the driver; what a library lacks stays null. A plan without NVML needs none.
void Player::find_functions() {
    driver_ = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!driver_)
        throw std::runtime_error(dlerror());
    void *nvml = nullptr;
    for (const std::string &name : plan_.functions()) {
        bool is_nvml = name.starts_with("nvml");
        if (is_nvml && !nvml && !(nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)))
            throw std::runtime_error(dlerror());
        functions_.push_back(dlsym(is_nvml ? nvml : driver_, name.c_str()));
    }
    if (hashes_) {
        synchronize_ = dlsym(driver_, "cuCtxSynchronize");
        read_ = dlsym(driver_, "cuMemcpyDtoH_v2");
        if (!synchronize_ || !read_)
            throw std::runtime_error("memory is hashed by cuCtxSynchronize and cuMemcpyDtoH_v2, which the "
                                     "library does not export");
    }
}

bool Player::run() {
    std::vector<std::thread> threads;
    for (uint32_t thread = 0; thread < plan_.threads().size(); thread++)
        threads.emplace_back(&Player::perform_thread, this, thread);
    uint64_t seen = 0;
    auto last = std::chrono::steady_clock::now();
    while (ended_ < threads.size()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        auto now = std::chrono::steady_clock::now();
        if (uint64_t total = total_; total != seen) {
            seen = total;
            last = now;
        } else if (std::chrono::duration<double>(now - last).count() > options_.patience) {
            results_.unknown(memory_.unknown());
            for (std::thread &thread : threads)
                thread.detach();
            return false;
        }
    }
    for (std::thread &thread : threads)
        thread.join();
    results_.unknown(memory_.unknown());
    return true;
}

bool Player::hangs_as_recorded() {
    for (const auto &thread : plan_.threads())
        for (const Step &step : thread)
            if (!(step.head->flags & kUnreturned)) {
                std::atomic_ref state(results_.of(step.number).state);
                if (state.load(std::memory_order_relaxed) == State::UnderWay)
                    return false;
            }
    return true;
}

void Player::perform_thread(uint32_t thread) {
    results_.thread_is(thread, static_cast<uint32_t>(syscall(SYS_gettid)));
    for (const Step &step : plan_.threads()[thread]) {
        wait_for(step);
        perform(step, results_.of(step.number));
        // Release: who waits for this sees what the call made. The memory has its own lock.
        performed_[thread].fetch_add(1, std::memory_order_release);
        performed_[thread].notify_all();
        total_.fetch_add(1, std::memory_order_relaxed);
    }
    ended_.fetch_add(1, std::memory_order_release);
}

// What had returned in the recording before this call began has returned here.
void Player::wait_for(const Step &step) {
    for (const Wait &wait : step.waits) {
        std::atomic<uint32_t> &count = performed_[wait.thread];
        for (uint32_t seen; (seen = count.load(std::memory_order_acquire)) < wait.count;)
            count.wait(seen, std::memory_order_acquire);
    }
}

void Player::perform(const Step &step, Result &result) {
    void *function = functions_[step.head->function];
    if (!function) {
        result.state = State::Absent;
        take_outcomes(step, {}, false);
        return;
    }
    Words words{};
    Frame frame;
    try {
        size_t fixups = 0;
        for (size_t i = 0; i < step.arguments.size(); i++) {
            const Argument &one = step.arguments[i];
            words[i] = argument(one, step.fixups.subspan(fixups, one.fixups), words, frame);
            fixups += one.fixups;
        }
    } catch (const Missing &) {
        result.state = State::Skipped;
        take_outcomes(step, {}, false);
        return;
    }
    result.began = now_ns();
    // Relaxed: who reads it besides is hangs_as_recorded(), of a call that has been under way for long.
    std::atomic_ref(result.state).store(State::UnderWay, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst); // it is there if the call ends us
    result.result = call(function, words);
    // What the program went on with once it was told that all is there, is there here as well.
    while (step.head->flags & kPoll && step.head->result == 0 && result.result == kNotReady) {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
        result.result = call(function, words);
    }
    result.ended = now_ns();
    std::atomic_ref(result.state).store(State::Done, std::memory_order_relaxed);
    take_outcomes(step, words, result.result == 0);
    if (step.head->flags & kCapturing && result.result == 0)
        capturing_++;
    if (step.head->flags & kCaptured)
        capturing_ = std::max(0, capturing_ - 1);
    if (!hashes_ || !(step.head->flags & kHashed) || result.result != 0)
        return;
    if (capturing_ > 0)
        captured_.insert(captured_.end(), frame.named.begin(), frame.named.end());
    else if (step.head->flags & kGraph)
        hash_memory(step, captured_);
    else
        hash_memory(step, frame.named);
}

void Player::take_outcomes(const Step &step, const Words &words, bool succeeded) {
    for (const Outcome &outcome : step.outcomes) {
        uint64_t now = 0;
        bool there = succeeded && words[outcome.argument] != 0;
        if (there && outcome.made != Made::Backed)
            std::memcpy(&now, reinterpret_cast<const void *>(words[outcome.argument] + outcome.offset),
                        sizeof now);
        if (outcome.made == Made::Handle) {
            if (there)
                memory_.made_handle(outcome.type, outcome.recorded, now);
            else
                memory_.lost_handle(outcome.type, outcome.recorded);
        } else if (outcome.made == Made::Range) {
            if (there)
                memory_.made_range(outcome.recorded, outcome.size, now);
            else
                memory_.lost_range(outcome.recorded, outcome.size);
        } else if (there) {
            memory_.made_extent(outcome.recorded, outcome.size);
        }
    }
}

void Player::hash_memory(const Step &step, std::span<const uint64_t> named) {
    if (named.empty() || call(synchronize_, {}) != 0)
        return;
    std::vector<uint64_t> seen;
    std::vector<std::byte> content;
    for (uint64_t address : named) {
        auto extent = memory_.extent(address);
        if (!extent || std::find(seen.begin(), seen.end(), extent->recorded) != seen.end())
            continue;
        seen.push_back(extent->recorded);
        content.resize(extent->size);
        if (call(read_, {word_of(content.data()), extent->now, extent->size}) == 0)
            hashes_->add(step.head->call, extent->recorded, content);
        if (options_.dumped == step.head->call)
            dump(options_.dump / std::to_string(extent->recorded), content);
    }
}

} // namespace shimbench::replay
