/* The parameters of a launch, of which the call tells neither number nor sizes: the shim is asked for the
 * layout, once a function. Only while buffers are recorded. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "driver.h"

enum {
    MOST_PARAMETERS = 256,
    LARGEST_BLOCK = 8192,
    LAYOUTS = 8192,        /* a power of two */
    ARENA_PAIRS = 1 << 18, /* mapped when the first layout is kept, touched as far as used */
    GUESSED_SIZE = 64,     /* read of a parameter whose size is not known */
    GUESSED_COUNT = 64,
};

struct pair {
    uint32_t offset, size;
};

struct layout {
    uint32_t count;
    uint32_t block; /* bytes */
    struct pair pairs[MOST_PARAMETERS];
};

/* Layouts by handle: written under the lock, read without it. Handles come again after an unload, so that
 * empties it: what is of an older generation is not there. */
static struct kept {
    uint64_t function; /* stored last, with release */
    uint32_t generation;
    uint32_t count, block;
    const struct pair *pairs;
} kept[LAYOUTS];
static uint32_t generation = 1, taken;
static struct pair *arena;
static uint32_t arena_used;

static uint32_t place_of(uint64_t function) {
    return (uint32_t)((function * 0x9e3779b97f4a7c15ull) >> 40) % LAYOUTS;
}

void tap_forget_layouts(void) {
    __atomic_add_fetch(&generation, 1, __ATOMIC_RELEASE);
}

static bool find(uint64_t function, struct layout *layout) {
    const struct kept *row = &kept[place_of(function)];
    uint32_t now = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&row->function, __ATOMIC_ACQUIRE) != function ||
        __atomic_load_n(&row->generation, __ATOMIC_RELAXED) != now)
        return false;
    /* Relaxed: what belongs together is what stands between two looks at the function. */
    layout->count = __atomic_load_n(&row->count, __ATOMIC_RELAXED);
    layout->block = __atomic_load_n(&row->block, __ATOMIC_RELAXED);
    const struct pair *pairs = __atomic_load_n(&row->pairs, __ATOMIC_RELAXED);
    if (layout->count > MOST_PARAMETERS)
        return false;
    memcpy(layout->pairs, pairs, layout->count * sizeof *pairs);
    /* Another function may have come to this place meanwhile. */
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&row->function, __ATOMIC_RELAXED) == function;
}

