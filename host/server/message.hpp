// Reading the arguments of a message and writing what a call hands back. A message is hostile: it was
// copied before it comes here, and whatever does not fit makes the reader fail once and for all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "wire/protocol.h"

namespace shimbench {

// Bytes that a pointer argument stood for; not present when it was NULL.
class Bytes {
  public:
    Bytes() = default;
    explicit Bytes(std::span<const std::byte> content) : content_(content), present_(true) {}
    bool present() const { return present_; }
    std::span<const std::byte> content() const { return content_; }
    template <class T> const T *as() const {
        return present_ ? reinterpret_cast<const T *>(content_.data()) : nullptr;
    }

  private:
    std::span<const std::byte> content_;
    bool present_ = false;
};

class Reader {
  public:
    // `arguments` begin at an address that is a multiple of eight.
    explicit Reader(std::span<const std::byte> arguments) : left_(arguments) {}

    std::uint64_t value() {
        std::uint64_t value = 0;
        take(&value, sizeof(value));
        return value;
    }

    Bytes bytes() {
        const std::uint64_t length = value();
        if (failed_ || length == UINT64_MAX)
            return {};
        const std::uint64_t padded = (length + 7) & ~std::uint64_t{7};
        if (padded < length || padded > left_.size()) {
            failed_ = true;
            return {};
        }
        Bytes taken(left_.first(length));
        left_ = left_.subspan(padded);
        return taken;
    }

    template <class T> T structure() {
        T value{};
        take(&value, sizeof(value));
        return value;
    }

    // All that is left, for calls whose last argument has no length of its own.
    std::span<const std::byte> rest() { return failed_ ? std::span<const std::byte>{} : left_; }

    void expect(const Bytes &bytes, std::uint64_t count, std::size_t size) {
        if (bytes.present() && (count > WIRE_MESSAGE_MAX || bytes.content().size() != count * size))
            failed_ = true;
    }

    void expect_string(const Bytes &bytes) {
        if (bytes.present() && (bytes.content().empty() || bytes.content().back() != std::byte{0}))
            failed_ = true;
    }

    // Whether all was there. Up to WIRE_ALIGNMENT - 1 bytes of padding may be left.
    bool finished() const { return !failed_ && left_.size() < WIRE_ALIGNMENT; }
    bool failed() const { return failed_; }

  private:
    void take(void *out, std::size_t bytes) {
        if (failed_ || left_.size() < bytes) {
            failed_ = true;
            return;
        }
        std::memcpy(out, left_.data(), bytes);
        left_ = left_.subspan(bytes);
    }

    std::span<const std::byte> left_;
    bool failed_ = false;
};

// What a call hands back, up to WIRE_REPLY_MAX bytes.
class Writer {
  public:
    void put(const void *data, std::size_t bytes) {
        const std::size_t padded = (bytes + 7) & ~std::size_t{7};
        if (padded > WIRE_REPLY_MAX - used_) {
            overflowed_ = true;
            return;
        }
        if (!bytes)
            return; // `data` of an empty vector is NULL
        std::memset(buffer_ + used_, 0, padded);
        std::memcpy(buffer_ + used_, data, bytes);
        used_ += padded;
    }
    void value(std::uint64_t value) { put(&value, sizeof(value)); }

    // Room for `bytes` that the caller fills; empty when it does not fit.
    std::span<std::byte> room(std::size_t bytes) {
        const std::size_t padded = (bytes + 7) & ~std::size_t{7};
        if (padded < bytes || padded > WIRE_REPLY_MAX - used_)
            return {};
        std::span<std::byte> taken(buffer_ + used_, bytes);
        used_ += padded;
        return taken;
    }

    void clear() {
        used_ = 0;
        overflowed_ = false;
    }
    bool overflowed() const { return overflowed_; }
    std::span<const std::byte> written() const { return {buffer_, used_}; }

  private:
    std::size_t used_ = 0;
    bool overflowed_ = false;
    alignas(16) std::byte buffer_[WIRE_REPLY_MAX];
};

// Room for what a call writes through one of its pointers; get() is NULL when the caller passed NULL.
template <class T> class Out {
  public:
    Out(bool wanted, std::uint64_t count) {
        if (wanted && count <= WIRE_REPLY_MAX / sizeof(T))
            values_.resize(count);
        wanted_ = wanted && values_.size() == count;
    }
    Out(bool wanted, std::uint64_t count, const Bytes &start) : Out(wanted, count) {
        if (wanted_ && start.content().size() == values_.size() * sizeof(T))
            std::memcpy(static_cast<void *>(values_.data()), start.content().data(), start.content().size());
    }
    T *get() { return wanted_ ? values_.data() : nullptr; }
    void write(Writer &out) const {
        if (wanted_)
            out.put(values_.data(), values_.size() * sizeof(T));
    }

  private:
    std::vector<T> values_;
    bool wanted_ = false;
};

} // namespace shimbench
