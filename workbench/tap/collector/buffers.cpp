// Buffers that calls were given or filled, out of the targets' lanes into the session. How much a session
// keeps is limited here; a process is told how much it may still hand over.
#include "collector.hpp"
#include "shared.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace shimbench::collector {

using session::BufferItem;
using session::BufferState;
using session::Descriptor;

namespace {

constexpr uint8_t kBufferItem = TAP_ITEM_BUFFER;
constexpr uint64_t kLargestLane = 1ull << 40;
constexpr uint64_t kBlock = 64 << 10;
constexpr size_t kMostInputs = 4096; // of calls under way in one process

static_assert(sizeof(BufferItem) == sizeof(tap_buffer));
static_assert(static_cast<int>(BufferState::Kept) == TAP_BUFFER_KEPT);
static_assert(static_cast<int>(BufferState::OverLimit) == TAP_BUFFER_OVER_LIMIT);
static_assert(static_cast<int>(BufferState::Unreadable) == TAP_BUFFER_UNREADABLE);
static_assert(static_cast<int>(BufferState::Dropped) == TAP_BUFFER_DROPPED);

// Frees the blocks of a lane whose buffers have all been read.
void give_back(Lane &lane, uint64_t offset, uint64_t length) {
    uint64_t end = std::min(lane.size, (offset + length + 63) / 64 * 64); // as the tap rounds
    for (uint64_t at = offset; at < end;) {
        uint64_t block = at / kBlock, upto = std::min(end, (block + 1) * kBlock);
        if (lane.read.size() <= block)
            lane.read.resize(block + 1);
        lane.read[block] += static_cast<uint32_t>(upto - at);
        if (lane.read[block] >= kBlock)
            fallocate(lane.memory.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      static_cast<off_t>(block * kBlock), static_cast<off_t>(kBlock));
        at = upto;
    }
}

// One lane, if there is a message.
bool receive_lane(int socket, tap_lane &lane, Descriptor &memory) {
    iovec part{&lane, sizeof lane};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
    ssize_t count = recvmsg(socket, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (count <= 0)
        return false;
    for (cmsghdr *head = CMSG_FIRSTHDR(&header); head; head = CMSG_NXTHDR(&header, head)) {
        int fd;
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS ||
            head->cmsg_len != CMSG_LEN(sizeof fd))
            continue;
        std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
        memory = Descriptor(fd);
    }
    if (count != static_cast<ssize_t>(sizeof lane))
        lane = {};
    return true;
}

bool read_whole(int fd, uint64_t offset, std::span<std::byte> to) {
    while (!to.empty()) {
        ssize_t got = pread(fd, to.data(), to.size(), static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to = to.subspan(static_cast<size_t>(got));
        offset += static_cast<uint64_t>(got);
    }
    return true;
}

} // namespace

void Region::set_buffers(uint32_t which, uint64_t limit) {
    store_release(shared().buffer_limit, limit);
    store_release(shared().buffers, which);
    std::atomic_ref attention(shared().attention);
    if (which)
        attention.fetch_or(TAP_ATTENTION_BUFFERS, std::memory_order_release);
    else
        attention.fetch_and(~uint32_t{TAP_ATTENTION_BUFFERS}, std::memory_order_release);
}

uint64_t Region::buffers_taken() {
    return load_acquire(shared().buffer_taken);
}

// Which buffers (enum tap_buffers; 0 none), and bytes of them in the session.
std::string Collector::set_buffers(Fields fields) {
    long which = fields.number(), limit = fields.number();
    if (which < 0 || which > (TAP_BUFFERS_INPUTS | TAP_BUFFERS_OUTPUTS) || limit < 0)
        return joined({"error", "no such recording of buffers"});
    buffers_ = static_cast<uint32_t>(which);
    buffer_limit_ = static_cast<uint64_t>(limit);
    for (Image *image : active_)
        grant_buffers(*image);
    writer_.event(writer_.now(), "buffers",
                  "\"record\":" + std::to_string(which) + ",\"limit\":" + std::to_string(limit));
    writer_.publish();
    return joined({"ok", ""});
}

// What is still free in the session, beyond what it has handed over.
void Collector::grant_buffers(Image &image) {
    if (!image.region)
        return;
    uint64_t left = buffer_limit_ - std::min(buffer_limit_, writer_.buffer_bytes());
    image.region->set_buffers(buffers_, buffers_ ? image.region->buffers_taken() + left : 0);
}

void Collector::take_lanes(Image &image) {
    tap_lane lane{};
    Descriptor memory;
    while (image.socket && receive_lane(image.socket.get(), lane, memory)) {
        struct stat info;
        bool sound = lane.kind == TAP_LANE && memory && lane.number == image.lanes.size() &&
                     lane.number < TAP_MAX_LANES && lane.size <= kLargestLane &&
                     fstat(memory.get(), &info) == 0 && S_ISREG(info.st_mode) && info.st_size >= 0 &&
                     static_cast<uint64_t>(info.st_size) >= lane.size;
        if (sound)
            image.lanes.push_back({std::move(memory), lane.size, {}});
        memory.reset();
    }
}

// The buffer in the session; what came by the lane is given back.
BufferItem Collector::keep_buffer(Image &image, const tap_buffer &told) {
    BufferItem kept{};
    kept.length = told.length;
    kept.sequence = told.sequence;
    kept.thread = told.thread;
    kept.output = told.output;
    kept.state = static_cast<BufferState>(std::min<uint8_t>(told.state, TAP_BUFFER_DROPPED));
    if (kept.state != BufferState::Kept) {
        image.buffers_lost++;
        return kept;
    }
    if (told.lane >= image.lanes.size())
        take_lanes(image);
    kept.state = BufferState::Dropped;
    if (told.lane < image.lanes.size() && told.length > 0) {
        const Lane &lane = image.lanes[told.lane];
        bool inside = told.offset <= lane.size && told.length <= lane.size - told.offset;
        if (inside && writer_.buffer_bytes() >= buffer_limit_)
            kept.state = BufferState::OverLimit;
        else if (inside)
            kept.buffer = writer_.buffer(told.length, [&](uint64_t at, std::span<std::byte> to) {
                return read_whole(lane.memory.get(), told.offset + at, to);
            });
        if (kept.buffer)
            kept.state = BufferState::Kept;
        if (inside)
            give_back(image.lanes[told.lane], told.offset, told.length);
    }
    if (!kept.buffer)
        image.buffers_lost++;
    return kept;
}

// Turns what the tap told of its buffers into what the session says of them, in place.
void Collector::keep_buffers(Image &image, std::vector<std::byte> &items) {
    for (size_t at = 0; at + sizeof(tap_item) <= items.size();) {
        tap_item item;
        std::memcpy(&item, items.data() + at, sizeof item);
        at += sizeof item;
        if (item.kind == kBufferItem && item.length == sizeof(tap_buffer)) {
            tap_buffer told;
            std::memcpy(&told, items.data() + at, sizeof told);
            BufferItem kept = keep_buffer(image, told);
            std::memcpy(items.data() + at, &kept, sizeof kept);
        }
        at += (size_t{item.length} + 7) / 8 * 8;
    }
}

void Collector::take_inputs(Image &image, const DrainedCall &call) {
    auto items = std::span(drained_.payloads).subspan(call.payload_offset, call.payload_length);
    if (image.inputs.size() >= kMostInputs) // of calls whose own records were lost
        image.inputs.clear();
    auto &given = image.inputs[{call.thread, call.record.sequence}];
    given.assign(items.begin(), items.end());
    keep_buffers(image, given);
}

// The payload of a call that has returned: what it was given, then what its record holds.
std::span<const std::byte> Collector::payload_of(Image &image, const DrainedCall &call) {
    auto items =
        std::span<const std::byte>(drained_.payloads).subspan(call.payload_offset, call.payload_length);
    if (image.inputs.empty() && image.lanes.empty() && !buffers_)
        return items;
    payload_.assign(items.begin(), items.end());
    keep_buffers(image, payload_);
    // Later calls of the thread are over before this one is: theirs is gone as well.
    auto given = image.inputs.lower_bound({call.thread, call.record.sequence});
    if (given != image.inputs.end() && given->first == std::pair{call.thread, call.record.sequence})
        payload_.insert(payload_.begin(), given->second.begin(), given->second.end());
    image.inputs.erase(given, image.inputs.upper_bound({call.thread, UINT32_MAX}));
    return payload_;
}

void Collector::tell_lost_buffers(Image &image) {
    if (image.buffers_lost == image.buffers_lost_told)
        return;
    image.buffers_lost_told = image.buffers_lost;
    writer_.event(writer_.now(), "buffers-lost",
                  "\"process\":" + std::to_string(image.index) +
                      ",\"count\":" + std::to_string(image.buffers_lost));
}

} // namespace shimbench::collector
