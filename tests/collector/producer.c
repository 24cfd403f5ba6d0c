/* A target without a driver: it implements tap_abi.h by itself, and counts what it recorded.
 *
 *   producer SOCKET COUNTS key=value ...
 *
 * COUNTS is a file that is mapped: its first words are the calls each thread completed, word 63 the
 * calls that found no chunk. Keys: threads, calls (of each thread; 0 none), rate (of each thread, a
 * second; 0: as fast as it can), payload (bytes of a string item), nest (1: every call has one inside),
 * chunks (of the region), hang (1: end inside a call that never returns), tee (1: hand over 1 and 2),
 * wait (1: sleep at the end until killed), module (1: tell of a module ahead of the calls, which come
 * from it; 2: tell impossible things as well), lines (written to both descriptors), width (of a line),
 * mix=ID,ID,... (functions of the outer calls, round and round; they succeed then), fail (with a mix: one
 * in so many fails). */
#define _GNU_SOURCE
#include "shimbench/tap_abi.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MADE_UP = 0x1000 }; /* where the module lies that is told of */

static struct tap_region *region;
static _Atomic uint64_t *counts;
static long threads = 1, calls = 100, rate, payload, nest, chunks = 512, hang, tee_asked, wait_at_end, lines,
            module, width = 20, fail;
static uint16_t mix[1024];
static uint32_t mixed;

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static char *at(uint64_t offset) {
    return (char *)region + offset;
}

static struct tap_thread *thread_at(uint32_t index) {
    return (struct tap_thread *)at(region->threads_offset + index * sizeof(struct tap_thread));
}

static struct tap_chunk *chunk_at(uint32_t number) {
    return (struct tap_chunk *)at(region->chunks_offset + (uint64_t)number * TAP_CHUNK_SIZE);
}

static void store(uint32_t *place, uint32_t value) {
    __atomic_store_n(place, value, __ATOMIC_RELEASE);
}

