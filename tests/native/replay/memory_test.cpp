// What stands for a recording's handles and addresses.
#include "../collector/check.hpp"
#include "memory.hpp"

#include <cstring>

using namespace shimbench::replay;

namespace {

bool is_missing(Memory &memory, uint8_t type, uint64_t handle) {
    try {
        memory.handle(type, handle);
        return false;
    } catch (const Missing &) {
        return true;
    }
}

void handles_are_translated_by_type() {
    Memory memory;
    memory.made_handle(1, 100, 7000);
    memory.made_handle(2, 100, 8000);
    check(memory.handle(1, 100) == 7000 && memory.handle(2, 100) == 8000, "each type has its own");
    memory.made_handle(1, 100, 7001);
    check(memory.handle(1, 100) == 7001, "a handle that comes again is the newest");
    check(memory.handle(1, 2) == 2 && memory.unknown() == 0, "streams by number stay");
    check(memory.handle(3, 100) == 100 && memory.unknown() == 1,
          "what nobody made is passed on, and counted");
    memory.lost_handle(1, 100);
    check(is_missing(memory, 1, 100), "what failed to be made is not made up");
    memory.made_handle(1, 100, 7002);
    check(memory.handle(1, 100) == 7002, "until it is made");
}

void addresses_are_translated_by_the_memory_they_lie_in() {
    Memory memory;
    memory.made_range(0x10000, 0x1000, 0x90000);
    check(memory.address(0x10010) == 0x90010, "inner addresses too");
    check(!memory.address(0x11000) && !memory.address(0xffff), "its ends are outside");
    memory.made_range(0x10000, 1, 0xdead);
    check(memory.address(0x10010) == 0x90010, "another name of known memory changes nothing");
    memory.made_range(0x10800, 0x1000, 0x50000);
    check(!memory.address(0x10010), "memory that new memory overlaps was freed");
    check(memory.address(0x10800) == 0x50000, "and the new is there");
    memory.lost_range(0x20000, 16);
    bool missing = false;
    try {
        memory.address(0x20008);
    } catch (const Missing &) {
        missing = true;
    }
    check(missing, "memory that failed to be made");
}

void host_memory_keeps_its_place_until_more_is_needed() {
    Memory memory;
    void *first = memory.host(0x7000, 100);
    std::memset(first, 1, 100);
    check(memory.host(0x7000, 50) == first, "less fits");
    check(memory.host(0x7000, 200) != first, "more does not");
    std::memset(first, 2, 100); // a copy into it may still be under way
    memory.made_range(0x8000, 0x100, reinterpret_cast<uint64_t>(first));
    check(memory.host(0x8010, 4) == static_cast<std::byte *>(first) + 16, "pinned memory is where it is");
}

void extents_are_found_by_any_address_in_them() {
    Memory memory;
    memory.made_range(0x100000, 0x10000, 0x900000);
    memory.made_extent(0x102000, 0x1000);
    auto found = memory.extent(0x102ff0);
    check(found && found->recorded == 0x102000 && found->size == 0x1000 && found->now == 0x902000,
          "mapped inside of what was reserved");
    check(!memory.extent(0x100000), "what is only reserved can't be read");
}

} // namespace

int main() {
    handles_are_translated_by_type();
    addresses_are_translated_by_the_memory_they_lie_in();
    host_memory_keeps_its_place_until_more_is_needed();
    extents_are_found_by_any_address_in_them();
    std::puts("ok");
}
