#include "files.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/mman.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace shimbench::session {

void throw_errno(const std::string &what) {
    throw std::system_error(errno, std::generic_category(), what);
}

Descriptor &Descriptor::operator=(Descriptor &&other) noexcept {
    if (this != &other) {
        reset();
        fd_ = other.release();
    }
    return *this;
}

int Descriptor::release() {
    return std::exchange(fd_, -1);
}

void Descriptor::reset() {
    if (fd_ >= 0)
        close(release());
}

AppendFile::AppendFile(const std::filesystem::path &path)
    : fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) {
    if (!fd_)
        throw_errno(path.string());
}

void AppendFile::append(std::span<const std::byte> data) {
    buffer_.insert(buffer_.end(), data.begin(), data.end());
}

bool AppendFile::flush() {
    size_t done = 0;
    while (done < buffer_.size()) {
        ssize_t wrote =
            pwrite(fd_.get(), buffer_.data() + done, buffer_.size() - done, static_cast<off_t>(size_ + done));
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0) {
            // Readers see a torn tail until the next flush; a file that can't shrink stays torn.
            if (ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0)
                errno = 0;
            buffer_.clear();
            return false;
        }
        done += static_cast<size_t>(wrote);
    }
    size_ += done;
    buffer_.clear();
    return true;
}

void AppendFile::reserve_ahead(size_t bytes) {
    if (reserved_end_ >= size_ + bytes / 2 || refused_at_ == size_)
        return;
    if (fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(size_), static_cast<off_t>(bytes)) == 0)
        reserved_end_ = size_ + bytes;
    else
        refused_at_ = size_; // asked again once something could be written
}

void AppendFile::give_back() {
    if (ftruncate(fd_.get(), static_cast<off_t>(size_)) == 0)
        reserved_end_ = size_;
}

MappedFile::MappedFile(const std::filesystem::path &path, size_t size)
    : fd_(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)), size_(size) {
    if (!fd_)
        throw_errno(path.string());
    if (ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
        throw_errno(path.string());
    void *mapped = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    if (mapped == MAP_FAILED)
        throw_errno(path.string());
    data_ = static_cast<std::byte *>(mapped);
}

MappedFile::~MappedFile() {
    munmap(data_, size_);
}

bool MappedFile::reserve(size_t size) {
    constexpr size_t step = 1 << 20;
    if (size <= reserved_)
        return true;
    // One step, then all of it: a ring that can go round needs no more of a disk that fills up later.
    size_t least = std::min(size_, (size + step - 1) / step * step);
    return extend(least <= step ? least : size_) || extend(least);
}

bool MappedFile::extend(size_t end) {
    if (end <= reserved_)
        return true;
    auto start = static_cast<off_t>(reserved_);
    if (posix_fallocate(fd_.get(), start, static_cast<off_t>(end) - start) != 0)
        return false;
    reserved_ = end;
    return true;
}

void MappedFile::truncate(size_t size) {
    reserved_ = std::min(reserved_, size);
    if (ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
        throw_errno("ftruncate");
}

bool replace_file(const std::filesystem::path &path, std::span<const std::byte> data) {
    std::filesystem::path fresh = path;
    fresh += ".new";
    try {
        AppendFile file(fresh);
        file.append(data);
        if (file.flush() && rename(fresh.c_str(), path.c_str()) == 0)
            return true;
    } catch (const std::system_error &) {
        return false;
    }
    unlink(fresh.c_str()); // on a full disk what is there stays
    return false;
}

bool replace_file(const std::filesystem::path &path, const std::string &text) {
    return replace_file(path, std::as_bytes(std::span(text)));
}

} // namespace shimbench::session