/* Number + 1 of a chunk of this thread's, 0 when there is none. */
static uint32_t take_chunk(uint32_t thread) {
    uint64_t seen = __atomic_load_n(&region->free_chunks, __ATOMIC_ACQUIRE);
    uint32_t number = 0;
    while ((uint32_t)seen != 0) {
        number = (uint32_t)seen;
        uint64_t fresh = ((seen >> 32) + 1) << 32 | chunk_at(number - 1)->link;
        if (__atomic_compare_exchange_n(&region->free_chunks, &seen, fresh, 0, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            break;
        number = 0;
    }
    if (number == 0) {
        uint32_t used = __atomic_fetch_add(&region->chunks_used, 1, __ATOMIC_ACQ_REL);
        if (used >= region->max_chunks)
            return 0;
        number = used + 1;
    }
    struct tap_chunk *chunk = chunk_at(number - 1);
    store(&chunk->committed, 0);
    store(&chunk->next, 0);
    store(&chunk->thread, thread);
    return number;
}

struct producer {
    uint32_t index, chunk, used, sequence;
    struct tap_thread *thread;
};

static uint64_t caller(void) {
    return module ? MADE_UP + 0x234 : (uint64_t)(uintptr_t)&thread_at;
}

static uint16_t function_of(int depth, uint32_t sequence) {
    return depth == 0 && mixed ? mix[sequence % mixed] : (uint16_t)(1 + depth);
}

static int32_t result_of(uint32_t sequence) {
    if (mixed)
        return fail && sequence % (uint32_t)fail == 0 ? 2 : 0;
    return (int32_t)(sequence % 3);
}

static void enter(struct producer *me, int depth, uint32_t sequence, uint32_t parent, uint64_t start) {
    struct tap_slot *slot = &me->thread->slots[depth];
    slot->start = start;
    slot->caller = caller();
    slot->sequence = sequence;
    slot->parent = parent;
    slot->args[0] = sequence;
    __atomic_store_n(&slot->function, function_of(depth, sequence), __ATOMIC_RELEASE);
    store(&me->thread->depth, (uint32_t)depth + 1);
}

static void record(struct producer *me, int depth, uint32_t sequence, uint32_t parent, uint64_t start) {
    uint32_t cells = 1 + (payload ? (uint32_t)(sizeof(struct tap_item) + (size_t)payload + 63) / 64 : 0);
    if (me->chunk == 0 || me->used + cells > TAP_CELLS_PER_CHUNK) {
        uint32_t fresh = take_chunk(me->index);
        if (fresh == 0) {
            __atomic_fetch_add(&me->thread->lost, 1, __ATOMIC_RELAXED);
            counts[63]++;
            goto out;
        }
        if (me->chunk == 0)
            store(&me->thread->first_chunk, fresh);
        else
            store(&chunk_at(me->chunk - 1)->next, fresh);
        me->chunk = fresh;
        me->used = 0;
    }
    char *cell = (char *)chunk_at(me->chunk - 1) + (size_t)(1 + me->used) * TAP_CELL_SIZE;
    struct tap_record head = {start,
                              now_ns() - start,
                              caller(),
                              sequence,
                              parent,
                              function_of(depth, sequence),
                              (uint8_t)cells,
                              0,
                              result_of(sequence),
                              {mixed && depth == 0 ? 0x55aa00000000ull + sequence % 60 * 128 : sequence,
                               me->index, 0x7000000000ull + sequence % 16 * 256}};
    memcpy(cell, &head, sizeof head);
    if (payload) {
        struct tap_item item = {TAP_ITEM_STRING, 0, (uint16_t)payload, (uint32_t)payload};
        memset(cell + 64, 0, (size_t)(cells - 1) * 64);
        memcpy(cell + 64, &item, sizeof item);
        memset(cell + 64 + sizeof item, 'a' + (int)(sequence % 26), (size_t)payload);
    }
    me->used += cells;
    store(&chunk_at(me->chunk - 1)->committed, me->used);
    counts[me->index]++;
out:
    __atomic_store_n(&me->thread->slots[depth].function, 0, __ATOMIC_RELEASE);
    store(&me->thread->depth, (uint32_t)depth);
}

/* Each thread's first records: they go into its first chunk, which has room for them. */
static void tell_module(struct producer *me, const char *path, uint16_t length, uint64_t start,
                        uint64_t end) {
    if (me->chunk == 0) {
        me->chunk = take_chunk(me->index);
        store(&me->thread->first_chunk, me->chunk);
    }
    struct tap_record head = {.start = now_ns(),
                              .caller = start,
                              .function = TAP_FN_MODULE,
                              .cells = (uint8_t)(1 + (sizeof(struct tap_item) + strlen(path) + 63) / 64),
                              .args = {start, end}};
    struct tap_item item = {TAP_ITEM_STRING, 0, length, length};
    char *cell = (char *)chunk_at(me->chunk - 1) + (size_t)(1 + me->used) * TAP_CELL_SIZE;
    memset(cell, 0, (size_t)head.cells * TAP_CELL_SIZE);
    memcpy(cell, &head, sizeof head);
    memcpy(cell + sizeof head, &item, sizeof item);
    memcpy(cell + sizeof head + sizeof item, path, strlen(path));
    me->used += head.cells;
    store(&chunk_at(me->chunk - 1)->committed, me->used);
}

static void tell_modules(struct producer *me) {
    const char *path = "/made/up/libmade.so", *odd = "/odd/\xff\"\n\\.so";
    if (module > 1) {
        tell_module(me, path, 19, 0x7000, 0x6000);
        tell_module(me, path, 19, UINT64_MAX - 1, UINT64_MAX);
        tell_module(me, "", 0, 0x7000, 0x8000);
        tell_module(me, path, UINT16_MAX, 0x7000, 0x8000);
        tell_module(me, "\0hidden", 7, 0x7000, 0x8000);
        for (uint64_t i = 0; i < 5000 / (uint64_t)threads && me->used + 4 < 700; i++)
            tell_module(me, odd, (uint16_t)strlen(odd), 0x10000 + i * 256, 0x10100 + i * 256);
        tell_module(me, odd, (uint16_t)strlen(odd), 0x800, 0x3000);
    }
    tell_module(me, path, 19, MADE_UP, MADE_UP + 0x1000);
}

static void *produce(void *unused) {
    (void)unused;
    struct producer me = {0};
    for (me.index = 0; me.index < TAP_MAX_THREADS; me.index++) {
        uint32_t free_state = TAP_THREAD_FREE;
        me.thread = thread_at(me.index);
        if (__atomic_compare_exchange_n(&me.thread->state, &free_state, TAP_THREAD_LIVE, 0, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            break;
    }
    store(&me.thread->tid, (uint32_t)syscall(SYS_gettid));
    uint64_t began = now_ns();
    if (module)
        tell_modules(&me);
    for (long i = 0; i < calls; i++) {
        uint64_t start = now_ns();
        uint32_t outer = ++me.sequence;
        enter(&me, 0, outer, 0, start);
        if (nest) {
            uint32_t inner = ++me.sequence;
            enter(&me, 1, inner, outer, now_ns());
            record(&me, 1, inner, outer, start + 1);
        }
        record(&me, 0, outer, 0, start);
        if (rate && i % 200 == 199) {
            uint64_t due = began + (uint64_t)(i + 1) * 1000000000u / (uint64_t)rate, now = now_ns();
            struct timespec rest = {(time_t)((due - now) / 1000000000u), (long)((due - now) % 1000000000u)};
            if (due > now)
                nanosleep(&rest, NULL);
        }
    }
    if (hang) {
        enter(&me, 0, ++me.sequence, 0, now_ns());
        pause();
    }
    store(&me.thread->state, TAP_THREAD_ENDED);
    return NULL;
}

static void read_mix(const char *text) {
    for (char *end; mixed < sizeof mix / sizeof *mix; text = end + 1) {
        mix[mixed++] = (uint16_t)strtol(text, &end, 10);
        if (*end != ',')
            break;
    }
}

static int make_region(void) {
    uint64_t threads_size = TAP_MAX_THREADS * sizeof(struct tap_thread);
    uint64_t chunks_offset = (4096 + threads_size + 4095) / 4096 * 4096;
    uint64_t size = chunks_offset + (uint64_t)chunks * TAP_CHUNK_SIZE;
    int fd = memfd_create("producer", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0)
        exit(3);
    region = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    region->abi_version = TAP_ABI_VERSION;
    region->pid = (uint32_t)getpid();
    region->size = size;
    region->start = region->start_mono_ns = now_ns();
    region->threads_offset = 4096;
    region->max_threads = TAP_MAX_THREADS;
    region->chunks_offset = chunks_offset;
    region->max_chunks = (uint32_t)chunks;
    __atomic_store_n(&region->magic, TAP_MAGIC, __ATOMIC_RELEASE);
    return fd;
}

static void register_region(const char *path, int memfd) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connect(sock, (struct sockaddr *)&address, sizeof address) != 0)
        exit(4);
    struct tap_hello hello = {.kind = TAP_HELLO,
                              .abi_version = TAP_ABI_VERSION,
                              .pid = (uint32_t)getpid(),
                              .tee = tee_asked ? 3 : 0,
                              .size = region->size,
                              .origin = "producer"};
    int fds[3] = {memfd, 1, 2};
    size_t count = tee_asked ? 3 : 1;
    char control[CMSG_SPACE(sizeof fds)] = {0};
    struct iovec part = {&hello, sizeof hello};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    if (sendmsg(sock, &message, 0) < 0)
        exit(5);
    struct tap_welcome welcome = {0};
    part = (struct iovec){&welcome, sizeof welcome};
    message.msg_controllen = sizeof control;
    if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC) != sizeof welcome || !welcome.accepted)
        exit(6);
    head = CMSG_FIRSTHDR(&message);
    int next = 0;
    for (int fd = 1; fd <= 2; fd++) {
        if (!(welcome.tee & (uint32_t)fd))
            continue;
        int end;
        memcpy(&end, CMSG_DATA(head) + (size_t)next++ * sizeof end, sizeof end);
        dup2(end, fd);
        close(end);
    }
}

