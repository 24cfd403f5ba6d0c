// What a recorded call was given, as it is given now.
#include "player.hpp"
#include "words.hpp"

#include <algorithm>
#include <cstring>
#include <dlfcn.h>
#include <stdexcept>
#include <sys/mman.h>

namespace shimbench::replay {

namespace {

constexpr uint32_t kFatbinWrapper = 0x466243b1;

// Callbacks of the recording were its program's: nothing of that is here. It takes whatever it is given.
void do_nothing() {}

} // namespace

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

} // namespace shimbench::replay
