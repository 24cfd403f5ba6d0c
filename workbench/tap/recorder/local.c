/* A thread's block and its chain of chunks: taken at its first record, given up when it ends. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

__thread struct tap_local shimbench_local = {.generation = UINT32_MAX};

static pthread_key_t thread_key;
static bool have_thread_key;

static struct tap_chunk *chunk_at(uint32_t number) {
    struct tap_region *region = shimbench_process.region;
    return (struct tap_chunk *)((uint8_t *)region + region->chunks_offset +
                                (uint64_t)number * TAP_CHUNK_SIZE);
}

static uint32_t number_of(const struct tap_chunk *chunk) {
    return (uint32_t)(((const uint8_t *)chunk - (const uint8_t *)chunk_at(0)) / TAP_CHUNK_SIZE);
}

static struct tap_thread *threads(void) {
    struct tap_region *region = shimbench_process.region;
    return (struct tap_thread *)((uint8_t *)region + region->threads_offset);
}

/* The top of the free list, which the collector fills. The tag in the high half changes with each push
 * and pop, so a top that went and came back in between is noticed. */
static struct tap_chunk *pop_free_chunk(struct tap_region *region) {
    uint64_t top = __atomic_load_n(&region->free_chunks, __ATOMIC_ACQUIRE);
    for (;;) {
        uint32_t number = (uint32_t)top;
        if (number == 0 || number > region->max_chunks)
            return NULL;
        struct tap_chunk *chunk = chunk_at(number - 1);
        uint64_t link = __atomic_load_n(&chunk->link, __ATOMIC_RELAXED);
        uint64_t below = ((top >> 32) + 1) << 32 | link;
        if (__atomic_compare_exchange_n(&region->free_chunks, &top, below, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_ACQUIRE))
            return chunk;
    }
}

static struct tap_chunk *take_fresh_chunk(struct tap_region *region) {
    uint32_t used = __atomic_load_n(&region->chunks_used, __ATOMIC_RELAXED);
    do {
        if (used >= region->max_chunks)
            return NULL;
    } while (!__atomic_compare_exchange_n(&region->chunks_used, &used, used + 1, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return chunk_at(used);
}

bool tap_next_chunk(struct tap_local *local) {
    struct tap_region *region = shimbench_process.region;
    struct tap_chunk *chunk = pop_free_chunk(region);
    if (!chunk) {
        chunk = take_fresh_chunk(region);
        if (!chunk)
            return false;
        /* A thread that fills chunks pays its page faults at once: sixteen one by one cost more. */
        if (local->chunk)
            syscall(SYS_madvise, chunk, TAP_CHUNK_SIZE, MADV_POPULATE_WRITE);
    }
    __atomic_store_n(&chunk->committed, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&chunk->next, 0, __ATOMIC_RELAXED);
    chunk->thread = (uint32_t)(local->block - threads());
    uint32_t *place = local->chunk ? &local->chunk->next : &local->block->first_chunk;
    __atomic_store_n(place, number_of(chunk) + 1, __ATOMIC_RELEASE);
    local->chunk = chunk;
    local->used = 0;
    return true;
}

static struct tap_thread *claim_block(uint32_t tid) {
    struct tap_thread *table = threads();
    uint32_t count = shimbench_process.region->max_threads;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t free = TAP_THREAD_FREE;
        if (__atomic_load_n(&table[i].state, __ATOMIC_RELAXED) != TAP_THREAD_FREE)
            continue;
        if (!__atomic_compare_exchange_n(&table[i].state, &free, TAP_THREAD_LIVE, false, __ATOMIC_ACQUIRE,
                                         __ATOMIC_RELAXED))
            continue;
        table[i].lost = 0;
        table[i].depth = 0;
        __atomic_store_n(&table[i].held, 0, __ATOMIC_RELAXED);
        table[i].tid = tid;
        prctl(PR_GET_NAME, table[i].name);
        return &table[i];
    }
    return NULL;
}

bool tap_claim_thread(struct tap_local *local) {
    uint32_t current = *shimbench_process.alive;
    struct tap_thread *block = claim_block((uint32_t)syscall(SYS_gettid));
    if (!block) {
        __atomic_fetch_add(&shimbench_process.region->lost, 1, __ATOMIC_RELAXED);
        return false;
    }
    *local = (struct tap_local){.block = block, .dlopen_mode = local->dlopen_mode};
    if (!tap_next_chunk(local)) {
        __atomic_fetch_add(&shimbench_process.region->lost, 1, __ATOMIC_RELAXED);
        local->generation = UINT32_MAX;
        __atomic_store_n(&block->state, TAP_THREAD_ENDED, __ATOMIC_RELEASE);
        return false;
    }
    local->generation = current;
    if (have_thread_key)
        pthread_setspecific(thread_key, local);
    return true;
}

void tap_reset_local(void) {
    shimbench_local = (struct tap_local){.generation = UINT32_MAX};
}

static void thread_ended(void *value) {
    struct tap_local *local = value;
    if (local->generation == __atomic_load_n(shimbench_process.alive, __ATOMIC_RELAXED) && local->block) {
        local->block->depth = 0;
        __atomic_store_n(&local->block->state, TAP_THREAD_ENDED, __ATOMIC_RELEASE);
    }
    tap_reset_local();
}

void tap_make_thread_key(void) {
    have_thread_key = pthread_key_create(&thread_key, thread_ended) == 0;
}

bool shimbench_prepare(void) {
    struct tap_local *local = &shimbench_local;
    if (!tap_ensure_registered())
        return false;
    if (__atomic_load_n(&shimbench_process.region->collector_gone, __ATOMIC_RELAXED))
        return false;
    if (local->generation == *shimbench_process.alive) {
        if (local->busy == TAP_BUSY_ASKING)
            return false;
        /* A signal handler's call while a record is being written. */
        local->dropped++;
        __atomic_fetch_add(&local->block->lost, 1, __ATOMIC_RELAXED);
        return false;
    }
    int saved = errno;
    bool claimed = tap_claim_thread(local);
    errno = saved;
    return claimed;
}