static void write_lines(void) {
    char *text = malloc((size_t)width + 40);
    for (long i = 0; i < lines; i++)
        for (int fd = 1; fd <= 2; fd++) {
            int length = sprintf(text, "%d:%ld:", fd, i);
            memset(text + length, 'x', (size_t)width);
            text[length + width] = '\n';
            size_t left = (size_t)length + (size_t)width + 1;
            for (char *from = text; left > 0;) {
                ssize_t wrote = write(fd, from, left);
                if (wrote < 0)
                    exit(7);
                from += wrote;
                left -= (size_t)wrote;
            }
        }
    free(text);
}

int main(int argc, char **argv) {
    struct {
        const char *name;
        long *value;
    } keys[] = {{"threads", &threads},  {"calls", &calls},   {"rate", &rate},   {"payload", &payload},
                {"nest", &nest},        {"chunks", &chunks}, {"hang", &hang},   {"tee", &tee_asked},
                {"wait", &wait_at_end}, {"lines", &lines},   {"width", &width}, {"module", &module},
                {"fail", &fail}};
    for (int i = 3; i < argc; i++) {
        if (strncmp(argv[i], "mix=", 4) == 0)
            read_mix(argv[i] + 4);
        for (size_t key = 0; key < sizeof keys / sizeof *keys; key++)
            if (strncmp(argv[i], keys[key].name, strlen(keys[key].name)) == 0 &&
                argv[i][strlen(keys[key].name)] == '=')
                *keys[key].value = atol(strchr(argv[i], '=') + 1);
    }
    int file = open(argv[2], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (argc < 3 || file < 0 || ftruncate(file, 512) != 0)
        return 2;
    counts = mmap(NULL, 512, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    register_region(argv[1], make_region());
    write_lines();
    pthread_t list[64];
    for (long i = 0; i < threads; i++)
        pthread_create(&list[i], NULL, produce, NULL);
    for (long i = 0; i < threads; i++)
        pthread_join(list[i], NULL);
    if (wait_at_end)
        pause();
    return 0;
}
