// Files that only grow, and files that are mapped. Bytes only: what they mean is the writer's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace shimbench::session {

// An owned descriptor.
class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor &&other) noexcept : fd_(other.release()) {}
    Descriptor &operator=(Descriptor &&other) noexcept;
    ~Descriptor() { reset(); }
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }
    int release();
    void reset();

  private:
    int fd_ = -1;
};

// Appends to a file, buffered until flush(). When the disk is full the file keeps its last good
// length and what was buffered is dropped: the caller counts that as lost.
class AppendFile {
  public:
    explicit AppendFile(const std::filesystem::path &path);
    void append(std::span<const std::byte> data);
    template <typename Record> void append_record(const Record &record) {
        static_assert(std::is_trivially_copyable_v<Record>);
        append(std::as_bytes(std::span(&record, 1)));
    }
    // False when the file could not take all of it; then nothing of the buffer is in the file.
    bool flush();
    void discard() { buffer_.clear(); }
    // Keeps room on the disk for the next `bytes`, at least half of them, behind the end of the file: they
    // can be written when the disk is full. Where the file system can't, nothing is kept.
    void reserve_ahead(size_t bytes);
    // Gives up what is reserved and was not needed.
    void give_back();
    uint64_t end() const { return size_ + buffer_.size(); }
    size_t buffered() const { return buffer_.size(); }

  private:
    Descriptor fd_;
    uint64_t size_ = 0;
    uint64_t reserved_end_ = 0;
    uint64_t refused_at_ = UINT64_MAX;
    std::vector<std::byte> buffer_;
};

// A file mapped for reading and writing. Its blocks are reserved before they are touched, since a
// full disk would be a SIGBUS otherwise.
class MappedFile {
  public:
    MappedFile(const std::filesystem::path &path, size_t size);
    ~MappedFile();
    MappedFile(const MappedFile &) = delete;
    MappedFile &operator=(const MappedFile &) = delete;
    std::byte *data() { return data_; }
    // True when the first `size` bytes can be written.
    bool reserve(size_t size);
    void truncate(size_t size);

  private:
    bool extend(size_t end);

    Descriptor fd_;
    std::byte *data_ = nullptr;
    size_t size_ = 0;
    size_t reserved_ = 0;
};

// Puts a whole small file in place at once. False when it could not.
bool replace_file(const std::filesystem::path &path, std::span<const std::byte> data);
bool replace_file(const std::filesystem::path &path, const std::string &text);

[[noreturn]] void throw_errno(const std::string &what);

} // namespace shimbench::session
