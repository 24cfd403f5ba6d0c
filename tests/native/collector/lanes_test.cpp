// A whole collector that records buffers, against a target whose lanes and items are anything. For the
// sanitizers.
#include "../fuzz_rounds.hpp"
#include "check.hpp"
#include "collector_process.hpp"
#include "connected.hpp"

#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <random>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace shimbench::collector;
using shimbench::session::Descriptor;

namespace {

constexpr uint64_t kLimit = 1 << 20;
constexpr uint64_t kChunks = (4096 + sizeof(tap_thread) + 63) / 64 * 64;
constexpr uint64_t kRegion = kChunks + TAP_CHUNK_SIZE;

void ask_for_buffers(const Descriptor &control) {
    std::string text = std::string("buffers\0"
                                   "3\0",
                                   10) +
                       std::to_string(kLimit);
    auto size = static_cast<uint32_t>(text.size());
    check(write(control.get(), &size, 4) == 4, "the length is sent");
    check(write(control.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()),
          "and the rest");
    char answer[64];
    check(read(control.get(), answer, sizeof answer) >= 6 && std::memcmp(answer + 4, "ok", 2) == 0,
          "it will");
}

uint64_t one_of(std::mt19937_64 &random, std::initializer_list<uint64_t> values) {
    return values.begin()[random() % values.size()];
}

// A record with up to three items, most of them buffers.
uint32_t put_record(std::byte *cells, uint32_t sequence, std::mt19937_64 &random) {
    std::byte *at = cells + sizeof(tap_record);
    for (uint64_t i = random() % 3 + 1; i > 0; i--) {
        tap_buffer buffer{};
        buffer.offset = one_of(random, {0, 64, 4096, 60000, UINT64_MAX, 1ull << 40, random()});
        buffer.length = one_of(random, {0, 1, 1000, 70000, UINT64_MAX, 1ull << 40, random()});
        buffer.lane = static_cast<uint32_t>(one_of(random, {0, 0, 1, 255, UINT32_MAX}));
        buffer.sequence = static_cast<uint32_t>(random() % 3);
        buffer.state = static_cast<uint8_t>(random() % 6);
        tap_item item{TAP_ITEM_BUFFER, 0, sizeof buffer, sizeof buffer};
        if (random() % 8 == 0)
            item.length = static_cast<uint16_t>(random() % 64);
        std::memcpy(at, &item, sizeof item);
        std::memcpy(at + sizeof item, &buffer, sizeof buffer);
        at += sizeof item + sizeof buffer;
    }
    tap_record record{};
    record.start = 1;
    record.sequence = random() % 4 ? sequence : static_cast<uint32_t>(random());
    record.function = random() % 2 ? static_cast<uint16_t>(TAP_FN_INPUTS) : uint16_t{1};
    record.cells = static_cast<uint8_t>((at - cells + 63) / 64);
    std::memcpy(cells, &record, sizeof record);
    return record.cells;
}

Descriptor hostile_region(std::mt19937_64 &random) {
    Descriptor memory(memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    check(ftruncate(memory.get(), kRegion) == 0, "memory");
    void *mapped = mmap(nullptr, kRegion, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
    check(mapped != MAP_FAILED, "mapped");
    auto *base = static_cast<std::byte *>(mapped);
    auto &head = *reinterpret_cast<tap_region *>(base);
    head.abi_version = TAP_ABI_VERSION;
    head.size = kRegion;
    head.threads_offset = 4096;
    head.max_threads = 1;
    head.chunks_offset = kChunks;
    head.max_chunks = 1;
    head.buffer_taken = random() % 2 ? 0 : random();
    auto &thread = *reinterpret_cast<tap_thread *>(base + 4096);
    thread.tid = 7;
    thread.first_chunk = 1;
    auto &chunk = *reinterpret_cast<tap_chunk *>(base + kChunks);
    for (uint32_t sequence = 1; chunk.committed < 900; sequence++)
        chunk.committed += put_record(base + kChunks + 64 + size_t{chunk.committed} * 64, sequence, random);
    thread.state = TAP_THREAD_LIVE;
    head.magic = TAP_MAGIC;
    munmap(mapped, kRegion);
    return memory;
}

void send_lanes(const Descriptor &target, std::mt19937_64 &random) {
    for (uint32_t number = 0; number < random() % 4; number++) {
        Descriptor memory(memfd_create("lane", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        uint64_t size = one_of(random, {0, 4096, 100000, 1 << 20});
        check(ftruncate(memory.get(), static_cast<off_t>(size)) == 0, "memory");
        tap_lane lane{TAP_LANE, number, one_of(random, {size, size, size + 1, UINT64_MAX})};
        int fds[2] = {memory.get(), memory.get()};
        size_t length = random() % 8 ? sizeof lane : random() % sizeof lane;
        send_with_descriptors(target.get(), &lane, length, fds, random() % 8 ? 1 : random() % 3);
    }
}

void be_a_target(const std::string &directory, std::mt19937_64 &random) {
    Descriptor target = connected(directory + "/collector.sock", SOCK_SEQPACKET);
    Descriptor region = hostile_region(random);
    tap_hello hello{TAP_HELLO, TAP_ABI_VERSION, 1, 1, 1, 0, kRegion, "test"};
    int fds[1] = {region.get()};
    send_lanes(target, random); // some come before they may
    send_with_descriptors(target.get(), &hello, sizeof hello, fds, 1);
    send_lanes(target, random);
    tap_welcome reply;
    timeval limit{1, 0};
    setsockopt(target.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    while (recv(target.get(), &reply, sizeof reply, 0) > 0 && reply.kind != TAP_WELCOME) {
    }
}

} // namespace

int main() {
    signal(SIGPIPE, SIG_IGN);
    CollectorProcess collector;
    auto random = fuzz::random(5);
    Descriptor control = connected(collector.session() + "/control.sock", SOCK_STREAM);
    ask_for_buffers(control);
    for (int round = 0; round < fuzz::rounds(100); round++)
        be_a_target(collector.session(), random);
    collector.end(); // with its client there it ends alone: without, it would end its targets, us
    check(std::filesystem::file_size(collector.session() + "/buffers.index") > 16,
          "some of these are buffers");
    check(std::filesystem::file_size(collector.session() + "/buffers.dat") <= 2 * kLimit,
          "it keeps to its limit");
    std::puts("ok");
}
