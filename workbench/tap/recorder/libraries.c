/* Who is loaded: the taps in this process, and which driver names other libraries import by linking. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <string.h>

#include "internal.h"

static struct tap_library *libraries;

struct tap_library *shimbench_libraries(void) {
    return __atomic_load_n(&libraries, __ATOMIC_ACQUIRE);
}

/* Taps come and go in their constructors and destructors, under the loader's lock. */
void shimbench_add_library(struct tap_library *library) {
    library->next = libraries;
    __atomic_store_n(&libraries, library, __ATOMIC_RELEASE);
}

void shimbench_remove_library(struct tap_library *library) {
    for (struct tap_library **at = &libraries; *at; at = &(*at)->next)
        if (*at == library) {
            __atomic_store_n(at, library->next, __ATOMIC_RELEASE);
            return;
        }
}

uint16_t shimbench_function_of(uint64_t address) {
    for (struct tap_library *library = shimbench_libraries(); library; library = library->next) {
        uint16_t function = library->function_of(address);
        if (function)
            return function;
    }
    return TAP_FN_NONE;
}

bool shimbench_is_driver_name(const char *name) {
    if (name[0] == 'c' && name[1] == 'u')
        return name[2] >= 'A' && name[2] <= 'Z';
    return strncmp(name, "nvml", 4) == 0 && name[4] >= 'A' && name[4] <= 'Z';
}

static bool read_object(const struct dl_phdr_info *info, struct tap_object *object) {
    *object = (struct tap_object){.base = info->dlpi_addr, .start = UINT64_MAX};
    const ElfW(Dyn) *dynamic = NULL;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        uint64_t start = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_DYNAMIC)
            dynamic = (const ElfW(Dyn) *)start;
        if (header->p_type != PT_LOAD)
            continue;
        if (start < object->start)
            object->start = start;
        if (start + header->p_memsz > object->end)
            object->end = start + header->p_memsz;
    }
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
        /* glibc relocates these in place; the vdso's stay relative. */
        uint64_t value = dynamic->d_un.d_ptr;
        if (dynamic->d_tag == DT_STRSZ)
            object->names.strings_size = value;
        const void *address = (const void *)(value < info->dlpi_addr ? value + info->dlpi_addr : value);
        switch (dynamic->d_tag) {
        case DT_SYMTAB:
            object->names.symbols = address;
            break;
        case DT_STRTAB:
            object->names.strings = address;
            break;
        case DT_HASH:
            object->names.sysv = address;
            break;
        case DT_GNU_HASH:
            object->names.gnu = address;
            break;
        }
    }
    return object->names.symbols && object->names.strings && (object->names.sysv || object->names.gnu);
}

static const ElfW(Sym) * symbol_at(const struct tap_object *object, uint32_t index) {
    return (const ElfW(Sym) *)object->names.symbols + index;
}

static uint32_t gnu_hash(const char *name) {
    uint32_t hash = 5381;
    for (; *name; name++)
        hash = hash * 33 + (uint8_t)*name;
    return hash;
}

static uint32_t sysv_hash(const char *name) {
    uint32_t hash = 0;
    for (; *name; name++) {
        hash = (hash << 4) + (uint8_t)*name;
        hash = (hash ^ (hash & 0xf0000000u) >> 24) & 0x0fffffffu;
    }
    return hash;
}

static bool defines(const struct tap_object *object, uint32_t index, const char *name) {
    const ElfW(Sym) *symbol = symbol_at(object, index);
    return symbol->st_shndx != SHN_UNDEF && symbol->st_value &&
           strcmp(object->names.strings + symbol->st_name, name) == 0;
}

/* The index of the symbol that defines `name`, 0 for none. */
static uint32_t find_by_gnu_hash(const struct tap_object *object, const char *name) {
    const uint32_t *table = object->names.gnu;
    uint32_t bucket_count = table[0], first = table[1], bloom_words = table[2];
    const uint32_t *buckets = table + 4 + 2 * bloom_words;
    const uint32_t *chains = buckets + bucket_count;
    uint32_t hash = gnu_hash(name);
    uint32_t index = bucket_count ? buckets[hash % bucket_count] : 0;
    for (; index && index >= first; index++) {
        uint32_t entry = chains[index - first];
        if ((entry | 1) == (hash | 1) && defines(object, index, name))
            return index;
        if (entry & 1)
            break;
    }
    return 0;
}

static uint32_t find_by_sysv_hash(const struct tap_object *object, const char *name) {
    uint32_t bucket_count = object->names.sysv[0];
    const uint32_t *buckets = object->names.sysv + 2;
    const uint32_t *chains = buckets + bucket_count;
    uint32_t index = bucket_count ? buckets[sysv_hash(name) % bucket_count] : 0;
    while (index && !defines(object, index, name))
        index = chains[index];
    return index;
}

void *shimbench_symbol_in(const struct tap_object *object, const char *name, bool *indirect) {
    uint32_t index = object->names.gnu ? find_by_gnu_hash(object, name) : find_by_sysv_hash(object, name);
    if (!index)
        return NULL;
    const ElfW(Sym) *symbol = symbol_at(object, index);
    if (indirect)
        *indirect = ELF64_ST_TYPE(symbol->st_info) == STT_GNU_IFUNC;
    return (void *)(object->base + symbol->st_value);
}