static void keep(uint64_t function, const struct layout *layout) {
    if (__atomic_exchange_n(&taken, 1, __ATOMIC_ACQUIRE))
        return; /* somebody else keeps one: this one is asked for again */
    if (!arena) {
        void *mapped = mmap(NULL, ARENA_PAIRS * sizeof *arena, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        arena = mapped == MAP_FAILED ? NULL : mapped;
    }
    if (arena && layout->count <= ARENA_PAIRS - arena_used) {
        struct kept *row = &kept[place_of(function)];
        struct pair *pairs = arena + arena_used;
        memcpy(pairs, layout->pairs, layout->count * sizeof *pairs);
        arena_used += layout->count;
        __atomic_store_n(&row->function, 0, __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_RELEASE);
        __atomic_store_n(&row->count, layout->count, __ATOMIC_RELAXED);
        __atomic_store_n(&row->block, layout->block, __ATOMIC_RELAXED);
        __atomic_store_n(&row->pairs, pairs, __ATOMIC_RELAXED);
        __atomic_store_n(&row->generation, __atomic_load_n(&generation, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
        __atomic_store_n(&row->function, function, __ATOMIC_RELEASE);
    }
    __atomic_store_n(&taken, 0, __ATOMIC_RELEASE);
}

typedef int32_t (*param_info)(uint64_t function, size_t index, size_t *offset, size_t *size);

/* False when the answers make no sense: a stub that says yes to everything tells nothing. */
static bool ask(param_info info, uint64_t function, struct layout *layout) {
    enum { INVALID_VALUE = 1 };
    layout->count = layout->block = 0;
    for (size_t i = 0; info && i < MOST_PARAMETERS; i++) {
        size_t offset = SIZE_MAX, size = SIZE_MAX;
        int32_t result = info(function, i, &offset, &size);
        if (result == INVALID_VALUE)
            return true;
        if (result != 0 || size == 0 || size > LARGEST_BLOCK || offset < layout->block ||
            offset > LARGEST_BLOCK - size)
            return false;
        layout->pairs[layout->count++] = (struct pair){(uint32_t)offset, (uint32_t)size};
        layout->block = (uint32_t)(offset + size);
    }
    return false;
}

static bool layout_of(uint64_t function, struct layout *layout) {
    if (find(function, layout))
        return true;
    int saved = errno;
    /* Only what the shim exports: nothing is loaded or looked up for this. */
    param_info of_function =
        (param_info)__atomic_load_n(&tap_real[TAP_ID_cuFuncGetParamInfo], __ATOMIC_RELAXED);
    param_info of_kernel =
        (param_info)__atomic_load_n(&tap_real[TAP_ID_cuKernelGetParamInfo], __ATOMIC_RELAXED);
    uint32_t busy = shimbench_local.busy;
    shimbench_local.busy = TAP_BUSY_ASKING;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    bool told = ask(of_function, function, layout) || ask(of_kernel, function, layout);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    shimbench_local.busy = busy;
    errno = saved;
    if (told)
        keep(function, layout);
    return told;
}

/* Without a layout: what the pointers lead to, until one leads nowhere. A parameter ends where the next
 * one in memory begins. */
static void guess_layout(const uint64_t *pointers, uint32_t count, struct layout *layout) {
    layout->count = layout->block = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t probe;
        uint64_t size = GUESSED_SIZE;
        if (pointers[i] < 4096 || shimbench_copy_safely(&probe, pointers[i], 1) != 1)
            return;
        for (uint32_t j = 0; j < count; j++)
            if (pointers[j] > pointers[i] && pointers[j] - pointers[i] < size)
                size = pointers[j] - pointers[i];
        layout->pairs[layout->count++] = (struct pair){layout->block, (uint32_t)size};
        layout->block += (uint32_t)(size + 7) / 8 * 8;
    }
}

struct block {
    struct tap_kernel head;
    uint8_t bytes[MOST_PARAMETERS * sizeof(struct pair) + LARGEST_BLOCK];
};

static void put_block(struct tap_payload *payload, uint8_t index, struct block *block,
                      const struct layout *layout, uint32_t kind) {
    size_t pairs = layout->count * sizeof *layout->pairs;
    block->head = (struct tap_kernel){.count = layout->count, .layout = kind};
    memcpy(block->bytes, layout->pairs, pairs);
    shimbench_put(payload, TAP_ITEM_KERNEL, index, block, sizeof block->head + pairs + layout->block);
}

static void put_parameters(struct tap_payload *payload, uint8_t index, uint64_t function, uint64_t params) {
    struct layout layout;
    struct block block;
    uint64_t pointers[MOST_PARAMETERS];
    bool told = layout_of(function, &layout);
    uint32_t count = told ? layout.count : GUESSED_COUNT;
    size_t got = shimbench_copy_safely(pointers, params, count * sizeof *pointers) / sizeof *pointers;
    if (told && got < count)
        return;
    if (!told)
        guess_layout(pointers, (uint32_t)got, &layout);
    uint8_t *bytes = block.bytes + layout.count * sizeof *layout.pairs;
    memset(bytes, 0, layout.block);
    for (uint32_t i = 0; i < layout.count; i++)
        if (shimbench_copy_safely(bytes + layout.pairs[i].offset, pointers[i], layout.pairs[i].size) !=
                layout.pairs[i].size &&
            told)
            return;
    put_block(payload, index, &block, &layout, told ? TAP_KERNEL_TOLD : TAP_KERNEL_GUESSED);
}

/* {CU_LAUNCH_PARAM_BUFFER_POINTER, p, CU_LAUNCH_PARAM_BUFFER_SIZE, &size, CU_LAUNCH_PARAM_END}, in any order
 */
static void put_packed(struct tap_payload *payload, uint8_t index, uint64_t extra) {
    enum { END = 0, POINTER = 1, SIZE = 2 };
    struct layout layout = {.count = 1};
    struct block block;
    uint64_t words[2], from = 0, size = 0;
    for (int i = 0; i < 4; i++, extra += sizeof words) {
        if (shimbench_copy_safely(words, extra, sizeof words) < sizeof *words || words[0] == END)
            break;
        if (words[0] == POINTER)
            from = words[1];
        else if (words[0] == SIZE && shimbench_copy_safely(&size, words[1], sizeof size) != sizeof size)
            return;
    }
    if (!from || size > LARGEST_BLOCK ||
        shimbench_copy_safely(block.bytes + sizeof *layout.pairs, from, size) != size)
        return;
    layout.block = layout.pairs[0].size = (uint32_t)size;
    put_block(payload, index, &block, &layout, TAP_KERNEL_PACKED);
}

void tap_put_kernel(struct tap_payload *payload, const struct tap_value *value, const uint64_t *words) {
    enum { ATTRIBUTES = 40, ATTRIBUTE_COUNT = 48, ATTRIBUTE_SIZE = 72, MOST_ATTRIBUTES = 32 };
    uint64_t params = words[value->index], extra = value->count ? words[value->count] : 0;
    if (params)
        put_parameters(payload, value->index, value->counter(words), params);
    else if (extra)
        put_packed(payload, value->index, extra);
    if (value->index != 2) /* cuLaunchKernelEx: the attributes that its configuration points to */
        return;
    uint64_t attributes;
    uint32_t count;
    if (shimbench_copy_safely(&attributes, words[0] + ATTRIBUTES, sizeof attributes) == sizeof attributes &&
        shimbench_copy_safely(&count, words[0] + ATTRIBUTE_COUNT, sizeof count) == sizeof count && count &&
        count <= MOST_ATTRIBUTES) {
        uint8_t bytes[MOST_ATTRIBUTES * ATTRIBUTE_SIZE];
        if (shimbench_copy_safely(bytes, attributes, count * ATTRIBUTE_SIZE) == count * ATTRIBUTE_SIZE)
            shimbench_put(payload, TAP_ITEM_NESTED, 0, bytes, count * ATTRIBUTE_SIZE);
    }
}
