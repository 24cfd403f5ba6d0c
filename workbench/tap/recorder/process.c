/* The process's region: made once, handed to the collector, made anew in a fork's child. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "internal.h"

static const uint32_t nobody; /* generation 0: not registered */
struct tap_process shimbench_process = {.alive = &nobody};

static enum registration state;
static uint32_t generation; /* ordinary memory: a fork's child inherits it */
static uint32_t *fork_page; /* holds `generation`; a fork's child finds 0 */
static uint64_t region_size;
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

/* Sparse, and touched only as far as records come; the smaller ones are for who may have no more. */
static const uint64_t region_sizes[] = {256ull << 20, 32ull << 20, 4ull << 20};

/* A file larger than the limit would cost the target a SIGXFSZ, also one in memory. */
bool tap_may_make_file(uint64_t size) {
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur;
}

/* Zeroed, with its size filled in; NULL and errno when there is none to be had. */
static struct tap_region *map_region(int *fd_out) {
    int fd = memfd_create("shimbench-region", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return NULL;
    errno = EFBIG;
    for (size_t i = 0; i < sizeof region_sizes / sizeof *region_sizes; i++) {
        uint64_t size = region_sizes[i];
        if (!tap_may_make_file(size) || ftruncate(fd, (off_t)size) != 0)
            continue;
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        if (memory == MAP_FAILED)
            continue;
        *fd_out = fd;
        struct tap_region *region = memory;
        region->size = size;
        return region;
    }
    int saved = errno;
    close(fd);
    errno = saved;
    return NULL;
}

static void lay_out(struct tap_region *region) {
    const uint64_t page = 4096;
    uint64_t breaks = (TAP_FUNCTION_COUNT * sizeof(struct tap_break) + page - 1) / page * page;
    uint64_t threads_end = page + breaks + TAP_MAX_THREADS * sizeof(struct tap_thread);
    region->abi_version = TAP_ABI_VERSION;
    region->pid = (uint32_t)getpid();
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
    region->max_chunks = (uint32_t)((region->size - region->chunks_offset) / TAP_CHUNK_SIZE);
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

/* False, with the reason in errno: nobody knows of this process. */
static bool try_to_register(const char *origin) {
    shimbench_process.has_tsc = tsc_is_invariant();
    int fd;
    struct tap_region *region = map_region(&fd);
    if (!region)
        return false;
    uint64_t size = region->size;
    lay_out(region);
    region->ticks_per_second = estimate_ticks_per_second(region);
    __atomic_store_n(&region->magic, TAP_MAGIC, __ATOMIC_RELEASE);
    int collector = tap_register(region, fd, origin);
    int saved = errno;
    close(fd);
    if (collector < 0) {
        munmap(region, size);
        errno = saved;
        return false;
    }
    state = REGISTRATION_DONE;
    region_size = size;
    shimbench_process.region = region;
    shimbench_process.alive = fork_page;
    if (++generation == 0)
        generation = 1;
    __atomic_store_n(fork_page, generation, __ATOMIC_RELEASE);
    return true;
}

/* A process that has used up its descriptors gets more for the moment, as far as its hard limit goes. */
static bool register_process(const char *origin) {
    if (!tap_socket_is_configured() || !make_fork_page())
        return false;
    if (try_to_register(origin))
        return true;
    struct rlimit before, raised;
    if (errno != EMFILE || getrlimit(RLIMIT_NOFILE, &before) != 0 || before.rlim_cur == before.rlim_max) {
        errno = errno ? errno : EPERM;
        return false;
    }
    raised = before;
    raised.rlim_cur = raised.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &raised) != 0)
        return false;
    bool done = try_to_register(origin);
    int saved = errno;
    setrlimit(RLIMIT_NOFILE, &before);
    errno = saved;
    return done;
}

/* In the parent's region, which the collector reads: a child that it will hear nothing of. */
static void tell_refused(struct tap_region *parents, int why) {
    __atomic_store_n(&parents->refused_child, (uint64_t)why << 32 | (uint32_t)getpid(), __ATOMIC_RELAXED);
    __atomic_fetch_add(&parents->refused_children, 1, __ATOMIC_RELEASE);
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
    const size_t page = 4096; /* its head stays a moment */
    munmap((uint8_t *)parents + page, region_size - page);
    if (!register_process("fork"))
        tell_refused(parents, errno);
    munmap(parents, page);
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
