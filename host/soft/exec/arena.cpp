#include "arena.hpp"

#include <algorithm>
#include <new>
#include <sys/mman.h>

namespace soft {

namespace {

constexpr std::size_t page = 4096;

} // namespace

std::uint8_t *Arena::reserve(std::size_t bytes) {
    if (bytes > size_ || memory_ == nullptr) {
        release();
        const std::size_t size = std::max((bytes + page - 1) / page * page, page);
        void *got =
            mmap(nullptr, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (got == MAP_FAILED)
            throw std::bad_alloc();
        memory_ = static_cast<std::uint8_t *>(got);
        size_ = size;
        if (mprotect(memory_ + page, size, PROT_READ | PROT_WRITE) != 0) {
            release();
            throw std::bad_alloc();
        }
    }
    return memory_ + page + (size_ - bytes) / 256 * 256;
}

void Arena::release() {
    if (memory_ != nullptr)
        munmap(memory_, size_ + 2 * page);
    memory_ = nullptr;
    size_ = 0;
}

} // namespace soft
