#include "device/printed.hpp"

#include <algorithm>

#include "wire/barrier.h"

namespace shimbench {

void Printed::tell(std::uint32_t *there_is, const std::uint32_t *wanted) {
    const std::lock_guard held(lock_);
    there_is_ = there_is;
    wanted_ = wanted;
}

void Printed::add(std::string_view text) {
    if (text.empty())
        return;
    const std::lock_guard held(lock_);
    const std::size_t wanted = wanted_ ? load_acquire32(wanted_) : 0;
    const std::size_t limit = wanted ? std::clamp(wanted, least, most) : default_limit;
    pieces_.emplace_back(text);
    bytes_ += text.size();
    while (bytes_ > limit && pieces_.size() > 1) {
        bytes_ -= pieces_.front().size();
        pieces_.pop_front();
    }
    if (there_is_)
        store_release32(there_is_, 1); // ahead of `tail`, by which the client sees that the kernel is done
}

std::string Printed::take(std::size_t room) {
    const std::lock_guard held(lock_);
    std::string text;
    while (!pieces_.empty() && text.size() < room) {
        std::string &piece = pieces_.front();
        const std::size_t part = std::min(piece.size(), room - text.size());
        text.append(piece, 0, part);
        bytes_ -= part;
        if (part == piece.size())
            pieces_.pop_front();
        else
            piece.erase(0, part);
    }
    if (pieces_.empty() && there_is_)
        store_release32(there_is_, 0);
    return text;
}

Printed &printed() {
    static Printed the_printed;
    return the_printed;
}

} // namespace shimbench
