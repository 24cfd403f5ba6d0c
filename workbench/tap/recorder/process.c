/* The process's region: made once, handed to the collector, made anew in a fork's child. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

static const uint32_t nobody; /* generation 0: not registered */
struct tap_process shimbench_process = {.alive = &nobody};

static enum registration state;
static uint32_t generation;      /* ordinary memory: a fork's child inherits it */
static uint32_t *fork_page;      /* holds `generation`; a fork's child finds 0 */
static uint32_t registering_pid; /* a lock; one held by a forked parent's thread is void in the child */

static uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Constant and non-stop, by the CPU's own word (CPUID 0x80000007, EDX bit 8). */
static bool tsc_is_invariant(void) {
    uint32_t a, b, c, d;
    return __get_cpuid(0x80000007u, &a, &b, &c, &d) && (d & 1u << 8);
}

/* Both clocks between the region's making and now; the collector refines it over seconds. */
static uint64_t estimate_ticks_per_second(const struct tap_region *region) {
    if (!shimbench_process.has_tsc)
        return 0;
    uint64_t ns = clock_ns(CLOCK_MONOTONIC) - region->start_mono_ns;
    uint64_t ticks = __rdtsc() - region->start;
    if (ns == 0)
        return 1;
    return (uint64_t)((double)ticks * 1e9 / (double)ns);
}

static struct tap_region *map_region(int *fd_out) {
    int fd = memfd_create("shimbench-region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return NULL;
    void *memory = MAP_FAILED;
    if (ftruncate(fd, (off_t)TAP_REGION_SIZE) == 0)
        memory = mmap(NULL, TAP_REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (memory == MAP_FAILED) {
        close(fd);
        return NULL;
    }
    *fd_out = fd;
    return memory;
}

static void lay_out(struct tap_region *region) {
    const uint64_t page = 4096;
    uint64_t breaks = (TAP_FUNCTION_COUNT * sizeof(struct tap_break) + page - 1) / page * page;
    uint64_t threads_end = page + breaks + TAP_MAX_THREADS * sizeof(struct tap_thread);
    region->abi_version = TAP_ABI_VERSION;
    region->pid = (uint32_t)getpid();
    region->size = TAP_REGION_SIZE;
    region->start_mono_ns = clock_ns(CLOCK_MONOTONIC);
    region->start = tap_ticks();
    region->start_unix_ns = clock_ns(CLOCK_REALTIME);
    memcpy(region->model_hash, MODEL_HASH, sizeof MODEL_HASH);
    static_assert(sizeof MODEL_HASH <= sizeof region->model_hash, "the hash fits its field");
    region->breaks_offset = (uint32_t)page;
    region->max_breaks = TAP_FUNCTION_COUNT;
    region->threads_offset = (uint32_t)(page + breaks);
    region->max_threads = TAP_MAX_THREADS;
    region->chunks_offset = (threads_end + TAP_CHUNK_SIZE - 1) / TAP_CHUNK_SIZE * TAP_CHUNK_SIZE;
    region->max_chunks = (uint32_t)((TAP_REGION_SIZE - region->chunks_offset) / TAP_CHUNK_SIZE);
    region->capture_limit = 256;
}

void tap_do_without_collector(struct tap_region *region) {
    __atomic_store_n(&region->collector_gone, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&region->attention, TAP_ATTENTION_PAUSED, __ATOMIC_RELAXED);
}

static bool make_fork_page(void) {
    if (fork_page)
        return true;
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return false;
    if (madvise(page, 4096, MADV_WIPEONFORK) != 0) { /* Linux before 4.14 */
        munmap(page, 4096);
        return false;
    }
    fork_page = page;
    return true;
}

static void register_process(const char *origin) {
    if (!tap_socket_is_configured() || !make_fork_page())
        return;
    shimbench_process.has_tsc = tsc_is_invariant();
    int fd;
    struct tap_region *region = map_region(&fd);
    if (!region)
        return;
    lay_out(region);
    region->ticks_per_second = estimate_ticks_per_second(region);
    __atomic_store_n(&region->magic, TAP_MAGIC, __ATOMIC_RELEASE);
    int collector = tap_register(region, fd, origin);
    close(fd);
    if (collector < 0) {
        munmap(region, TAP_REGION_SIZE);
        return;
    }
    state = REGISTRATION_DONE;
    shimbench_process.region = region;
    shimbench_process.alive = fork_page;
    if (++generation == 0)
        generation = 1;
    __atomic_store_n(fork_page, generation, __ATOMIC_RELEASE);
}

/* The region is the parent's: leave it, and become a process of our own. */
static void become_child(void) {
    struct tap_region *parents = shimbench_process.region;
    state = REGISTRATION_REFUSED;
    tap_forget_socket();
    tap_reset_local();
    tap_forget_modules();
    tap_forget_buffers();
    shimbench_process.alive = &nobody;
    shimbench_process.region = NULL;
    munmap(parents, TAP_REGION_SIZE);
    register_process("fork");
}

static bool forked_since(void) {
    return state == REGISTRATION_DONE && __atomic_load_n(fork_page, __ATOMIC_ACQUIRE) == 0;
}

bool tap_ensure_registered(void) {
    if (state == REGISTRATION_DONE && !forked_since())
        return true;
    if (state == REGISTRATION_REFUSED)
        return false;
    int saved = errno;
    uint32_t own = (uint32_t)getpid();
    for (;;) {
        uint32_t holder = 0;
        if (__atomic_compare_exchange_n(&registering_pid, &holder, own, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            break;
        if (holder != own) /* held in the parent when it forked: nobody here will ever release it */
            __atomic_compare_exchange_n(&registering_pid, &holder, 0, false, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED);
        else
            sched_yield();
    }
    if (forked_since())
        become_child();
    __atomic_store_n(&registering_pid, 0, __ATOMIC_RELEASE);
    errno = saved;
    return state == REGISTRATION_DONE;
}

static void forked(void) {
    int saved = errno;
    if (forked_since())
        tap_ensure_registered();
    errno = saved;
}

static bool exiting;
bool shimbench_is_exiting(void) {
    return exiting;
}
static void exit_began(int status, void *data) {
    (void)status, (void)data;
    exiting = true;
}

__attribute__((constructor(102))) static void start(void) {
    int saved = errno;
    tap_make_thread_key();
    on_exit(exit_began, NULL); /* unlike atexit's, no handler of this library's that a dlclose would run */
    register_process("preload");
    if (state != REGISTRATION_DONE)
        state = REGISTRATION_REFUSED;
    else
        pthread_atfork(NULL, NULL, forked);
    errno = saved;
}
