/* Which files callers lie in. Whoever reads /proc/PID/maps from outside comes too late for a short process,
 * so the tap itself says it: a record of the module, in front of the first call that comes from it. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* glibc's struct dl_find_object on x86-64; its headers have it only since 2.35. */
struct found_object {
    unsigned long long flags;
    void *start, *end;
    struct link_map *map;
    void *unwind_table;
    unsigned long long reserved[7];
};

struct known_module {
    struct found_object object;
    const char *name; /* as the link map has it; with the rest it tells a module from one mapped over it */
    uint32_t ready;
};

/* Modules of which a record is written, the newest last. When it is full, further ones get none: then
 * /proc/PID/maps is all there is. */
enum { KNOWN_MODULES = 512 };
static struct known_module known[KNOWN_MODULES];
static uint32_t known_count;

/* Takes no lock and may be called from signal handlers. Asked for at run time: libc before 2.35 has none. */
static int (*find_object)(void *, struct found_object *);

__attribute__((constructor(101))) static void start(void) {
    find_object = (int (*)(void *, struct found_object *))shimbench_find_symbol("_dl_find_object", 0);
}

void tap_forget_modules(void) {
    memset(known, 0, sizeof known);
    __atomic_store_n(&known_count, 0, __ATOMIC_RELEASE);
}

static bool is_known(const struct found_object *object) {
    for (uint32_t i = __atomic_load_n(&known_count, __ATOMIC_ACQUIRE); i-- > 0;) {
        const struct known_module *module = &known[i];
        if (!__atomic_load_n(&module->ready, __ATOMIC_ACQUIRE) || module->object.end <= object->start ||
            module->object.start >= object->end)
            continue;
        /* The newest in this place: an older one is gone, even if it was the same. */
        return module->object.start == object->start && module->object.end == object->end &&
               module->object.map == object->map && module->object.unwind_table == object->unwind_table &&
               module->name == object->map->l_name;
    }
    return false;
}

/* Two threads may append the same module: each has written its record by then. */
static void remember(const struct found_object *object) {
    uint32_t place = __atomic_load_n(&known_count, __ATOMIC_RELAXED);
    do {
        if (place >= KNOWN_MODULES)
            return;
    } while (!__atomic_compare_exchange_n(&known_count, &place, place + 1, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED));
    known[place].object = *object;
    known[place].name = object->map->l_name;
    __atomic_store_n(&known[place].ready, 1, __ATOMIC_RELEASE);
}

/* The main program has no name in its link map. */
static size_t path_of(const struct found_object *object, char *to) {
    const char *name = object->map->l_name;
    if (name && *name) {
        size_t length = strnlen(name, PATH_MAX);
        memcpy(to, name, length);
        return length;
    }
    int saved = errno;
    ssize_t length = readlink("/proc/self/exe", to, PATH_MAX);
    errno = saved;
    return length > 0 ? (size_t)length : 0;
}

static bool write_module(struct tap_local *local, const struct found_object *object, uint64_t caller) {
    enum { HEAD = sizeof(struct tap_record) + sizeof(struct tap_item) };
    const char *name = object->map->l_name;
    size_t room = name && *name ? strnlen(name, PATH_MAX) : PATH_MAX;
    struct tap_record *record = tap_reserve(local, (uint32_t)((HEAD + room + 7) / TAP_CELL_SIZE + 1));
    if (!record)
        return false;
    char *path = (char *)record + HEAD;
    size_t length = path_of(object, path);
    size_t cells = (HEAD + length + TAP_CELL_SIZE - 1) / TAP_CELL_SIZE;
    memset(path + length, 0, cells * TAP_CELL_SIZE - HEAD - length);
    struct tap_item item = {
        .kind = TAP_ITEM_STRING, .length = (uint16_t)length, .original = (uint32_t)length};
    memcpy(record + 1, &item, sizeof item);
    *record = (struct tap_record){.start = tap_ticks(),
                                  .caller = caller,
                                  .function = TAP_FN_MODULE,
                                  .cells = (uint8_t)cells,
                                  .args = {(uint64_t)object->start, (uint64_t)object->end}};
    local->used += (uint32_t)cells;
    __atomic_store_n(&local->chunk->committed, local->used, __ATOMIC_RELEASE);
    return true;
}

void shimbench_note_caller(uint64_t caller) {
    struct tap_local *local = &shimbench_local;
    struct found_object object;
    if (!find_object)
        return;
    local->busy = 1;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (find_object((void *)caller, &object) == 0 && object.map) {
        bool said = is_known(&object);
        if (!said && __atomic_load_n(&known_count, __ATOMIC_RELAXED) < KNOWN_MODULES) {
            said = write_module(local, &object, caller);
            if (said)
                remember(&object);
        }
        if (said) {
            uint64_t size = (uint64_t)object.end - (uint64_t)object.start;
            local->module_start = (uint64_t)object.start;
            local->module_size = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
        }
    }
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    local->busy = 0;
}
