#include "probe_bench.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <forward.h>

#include "wire/barrier.h"
#include "wire/client.h"

enum { BULK_BYTES = 64 << 20, BULK_ROUNDS = 7, POSTED_BATCH = 2000 };

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static double median(uint64_t *times, size_t count) {
    qsort(times, count, sizeof(*times), compare);
    return (double)times[count / 2];
}

/* The bare ring: one cache line there, one back, 64 bytes each, nothing else. */
struct ball {
    uint64_t number;
    unsigned char bytes[56];
};

static struct {
    _Alignas(64) struct ball there;
    _Alignas(64) struct ball back;
    uint64_t rounds;
} table;

static void *play(void *unused) {
    for (uint64_t n = 1; n <= table.rounds; n++) {
        while (load_acquire(&table.there.number) != n)
            relax();
        memcpy(table.back.bytes, table.there.bytes, sizeof(table.back.bytes));
        store_release(&table.back.number, n);
    }
    return unused;
}

static double bare_round_trip(uint64_t *times, uint64_t rounds) {
    pthread_t partner;
    memset(&table, 0, sizeof(table));
    table.rounds = rounds;
    if (pthread_create(&partner, NULL, play, NULL))
        return 0;
    for (uint64_t n = 1; n <= rounds; n++) {
        uint64_t start = now_ns();
        table.there.bytes[0] = (unsigned char)n;
        store_release(&table.there.number, n);
        while (load_acquire(&table.back.number) != n)
            relax();
        times[n - 1] = now_ns() - start;
    }
    pthread_join(partner, NULL);
    return median(times, rounds);
}

static double blocking_call(uint64_t *times, uint64_t rounds) {
    size_t free_bytes, total;
    for (uint64_t n = 0; n < rounds; n++) {
        uint64_t start = now_ns();
        forward_cuMemGetInfo_v2(&free_bytes, &total);
        times[n] = now_ns() - start;
    }
    return median(times, rounds);
}

/* Batches that the ring holds, so that the worker's speed is not what is measured. */
static double posted_call(uint64_t *times, uint64_t rounds) {
    CUstream stream;
    CUevent event;
    forward_cuStreamCreate(&stream, 0);
    forward_cuEventCreate(&event, 0);
    size_t batches = rounds / POSTED_BATCH + 1;
    for (size_t batch = 0; batch < batches; batch++) {
        uint64_t start = now_ns();
        for (int n = 0; n < POSTED_BATCH; n++)
            forward_cuEventRecord(event, stream);
        times[batch] = (now_ns() - start) / POSTED_BATCH;
        forward_cuStreamSynchronize(stream);
    }
    return median(times, batches);
}

enum direction { PLAIN, UP, DOWN, UP_PINNED };

static double bulk(enum direction direction, void *host, void *other, CUdeviceptr device) {
    uint64_t times[BULK_ROUNDS];
    for (int round = 0; round < BULK_ROUNDS; round++) {
        uint64_t start = now_ns();
        if (direction == PLAIN)
            memcpy(other, host, BULK_BYTES);
        else if (direction == DOWN)
            forward_cuMemcpyDtoH_v2(host, device, BULK_BYTES);
        else
            forward_cuMemcpyHtoDAsync_v2(device, host, BULK_BYTES, NULL);
        if (direction == UP || direction == UP_PINNED)
            forward_cuStreamSynchronize(NULL);
        times[round] = now_ns() - start;
    }
    return BULK_BYTES / median(times, BULK_ROUNDS);
}

void probe_bench(unsigned long long calls) {
    uint64_t *times = malloc(calls * sizeof(*times));
    unsigned char *host = malloc(BULK_BYTES), *other = malloc(BULK_BYTES);
    void *pinned = NULL;
    CUdeviceptr device = 0;
    memset(host, 1, BULK_BYTES);
    memset(other, 2, BULK_BYTES);
    if (forward_cuMemAlloc_v2(&device, BULK_BYTES) || forward_cuMemHostAlloc(&pinned, BULK_BYTES, 0)) {
        printf("bench failed\n");
        return;
    }
    memset(pinned, 3, BULK_BYTES);
    forward_cuMemcpyHtoD_v2(device, host, BULK_BYTES);
    double bare = bare_round_trip(times, calls);
    double blocking = blocking_call(times, calls);
    double posted = posted_call(times, calls);
    double plain = bulk(PLAIN, host, other, 0), up = bulk(UP, host, NULL, device);
    double down = bulk(DOWN, host, NULL, device), up_pinned = bulk(UP_PINNED, pinned, NULL, device);
    printf("bench bare_ns=%.0f blocking_ns=%.0f posted_ns=%.0f memcpy_gbs=%.2f up_gbs=%.2f down_gbs=%.2f "
           "pinned_gbs=%.2f\n",
           bare, blocking, posted, plain, up, down, up_pinned);
    forward_cuMemFree_v2(device);
    forward_cuMemFreeHost(pinned);
    free(times);
    free(host);
    free(other);
}
