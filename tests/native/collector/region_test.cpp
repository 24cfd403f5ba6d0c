// Regions as a target may leave them: good ones, and ones full of anything. For the sanitizers.
#include "../fuzz_rounds.hpp"
#include "check.hpp"
#include "region.hpp"

#include <cstring>
#include <random>
#include <sys/mman.h>
#include <unistd.h>

using namespace shimbench::collector;
using shimbench::session::Descriptor;

namespace {

constexpr uint32_t kThreads = 4, kChunks = 6;
constexpr uint64_t kThreadsAt = 4096, kChunksAt = kThreadsAt + 4096 * 2;
constexpr uint64_t kSize = kChunksAt + uint64_t{kChunks} * TAP_CHUNK_SIZE;

// A region as a tap makes it, seen from the tap's side.
struct Made {
    Descriptor fd;
    std::byte *base;

    Made() : fd(memfd_create("region", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
        check(ftruncate(fd.get(), kSize) == 0, "memory");
        base =
            static_cast<std::byte *>(mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0));
        tap_region &head = *reinterpret_cast<tap_region *>(base);
        head.magic = TAP_MAGIC;
        head.abi_version = TAP_ABI_VERSION;
        head.size = kSize;
        head.threads_offset = kThreadsAt;
        head.max_threads = kThreads;
        head.chunks_offset = kChunksAt;
        head.max_chunks = kChunks;
    }
    ~Made() { munmap(base, kSize); }
    tap_thread &thread(uint32_t index) {
        return *reinterpret_cast<tap_thread *>(base + kThreadsAt + index * sizeof(tap_thread));
    }
    tap_chunk &chunk(uint32_t number) {
        return *reinterpret_cast<tap_chunk *>(base + kChunksAt + uint64_t{number} * TAP_CHUNK_SIZE);
    }
    tap_record &cell(uint32_t number, uint32_t at) {
        return *(reinterpret_cast<tap_record *>(&chunk(number)) + 1 + at);
    }
};
static_assert(kThreads * sizeof(tap_thread) <= 2 * 4096);

void records_are_taken_over_chunks_that_are_given_back() {
    Made made;
    made.thread(0).state = TAP_THREAD_LIVE;
    made.thread(0).tid = 77;
    made.thread(0).first_chunk = 1;
    for (uint32_t i = 0; i < 3; i++) {
        made.cell(0, i).cells = 1;
        made.cell(0, i).sequence = i + 1;
    }
    made.cell(0, 1).parent = 3; // made inside of the one that returned after it
    made.chunk(0).committed = 3;
    made.chunk(0).next = 2;
    made.cell(1, 0).cells = 2;
    made.cell(1, 0).sequence = 4;
    tap_item item{TAP_ITEM_STRING, 1, 3, 3};
    std::memcpy(&made.cell(1, 1), &item, sizeof item);
    std::memcpy(reinterpret_cast<char *>(&made.cell(1, 1)) + sizeof item, "abc~~~~~", 8);
    made.chunk(1).committed = 2;
    std::string why;
    auto region = Region::adopt(made.fd.get(), why);
    check(region != nullptr, "a good region is taken");
    Drained drained;
    region->drain(drained, 1000);
    check(drained.calls.size() == 4 && drained.calls[3].record.sequence == 4, "all records, in order");
    check(drained.calls[0].thread == 77 && drained.calls[1].nesting == 1, "thread and nesting");
    check(drained.calls[3].payload_length == 16 &&
              std::memcmp(drained.payloads.data() + 8, "abc\0\0\0\0", 8) == 0,
          "a payload in its one form");
    auto &head = *reinterpret_cast<tap_region *>(made.base);
    check(static_cast<uint32_t>(head.free_chunks) == 1 && made.chunk(0).committed == 0,
          "the first chunk is free");
    made.thread(0).state = TAP_THREAD_ENDED;
    made.thread(0).lost = 9;
    drained.clear();
    region->drain(drained, 1000);
    check(made.thread(0).state == TAP_THREAD_FREE && made.thread(0).first_chunk == 0,
          "an ended thread is freed");
    check(static_cast<uint32_t>(head.free_chunks) == 2 && made.chunk(1).link == 1, "and so is its chunk");
    check(region->lost() == 9 && region->damage().empty(), "its losses stay counted");
    check(ftruncate(made.fd.get(), 0) != 0, "the region can't be made smaller any more");
}

void calls_under_way_are_seen_unless_they_were_recorded() {
    Made made;
    made.thread(0).state = TAP_THREAD_LIVE;
    made.thread(0).first_chunk = 1;
    made.cell(0, 0).cells = 1;
    made.cell(0, 0).sequence = 5;
    made.chunk(0).committed = 1;
    made.thread(0).slots[0].function = 3;
    made.thread(0).slots[0].sequence = 4;
    made.thread(0).slots[1].function = 4;
    made.thread(0).slots[1].sequence = 5;
    std::string why;
    auto region = Region::adopt(made.fd.get(), why);
    Drained drained;
    region->drain(drained, 10);
    std::vector<FlyingCall> flying;
    region->in_flight(flying);
    check(flying.size() == 1 && flying[0].slot.sequence == 4 && flying[0].slot.function == 3,
          "one is under way");
}

void regions_of_impossible_layout_are_refused() {
    std::string why;
    Descriptor sealed(memfd_create("unsealable", MFD_CLOEXEC));
    check(ftruncate(sealed.get(), kSize) == 0 && !Region::adopt(sealed.get(), why), "one that could shrink");
    Descriptor small(memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    check(!Region::adopt(small.get(), why), "an empty one");
    Descriptor pipe_like(dup(0));
    check(!Region::adopt(pipe_like.get(), why), "what is no memory");
    auto random = fuzz::random(1);
    for (int round = 0; round < fuzz::rounds(3000); round++) {
        Made made;
        auto *words = reinterpret_cast<uint32_t *>(made.base);
        for (int change = 0; change < 2; change++)
            words[2 + random() % 30] = static_cast<uint32_t>(random() >> (random() % 40));
        auto region = Region::adopt(made.fd.get(), why);
        Drained drained;
        if (region)
            region->drain(drained, 1000);
    }
}

// Whatever a target writes into its region: nothing outside is touched, and every look ends.
void a_region_full_of_anything_is_survived() {
    auto random = fuzz::random(2);
    for (int round = 0; round < fuzz::rounds(400); round++) {
        Made made;
        std::string why;
        auto region = Region::adopt(made.fd.get(), why);
        check(region != nullptr, "it is good at first");
        size_t noise = random() % 3 == 0 ? 200'000 : 2'000;
        for (size_t i = 0; i < noise; i++) {
            uint64_t at = kThreadsAt + random() % ((kSize - kThreadsAt) / 8) * 8;
            uint64_t value = random() >> (random() % 64);
            std::memcpy(made.base + at, &value, 8);
        }
        for (uint32_t i = 0; i < kThreads; i++) {
            made.thread(i).state = 1 + random() % 2;
            made.thread(i).first_chunk = random() % (kChunks + 2);
        }
        for (uint32_t i = 0; i < kChunks; i++) {
            made.chunk(i).committed = static_cast<uint32_t>(random() % 1100);
            made.chunk(i).next = random() % (kChunks + 2);
            made.chunk(i).thread = random() % kThreads;
            for (uint32_t at = 0; at < TAP_CELLS_PER_CHUNK; at++)
                if (random() % 4)
                    made.cell(i, at).cells = 1 + random() % 3;
        }
        Drained drained;
        std::vector<FlyingCall> flying;
        for (int look = 0; look < 5; look++) {
            drained.clear();
            flying.clear();
            region->drain(drained, 5000);
            region->in_flight(flying);
            region->lost();
            check(drained.calls.size() <= 5000 + kThreads, "no more than asked for");
            check(flying.size() <= kThreads * TAP_MAX_IN_FLIGHT, "no more than there are slots");
        }
    }
}

} // namespace

int main() {
    records_are_taken_over_chunks_that_are_given_back();
    calls_under_way_are_seen_unless_they_were_recorded();
    regions_of_impossible_layout_are_refused();
    a_region_full_of_anything_is_survived();
    std::puts("ok");
}