/* The number of symbols among which all undefined ones are: the hashed ones come last. */
static uint32_t import_limit(const struct tap_object *object) {
    const uint32_t *gnu = object->names.gnu;
    if (gnu && gnu[0] == 1 && gnu[1] == 1 && gnu[4 + 2 * gnu[2]] == 0) {
        /* GNU ld's way to say that nothing is hashed: it puts the strings right behind the symbols. */
        uint64_t size = (uint64_t)object->names.strings - (uint64_t)object->names.symbols;
        return size < 1u << 26 ? (uint32_t)(size / sizeof(ElfW(Sym))) : 0;
    }
    if (gnu)
        return gnu[1];
    return object->names.sysv[1];
}

static bool contains(const struct dl_phdr_info *info, uint64_t address) {
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && address - (info->dlpi_addr + header->p_vaddr) < header->p_memsz)
            return true;
    }
    return false;
}

struct search {
    const char *name;
    uint64_t after;
    bool passed;
    bool libc_only;
    void *found;
};

static bool is_libc(const struct dl_phdr_info *info) {
    const char *slash = strrchr(info->dlpi_name, '/');
    const char *base = slash ? slash + 1 : info->dlpi_name;
    return strncmp(base, "libc.so", 7) == 0 || strncmp(base, "libdl.so", 8) == 0;
}

static int search_symbol(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    struct search *search = data;
    if (!search->passed) {
        search->passed = contains(info, search->after);
        return 0;
    }
    struct tap_object object;
    if ((search->libc_only && !is_libc(info)) || !read_object(info, &object))
        return 0;
    search->found = shimbench_symbol_in(&object, search->name, NULL);
    return search->found != NULL;
}

void *shimbench_find_symbol(const char *name, uint64_t after) {
    struct search search = {.name = name, .after = after, .passed = after == 0};
    dl_iterate_phdr(search_symbol, &search);
    return search.found;
}

void *shimbench_libc_symbol(const char *name) {
    struct search search = {.name = name, .passed = true, .libc_only = true};
    dl_iterate_phdr(search_symbol, &search);
    return search.found;
}

struct object_search {
    uint64_t address;
    struct tap_object *object;
};

static int search_object(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    struct object_search *search = data;
    if (!contains(info, search->address))
        return 0;
    return read_object(info, search->object) ? 1 : -1;
}

bool shimbench_object_at(uint64_t address, struct tap_object *object) {
    struct object_search search = {.address = address, .object = object};
    return dl_iterate_phdr(search_object, &search) == 1;
}

/* Objects whose imports are recorded, by address; one that is unloaded and comes back is seen again
 * only elsewhere. */
static uint64_t seen[1024];
static uint32_t seen_count;
static unsigned long long adds_seen;
static uint32_t walking;

static void record_import(const struct tap_object *object, const char *name) {
    struct tap_call call;
    if (!tap_enter(&call, TAP_FN_DLSYM, object->start, 0, 0, 0, 0))
        return;
    call.flags |= TAP_FLAG_LINK_TIME;
    void *answer = shimbench_find_symbol(name, 0);
    struct tap_payload payload;
    if (!shimbench_payload_begin(&payload, &call, answer != NULL, tap_ticks()))
        return;
    shimbench_put_string(&payload, 0, name);
    struct {
        uint16_t function;
        uint16_t reserved[3];
        uint64_t address;
    } resolved = {.function = shimbench_function_of((uint64_t)answer), .address = (uint64_t)answer};
    shimbench_put(&payload, TAP_ITEM_RESOLVED, 0, &resolved, sizeof resolved);
    shimbench_payload_finish(&payload);
}

static bool is_of_ours(const struct dl_phdr_info *info) {
    if (contains(info, (uint64_t)&shimbench_record_link_time_names))
        return true;
    for (struct tap_library *library = shimbench_libraries(); library; library = library->next)
        if (contains(info, library->start))
            return true;
    return false;
}

static int walk_imports(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size, (void)data;
    adds_seen = info->dlpi_adds;
    for (uint32_t i = 0; i < seen_count; i++)
        if (seen[i] == info->dlpi_addr)
            return 0;
    if (seen_count == sizeof seen / sizeof *seen)
        return 1;
    seen[seen_count++] = info->dlpi_addr;
    struct tap_object object;
    if (is_of_ours(info) || !read_object(info, &object))
        return 0;
    uint32_t count = import_limit(&object);
    for (uint32_t i = 1; i < count; i++) {
        const ElfW(Sym) *symbol = symbol_at(&object, i);
        const char *name = object.names.strings + symbol->st_name;
        if (symbol->st_shndx == SHN_UNDEF && symbol->st_name < object.names.strings_size &&
            shimbench_is_driver_name(name))
            record_import(&object, name);
    }
    return 0;
}

static int read_adds(struct dl_phdr_info *info, size_t size, void *data) {
    (void)size;
    *(unsigned long long *)data = info->dlpi_adds;
    return 1;
}

void shimbench_record_link_time_names(void) {
    unsigned long long adds = 0;
    int saved = errno;
    dl_iterate_phdr(read_adds, &adds);
    /* Whoever finds the walk under way leaves it to the other: it sees the same objects. */
    if (adds != adds_seen && !__atomic_exchange_n(&walking, 1, __ATOMIC_ACQUIRE)) {
        dl_iterate_phdr(walk_imports, NULL);
        __atomic_store_n(&walking, 0, __ATOMIC_RELEASE);
    }
    errno = saved;
}
