#include "player.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <ctime>
#include <dlfcn.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

namespace shimbench::replay {

namespace {

constexpr uint64_t kAlignment = 64;
constexpr uint32_t kFatbinWrapper = 0x466243b1;
constexpr int32_t kNotReady = 600; // CUDA_ERROR_NOT_READY

uint64_t now_ns() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

uint64_t word_of(const void *pointer) {
    return reinterpret_cast<uint64_t>(pointer);
}

// Callbacks of the recording were its program's: nothing of that is here. It takes whatever it is given.
void do_nothing() {}

void dump(const std::filesystem::path &path, std::span<const std::byte> content) {
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char *>(content.data()), static_cast<std::streamsize>(content.size()));
}

using Function = int32_t (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                             uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);

// More arguments than the function takes do no harm: the caller removes them.
int32_t call(void *function, const std::array<uint64_t, kMostArguments> &w) {
    return reinterpret_cast<Function>(function)(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9],
                                                w[10], w[11], w[12], w[13], w[14], w[15]);
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

uint64_t Player::argument(const Argument &one, std::span<const Fixup> fixups, const Words &words,
                          Frame &frame) {
    switch (one.kind) {
    case Kind::Word:
        return one.value;
    case Kind::Handle:
        return memory_.handle(one.type, one.value);
    case Kind::Address:
        frame.named.push_back(one.value);
        return memory_.address(one.value).value_or(one.value);
    case Kind::Data:
        return copied(one, fixups, frame);
    case Kind::Scratch:
        return word_of(frame.take(one.length));
    case Kind::Filled:
        return word_of(memory_.host(one.value, one.length));
    case Kind::Source:
        return source(one);
    case Kind::Image:
        return image(one, frame);
    case Kind::Kernel:
    case Kind::Packed:
        return kernel(one, words, frame);
    case Kind::Callback:
        return reinterpret_cast<uint64_t>(&do_nothing);
    case Kind::Register: {
        void *memory = mmap(nullptr, one.length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            throw Missing{};
        memory_.made_range(one.value, one.length, word_of(memory));
        return word_of(memory);
    }
    case Kind::Primary:
        if (!memory_.knows_handle(one.type, one.value))
            find_primary_context(one);
        return memory_.handle(one.type, one.value);
    case Kind::Forbidden: // kept: nothing else may come to lie there
        return word_of(mmap(nullptr, one.length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    case Kind::Nowhere:
        return 0;
    }
    return one.value;
}

// Retained and released: then the context is known, and as inactive as it was.
void Player::find_primary_context(const Argument &one) {
    void *retain = dlsym(driver_, "cuDevicePrimaryCtxRetain");
    void *release = dlsym(driver_, "cuDevicePrimaryCtxRelease_v2");
    uint64_t context = 0;
    if (!retain || !release || call(retain, {word_of(&context), one.length}) != 0)
        return;
    call(release, {one.length});
    memory_.made_handle(one.type, one.value, context);
}

uint64_t Player::copied(const Argument &one, std::span<const Fixup> fixups, Frame &frame) {
    auto from = plan_.data(one.data, one.length);
    std::byte *to = frame.take(one.length);
    std::memcpy(to, from.data(), from.size());
    for (const Fixup &fixup : fixups) {
        uint64_t word;
        if (fixup.offset > one.length || one.length - fixup.offset < sizeof word)
            throw std::runtime_error("the plan is damaged: a fixup outside of its data");
        std::memcpy(&word, to + fixup.offset, sizeof word);
        if (fixup.kind == Kind::Handle) {
            word = memory_.handle(fixup.type, word);
        } else if (fixup.kind == Kind::Address) {
            frame.named.push_back(word);
            word = memory_.address(word).value_or(word);
        } else if (fixup.kind == Kind::Data) {
            word = word_of(plan_.data(fixup.value, 0).data());
        } else if (fixup.kind == Kind::Scratch) {
            word = word_of(frame.take(fixup.value));
        } else {
            word = memory_.address(word).value_or(0);
        }
        std::memcpy(to + fixup.offset, &word, sizeof word);
    }
    return word_of(to);
}

// Pinned memory gets the content that its program had written; other memory needs no place of its own.
uint64_t Player::source(const Argument &one) {
    auto content = plan_.data(one.data, one.length);
    auto pinned = memory_.address(one.value);
    if (!pinned)
        return word_of(content.data());
    std::memcpy(reinterpret_cast<void *>(*pinned), content.data(), content.size());
    return *pinned;
}

uint64_t Player::image(const Argument &one, Frame &frame) {
    uint64_t content = word_of(plan_.data(one.data, one.length).data());
    if (one.type == 0)
        return content;
    const struct {
        uint32_t magic, version;
        uint64_t data, file;
    } wrapper{kFatbinWrapper, 1, content, 0};
    std::byte *to = frame.take(sizeof wrapper);
    std::memcpy(to, &wrapper, sizeof wrapper);
    return word_of(to);
}

// What the library says of a kernel's parameters; none where it does not. It is asked once: a handle that
// comes again after an unload may be another's, but then the recording's sizes are as good as before.
const std::vector<Player::Parameter> &Player::parameters_of(uint64_t function) {
    constexpr uint64_t kMost = 256;
    std::lock_guard guard(asking_);
    auto [entry, is_new] = parameters_.try_emplace(function);
    for (const char *name : {"cuFuncGetParamInfo", "cuKernelGetParamInfo"}) {
        void *ask = is_new && entry->second.empty() ? dlsym(driver_, name) : nullptr;
        for (uint64_t i = 0; ask && i < kMost; i++) {
            uint64_t offset = 0, size = 0;
            if (call(ask, {function, i, word_of(&offset), word_of(&size)}) != 0)
                break;
            entry->second.push_back({static_cast<uint32_t>(offset), static_cast<uint32_t>(size)});
        }
    }
    return entry->second;
}

// The block of parameters, where words that are addresses of the recording's memory become ours. Where sizes
// were guessed there is more in it than parameters, so it takes more to be an address.
uint64_t Player::kernel(const Argument &one, const Words &words, Frame &frame) {
    auto item = plan_.data(one.data, one.length);
    uint32_t count, layout;
    if (item.size() < 8)
        throw std::runtime_error("the plan is damaged: a kernel's parameters");
    std::memcpy(&count, item.data(), sizeof count);
    std::memcpy(&layout, item.data() + sizeof count, sizeof layout);
    if ((item.size() - 8) / sizeof(Parameter) < count)
        throw std::runtime_error("the plan is damaged: a kernel's parameters");
    bool guessed = layout == 0;
    std::span<const Parameter> told;
    if (guessed && one.type > 0 && one.type <= kMostArguments)
        told = parameters_of(words[one.type - 1]);
    auto block = item.subspan(8 + count * sizeof(Parameter));
    std::byte *bytes = frame.take(block.size());
    std::memcpy(bytes, block.data(), block.size());
    auto *pointers = reinterpret_cast<uint64_t *>(frame.take((count + 6) * sizeof(uint64_t)));
    for (uint32_t i = 0; i < count; i++) {
        Parameter pair;
        std::memcpy(&pair, item.data() + 8 + i * sizeof pair, sizeof pair);
        if (pair.offset > block.size() || pair.size > block.size() - pair.offset)
            throw std::runtime_error("the plan is damaged: a kernel's parameters");
        uint64_t size = i < told.size() ? std::min(pair.size, told[i].size) : pair.size;
        if (told.empty() || i < told.size())
            translate({bytes, block.size()}, pair.offset, size, guessed, frame);
        pointers[i] = word_of(bytes + pair.offset);
    }
    if (one.kind == Kind::Packed) { // {BUFFER_POINTER, block, BUFFER_SIZE, &size, END}
        pointers[5] = block.size();
        const uint64_t list[] = {1, word_of(bytes), 2, word_of(&pointers[5]), 0};
        std::copy(std::begin(list), std::end(list), pointers);
    }
    return word_of(pointers);
}

// Each aligned word of [offset, offset + size) that is an address of the recording's memory.
void Player::translate(std::span<std::byte> block, uint64_t offset, uint64_t size, bool guessed,
                       Frame &frame) {
    for (uint64_t at = (offset + 7) / 8 * 8; at + 8 <= offset + size; at += 8) {
        uint64_t word;
        std::memcpy(&word, block.data() + at, sizeof word);
        if (auto now = guessed ? memory_.backed_address(word) : memory_.address(word)) {
            frame.named.push_back(word);
            std::memcpy(block.data() + at, &*now, sizeof *now);
        }
    }
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
