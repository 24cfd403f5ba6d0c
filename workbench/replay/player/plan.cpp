#include "plan.hpp"

#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shimbench::replay {

namespace {

[[noreturn]] void refuse(const char *why) {
    throw std::runtime_error(std::string("the plan is damaged: ") + why);
}

bool inside(uint64_t offset, uint64_t length, uint64_t size) {
    return offset <= size && length <= size - offset;
}

// The next `count` records; moves `rest` on.
template <typename Record> std::span<const Record> take(std::span<const std::byte> &rest, size_t count) {
    if (rest.size() / sizeof(Record) < count)
        refuse("an operation ends early");
    std::span<const Record> records(reinterpret_cast<const Record *>(rest.data()), count);
    rest = rest.subspan(count * sizeof(Record));
    return records;
}

} // namespace

Plan::Plan(const std::filesystem::path &path) {
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat info{};
    if (fd < 0 || fstat(fd, &info) != 0)
        throw std::runtime_error(path.string() + ": " + std::strerror(errno));
    mapped_ = static_cast<size_t>(info.st_size);
    if (mapped_ < sizeof head_) {
        close(fd);
        refuse("too short");
    }
    // Private and writable: what calls are given may be written to by them.
    void *mapped = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED)
        throw std::runtime_error(path.string() + ": " + std::strerror(errno));
    base_ = static_cast<std::byte *>(mapped);
    std::memcpy(&head_, base_, sizeof head_);
    if (std::memcmp(head_.magic, kPlanMagic, sizeof kPlanMagic) != 0)
        refuse("no plan of this version");
    if (!inside(head_.names_offset, head_.names_size, mapped_) ||
        !inside(head_.operations_offset, head_.operations_size, mapped_) ||
        !inside(head_.data_offset, head_.data_size, mapped_) || head_.operations_offset % 8 != 0)
        refuse("a section lies outside");
    std::string_view names(reinterpret_cast<const char *>(base_) + head_.names_offset, head_.names_size);
    for (size_t end; (end = names.find('\0')) != names.npos; names.remove_prefix(end + 1))
        functions_.emplace_back(names.substr(0, end));
    if (functions_.size() != head_.functions || head_.threads > 65536)
        refuse("its names are not as many as it says");
    threads_.resize(head_.threads);
    find_steps(std::span<const std::byte>(base_ + head_.operations_offset, head_.operations_size));
}

Plan::~Plan() {
    if (base_)
        munmap(base_, mapped_);
}

void Plan::find_steps(std::span<const std::byte> rest) {
    while (!rest.empty()) {
        std::span<const std::byte> all = rest;
        const Operation &head = take<Operation>(all, 1)[0];
        if (head.size > rest.size() || head.size < sizeof head || head.size % 8 != 0)
            refuse("an operation's size");
        std::span<const std::byte> own = rest.first(head.size).subspan(sizeof head);
        Step step{&head, {}, {}, {}, {}, count_};
        step.waits = take<Wait>(own, head.waits);
        step.arguments = take<Argument>(own, head.arguments);
        step.fixups = take<Fixup>(own, head.fixups);
        step.outcomes = take<Outcome>(own, head.outcomes);
        size_t fixups = 0;
        for (const Argument &argument : step.arguments)
            fixups += argument.fixups;
        bool sound = head.thread < threads_.size() && head.function < functions_.size() &&
                     head.arguments <= kMostArguments && fixups == head.fixups;
        for (const Wait &wait : step.waits)
            sound = sound && wait.thread < threads_.size();
        for (const Outcome &outcome : step.outcomes)
            sound = sound && outcome.argument < head.arguments;
        if (!sound)
            refuse("an operation names what is not there");
        threads_[head.thread].push_back(step);
        count_++;
        rest = rest.subspan(head.size);
    }
    if (count_ != head_.operations)
        refuse("its operations are not as many as it says");
}

std::span<std::byte> Plan::data(uint64_t offset, uint64_t length) const {
    if (!inside(offset, length, head_.data_size))
        refuse("data outside of its section");
    return {base_ + head_.data_offset + offset, length};
}

} // namespace shimbench::replay
