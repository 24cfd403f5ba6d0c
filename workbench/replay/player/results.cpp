#include "results.hpp"

#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

namespace shimbench::replay {

Results::Results(const std::filesystem::path &path, uint64_t operations, uint32_t threads) {
    size_t ids = (size_t{threads} * 4 + 7) / 8 * 8;
    mapped_ = sizeof(ResultsHead) + ids + operations * sizeof(Result);
    int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    void *mapped = MAP_FAILED;
    // Reserved, not only made long: a full disk would be a SIGBUS later.
    if (fd >= 0 && posix_fallocate(fd, 0, static_cast<off_t>(mapped_)) == 0)
        mapped = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (mapped == MAP_FAILED)
        throw std::runtime_error(path.string() + ": " + std::strerror(errno));
    base_ = static_cast<std::byte *>(mapped);
    head_ = reinterpret_cast<ResultsHead *>(base_);
    threads_ = reinterpret_cast<uint32_t *>(base_ + sizeof(ResultsHead));
    results_ = reinterpret_cast<Result *>(base_ + sizeof(ResultsHead) + ids);
    std::memcpy(head_->magic, kResultsMagic, sizeof head_->magic);
    head_->operations = operations;
    head_->threads = threads;
}

Results::~Results() {
    munmap(base_, mapped_);
}

namespace {

// Four lanes of multiply and fold: as fast as memory, and every bit counts.
uint64_t hash_of(std::span<const std::byte> content) {
    constexpr uint64_t kFactor = 0x9fb21c651e98df25ull;
    uint64_t lanes[4] = {1, 2, 3, content.size()};
    auto mix = [&](size_t lane, uint64_t word) {
        lanes[lane] = (lanes[lane] ^ word) * kFactor;
        lanes[lane] ^= lanes[lane] >> 32;
    };
    while (content.size() >= 32) {
        uint64_t words[4];
        std::memcpy(words, content.data(), sizeof words);
        for (size_t lane = 0; lane < 4; lane++)
            mix(lane, words[lane]);
        content = content.subspan(32);
    }
    for (; !content.empty(); content = content.subspan(std::min<size_t>(8, content.size()))) {
        uint64_t word = 0;
        std::memcpy(&word, content.data(), std::min<size_t>(8, content.size()));
        mix(0, word);
    }
    for (size_t lane = 1; lane < 4; lane++)
        mix(0, lanes[lane]);
    return lanes[0];
}

} // namespace

void Hashes::add(uint32_t call, uint64_t start, std::span<const std::byte> content) {
    uint64_t hash = hash_of(content);
    std::lock_guard guard(mutex_);
    out_ << call << ' ' << start << ' ' << content.size() << ' ' << hash << '\n' << std::flush;
}

} // namespace shimbench::replay
