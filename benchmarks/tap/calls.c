/* Nanoseconds per call of one thread, by ways of looking at it: `calls HOW N [LIBRARY]`, HOW one of floor
 * (two rdtsc and a 64-byte store) and library (LIBRARY's cuInit, cuDeviceGet or a wrapper of them). Prints
 * the best of some rounds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>

#include "shimbench/recorder.h"

enum { ROUNDS = 40, RING = 1 << 20 };

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

typedef int function(int, int, int);
static function *volatile called;

/* What any recorder with durations must do at least. */
static int floor_call(uint64_t *ring, uint32_t *at, int a, int b, int c) {
    uint64_t start = __rdtsc();
    int result = called(a, b, c);
    uint64_t end = __rdtsc();
    uint64_t *record = ring + *at;
    record[0] = start;
    record[1] = end - start;
    record[2] = (uint64_t)__builtin_return_address(0);
    record[3] = (uint64_t)a;
    record[4] = (uint64_t)b;
    record[5] = (uint64_t)c;
    record[6] = (uint64_t)(uint32_t)result;
    __atomic_store_n(&record[7], 17, __ATOMIC_RELEASE);
    *at = (*at + 8) & (RING / 8 - 1);
    return result;
}

/* Gives the chunks that are full back to the free list, as a collector that keeps up does; this thread is
 * the only one that records, so there is nobody to race with. */
static void drain(struct tap_process *process) {
    static uint32_t place;
    struct tap_region *region = process->region;
    struct tap_thread *thread = (struct tap_thread *)((char *)region + region->threads_offset);
    if (!place)
        place = thread->first_chunk;
    for (;;) {
        struct tap_chunk *chunk =
            (struct tap_chunk *)((char *)region + region->chunks_offset + (place - 1ull) * TAP_CHUNK_SIZE);
        uint32_t next = chunk->next;
        if (!next)
            return;
        chunk->link = (uint32_t)region->free_chunks;
        region->free_chunks = ((region->free_chunks >> 32) + 1) << 32 | place;
        place = next;
    }
}

int main(int argc, char **argv) {
    if (argc < 4)
        return 2;
    long count = atol(argv[2]);
    void *library = dlopen(argv[3], RTLD_NOW);
    called = library ? (function *)dlsym(library, "cuCtxSetLimit") : NULL;
    if (!called) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    struct tap_process *recorder = dlsym(RTLD_DEFAULT, "shimbench_process");
    uint64_t *ring = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(ring, 1, RING);
    uint32_t at = 0;
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        if (strcmp(argv[1], "floor") == 0)
            for (long i = 0; i < count; i++)
                floor_call(ring, &at, (int)i, 2, 3);
        else
            for (long i = 0; i < count; i++)
                called((int)i, 2, 3);
        double each = (now() - start) / (double)count;
        best = each < best ? each : best;
        if (recorder && recorder->region)
            drain(recorder);
    }
    printf("%.3f\n", best);
    return 0;
}
