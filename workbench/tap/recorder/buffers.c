/* Buffers that calls are given or fill, when they are asked for: copied into lanes, memfds that the
 * collector empties. Nothing here is on the path of a process whose buffers are not recorded. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "internal.h"

enum { ALIGNMENT = 64, EXPECTED = 256 };

static struct lane {
    uint8_t *base;
    uint64_t size;
    uint64_t used; /* may pass `size`: who finds no room makes another lane */
} lanes[TAP_MAX_LANES];
static uint32_t lane_count;  /* stored with release once the lane is there */
static uint32_t lanes_taken; /* a lock, held while a lane is made */
static bool lanes_refused;   /* no memory, or nobody to hand one to: never tried again */

static bool add_lane(uint64_t least) {
    uint32_t number = lane_count;
    uint64_t size = least > TAP_LANE_SIZE ? least : TAP_LANE_SIZE;
    if (number >= TAP_MAX_LANES)
        return false;
    int fd = memfd_create("shimbench-buffers", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return false;
    void *base = MAP_FAILED;
    if (tap_may_make_file(size) && ftruncate(fd, (off_t)size) == 0)
        base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    bool sent = base != MAP_FAILED && tap_send_lane(fd, number, size);
    close(fd);
    if (!sent) {
        if (base != MAP_FAILED)
            munmap(base, size);
        return false;
    }
    lanes[number] = (struct lane){.base = base, .size = size};
    __atomic_store_n(&lane_count, number + 1, __ATOMIC_RELEASE);
    return true;
}

/* Another lane, unless somebody else made one since `seen`. */
static void need_lane(uint32_t seen, uint64_t least) {
    while (__atomic_exchange_n(&lanes_taken, 1, __ATOMIC_ACQUIRE))
        sched_yield();
    if (__atomic_load_n(&lane_count, __ATOMIC_RELAXED) == seen &&
        !__atomic_load_n(&lanes_refused, __ATOMIC_RELAXED) && !add_lane(least))
        __atomic_store_n(&lanes_refused, true, __ATOMIC_RELAXED);
    __atomic_store_n(&lanes_taken, 0, __ATOMIC_RELEASE);
}

/* Room in the newest lane; false when there is none to be had. */
static bool take_room(uint64_t length, struct tap_buffer *buffer) {
    for (;;) {
        uint32_t count = __atomic_load_n(&lane_count, __ATOMIC_ACQUIRE);
        if (count) {
            struct lane *lane = &lanes[count - 1];
            uint64_t rounded = (length + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
            buffer->offset = __atomic_fetch_add(&lane->used, rounded, __ATOMIC_RELAXED);
            buffer->lane = count - 1;
            if (buffer->offset <= lane->size && length <= lane->size - buffer->offset)
                return true;
        }
        if (__atomic_load_n(&lanes_refused, __ATOMIC_RELAXED))
            return false;
        need_lane(count, length);
    }
}

static bool copy_whole(void *to, uint64_t from, uint64_t length) {
    enum { AT_ONCE = 1 << 30 };
    int saved = errno;
    uint64_t done = 0;
    while (done < length) {
        size_t part = length - done < AT_ONCE ? (size_t)(length - done) : AT_ONCE;
        struct iovec local = {.iov_base = (uint8_t *)to + done, .iov_len = part};
        struct iovec remote = {.iov_base = (void *)(uintptr_t)(from + done), .iov_len = part};
        if (syscall(SYS_process_vm_readv, getpid(), &local, 1ul, &remote, 1ul, 0ul) != (long)part)
            break;
        done += part;
    }
    errno = saved;
    return done == length;
}

static uint8_t keep(struct tap_buffer *buffer, uint64_t address) {
    struct tap_region *region = shimbench_process.region;
    uint64_t before = __atomic_fetch_add(&region->buffer_taken, buffer->length, __ATOMIC_RELAXED);
    uint64_t limit = __atomic_load_n(&region->buffer_limit, __ATOMIC_RELAXED);
    uint8_t state = TAP_BUFFER_KEPT;
    if (before > limit || buffer->length > limit - before)
        state = TAP_BUFFER_OVER_LIMIT;
    else if (!take_room(buffer->length, buffer))
        state = TAP_BUFFER_DROPPED;
    else if (!copy_whole(lanes[buffer->lane].base + buffer->offset, address, buffer->length))
        state = TAP_BUFFER_UNREADABLE;
    if (state != TAP_BUFFER_KEPT)
        __atomic_fetch_sub(&region->buffer_taken, buffer->length, __ATOMIC_RELAXED);
    return state;
}

static void put(struct tap_payload *payload, uint8_t index, struct tap_buffer *buffer, uint64_t address) {
    int saved = errno;
    if (buffer->state == TAP_BUFFER_KEPT)
        buffer->state = keep(buffer, address);
    errno = saved;
    shimbench_put(payload, TAP_ITEM_BUFFER, index, buffer, sizeof *buffer);
}

void shimbench_put_buffer(struct tap_payload *payload, uint8_t index, uint64_t address, uint64_t length,
                          bool output) {
    struct tap_buffer buffer = {.length = length, .output = output};
    put(payload, index, &buffer, address);
}

/* --- outputs that are not there yet when their call returns ------------------------------------- */

enum { FREE = 0, BUSY, WAITING };
static struct expected {
    uint32_t state;
    uint32_t sequence;
    uint32_t thread;
    uint8_t index;
    bool own_thread; /* CU_STREAM_PER_THREAD: the same number is another stream in another thread */
    uint64_t stream, address, length;
} expected[EXPECTED];
static uint32_t expected_count; /* how many wait: 0, and nobody has to look */

enum { STREAM_PER_THREAD = 2 };

static uint32_t own_tid(void) {
    return shimbench_local.block->tid;
}

void shimbench_expect_output(const struct tap_call *call, uint8_t index, uint64_t stream, uint64_t address,
                             uint64_t length) {
    for (unsigned i = 0; i < EXPECTED; i++) {
        uint32_t free = FREE;
        if (!__atomic_compare_exchange_n(&expected[i].state, &free, BUSY, false, __ATOMIC_ACQUIRE,
                                         __ATOMIC_RELAXED))
            continue;
        struct expected *one = &expected[i];
        one->sequence = call->sequence;
        one->thread = own_tid();
        one->index = index;
        one->own_thread = stream == STREAM_PER_THREAD;
        one->stream = stream;
        one->address = address;
        one->length = length;
        __atomic_fetch_add(&expected_count, 1, __ATOMIC_RELAXED);
        __atomic_store_n(&one->state, WAITING, __ATOMIC_RELEASE);
        return;
    }
}

static bool is_done_by(const struct expected *one, uint64_t stream) {
    if (stream == TAP_EVERY_STREAM)
        return true;
    return one->stream == stream && (!one->own_thread || one->thread == own_tid());
}

bool shimbench_expects_output(uint64_t stream) {
    if (__atomic_load_n(&expected_count, __ATOMIC_RELAXED) == 0)
        return false;
    for (unsigned i = 0; i < EXPECTED; i++)
        if (__atomic_load_n(&expected[i].state, __ATOMIC_ACQUIRE) == WAITING &&
            is_done_by(&expected[i], stream))
            return true;
    return false;
}

void shimbench_put_expected(struct tap_payload *payload, uint64_t stream) {
    for (unsigned i = 0; i < EXPECTED; i++) {
        struct expected *one = &expected[i];
        uint32_t waiting = WAITING;
        if (!__atomic_compare_exchange_n(&one->state, &waiting, BUSY, false, __ATOMIC_ACQUIRE,
                                         __ATOMIC_RELAXED))
            continue;
        if (!is_done_by(one, stream)) {
            __atomic_store_n(&one->state, WAITING, __ATOMIC_RELEASE);
            continue;
        }
        struct tap_buffer buffer = {
            .length = one->length, .sequence = one->sequence, .thread = one->thread, .output = 1};
        put(payload, one->index, &buffer, one->address);
        __atomic_fetch_sub(&expected_count, 1, __ATOMIC_RELAXED);
        __atomic_store_n(&one->state, FREE, __ATOMIC_RELEASE);
    }
}

void tap_forget_buffers(void) {
    for (uint32_t i = 0; i < lane_count; i++)
        munmap(lanes[i].base, lanes[i].size);
    memset(lanes, 0, sizeof lanes);
    memset(expected, 0, sizeof expected);
    lane_count = lanes_taken = expected_count = 0;
    lanes_refused = false;
}
