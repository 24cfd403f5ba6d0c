/* Export tables: their slots are wrapped in place, since their addresses are hashed by the runtime's
 * self-test. A table is never copied; d4082055, whose slot's address is hashed as well, is never touched. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "driver.h"

static const uint8_t integrity_check[16] = {0xd4, 0x08, 0x20, 0x55, 0xbd, 0xe6, 0x70, 0x4b,
                                            0x8d, 0x34, 0xba, 0x12, 0x3c, 0x66, 0xe1, 0xf2};
/* The only known table without a size word: three slots, from the first word on. */
static const uint8_t context_local_storage[16] = {0xc6, 0x93, 0x33, 0x6e, 0x11, 0x21, 0xdf, 0x11,
                                                  0xa8, 0xc3, 0x68, 0xf3, 0x55, 0xd8, 0x95, 0x93};

enum { MOST_SLOTS = 128, LOCAL_STORAGE_SLOTS = 3 };

/* The slots of a table: where they begin and end. Without a believable size word, none. */
static bool slots_of(const uint8_t uuid[16], void **table, uint32_t *first, uint32_t *end) {
    uint64_t words[MOST_SLOTS];
    if (memcmp(uuid, context_local_storage, 16) == 0) {
        *first = 0;
        *end = LOCAL_STORAGE_SLOTS;
        return shimbench_copy_safely(words, (uint64_t)table, sizeof *words * *end) == sizeof *words * *end;
    }
    if (shimbench_copy_safely(words, (uint64_t)table, sizeof *words) != sizeof *words)
        return false;
    uint64_t size = words[0];
    if (size % sizeof *words || size < 2 * sizeof *words || size > sizeof words)
        return false;
    *first = 1;
    *end = (uint32_t)(size / sizeof *words);
    return shimbench_copy_safely(words, (uint64_t)table, size) == size;
}

struct mapping {
    uint64_t start, end;
    int protection;
};

static uint64_t parse_hex(const char **at) {
    uint64_t value = 0;
    for (;; ++*at) {
        char c = **at;
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint64_t)(c - 'a' + 10);
        else
            return value;
    }
}

/* The mapping that holds `address`, as /proc/self/maps has it now: RELRO and mprotect included. */
static bool mapping_at(uint64_t address, struct mapping *found) {
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    char text[4096 + 1];
    size_t kept = 0;
    bool hit = false;
    ssize_t got;
    while (!hit && (got = read(fd, text + kept, sizeof text - 1 - kept)) > 0) {
        kept += (size_t)got;
        text[kept] = 0;
        char *line = text;
        for (char *end; !hit && (end = strchr(line, '\n')); line = end + 1) {
            const char *at = line;
            struct mapping map = {.start = parse_hex(&at)};
            at++;
            map.end = parse_hex(&at);
            if (address < map.start || address >= map.end)
                continue;
            map.protection = (at[1] == 'r' ? PROT_READ : 0) | (at[2] == 'w' ? PROT_WRITE : 0) |
                             (at[3] == 'x' ? PROT_EXEC : 0);
            *found = map;
            hit = true;
        }
        kept -= (size_t)(line - text);
        memmove(text, line, kept);
    }
    close(fd);
    return hit;
}

/* Writes one slot, and leaves the memory's protection as it was. */
static bool store_slot(void **place, void *value) {
    struct mapping map;
    if (!mapping_at((uint64_t)place, &map))
        return false;
    if (map.protection & PROT_WRITE) {
        __atomic_store_n(place, value, __ATOMIC_RELEASE);
        return true;
    }
    void *page = (void *)((uint64_t)place & ~4095ull);
    if (mprotect(page, 4096, map.protection | PROT_WRITE) != 0)
        return false;
    __atomic_store_n(place, value, __ATOMIC_RELEASE);
    mprotect(page, 4096, map.protection);
    return true;
}

static bool is_code(uint64_t address) {
    struct mapping map;
    return address >= 4096 && mapping_at(address, &map) && (map.protection & PROT_EXEC);
}

void tap_wrap_table(const uint8_t uuid[16], void **table) {
    uint32_t first, end;
    if (memcmp(uuid, integrity_check, 16) == 0 || (uint64_t)table % sizeof *table)
        return;
    int saved = errno;
    if (!slots_of(uuid, table, &first, &end))
        goto out;
    for (uint32_t slot = first; slot < end; slot++) {
        void *target = __atomic_load_n(&table[slot], __ATOMIC_ACQUIRE);
        if (tap_is_thunk((uint64_t)target) || !is_code((uint64_t)target))
            continue;
        struct tap_thunk *thunk = tap_take_thunk();
        if (!thunk)
            goto out;
        thunk->target = target;
        thunk->slot = (uint8_t)slot;
        thunk->place = &table[slot];
        memcpy(thunk->uuid, uuid, sizeof thunk->uuid);
        store_slot(thunk->place, tap_publish_thunk(thunk, TAP_THUNK_SLOT));
    }
out:
    errno = saved;
}

void tap_unwrap_tables(void) {
    int saved = errno;
    for (struct tap_thunk *thunk = tap_thunks; thunk < tap_thunks + TAP_THUNKS; thunk++)
        if (thunk->kind == TAP_THUNK_SLOT)
            store_slot(thunk->place, thunk->target);
    errno = saved;
}
