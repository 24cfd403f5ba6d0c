/* The recorder alone: threads that record while another drains and gives chunks back, a region that runs
 * full, signal handlers that call in the middle of a record. The parent registers the child, which then
 * plays both the target and the collector in one address space, so that the sanitizers see both ends. */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shimbench/recorder.h"

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

enum { THREADS = 4, CALLS = 60000, CALLER = 0xca11 };

/* --- the collector's side ------------------------------------------------------------------------ */

/* What was drained of one thread block. */
struct drained {
    uint32_t place; /* chunk being read, number + 1 */
    uint32_t cell;  /* cells of it already read */
    uint64_t records, lost;
    uint64_t next_value; /* threads count their own calls in argument 0 */
};
static struct drained drained[TAP_MAX_THREADS];

static struct tap_thread *thread_at(uint32_t index) {
    struct tap_region *region = shimbench_process.region;
    return (struct tap_thread *)((char *)region + region->threads_offset) + index;
}

static struct tap_chunk *chunk_at(uint32_t place) {
    struct tap_region *region = shimbench_process.region;
    return (struct tap_chunk *)((char *)region + region->chunks_offset + (place - 1ull) * TAP_CHUNK_SIZE);
}

static void give_back(uint32_t place) {
    struct tap_region *region = shimbench_process.region;
    uint64_t top = __atomic_load_n(&region->free_chunks, __ATOMIC_RELAXED), wanted;
    do {
        __atomic_store_n(&chunk_at(place)->link, (uint32_t)top, __ATOMIC_RELAXED);
        wanted = ((top >> 32) + 1) << 32 | place;
    } while (!__atomic_compare_exchange_n(&region->free_chunks, &top, wanted, false, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
}

static void read_record(struct drained *at, const struct tap_record *record) {
    at->records++;
    CHECK(record->caller == CALLER && record->function != 0);
    if (record->flags & TAP_FLAG_LOST_BEFORE) {
        const struct tap_item *item = (const struct tap_item *)(record + 1);
        CHECK(item->kind == TAP_ITEM_LOST && item->length == 8);
        uint64_t lost;
        memcpy(&lost, item + 1, sizeof lost);
        at->lost += lost;
        at->next_value += lost;
    }
    if (record->function == 1) {
        CHECK(record->args[0] == at->next_value);
        at->next_value++;
    }
    if (record->function == 2) {
        const struct tap_item *item = (const struct tap_item *)(record + 1);
        CHECK(record->cells == 2 && item->kind == TAP_ITEM_STRING && item->length == 11);
        CHECK(memcmp(item + 1, "hello there", 11) == 0 && record->parent != 0);
    }
}

static void drain_thread(uint32_t index) {
    struct tap_thread *thread = thread_at(index);
    struct drained *at = &drained[index];
    if (!at->place)
        at->place = __atomic_load_n(&thread->first_chunk, __ATOMIC_ACQUIRE);
    while (at->place) {
        struct tap_chunk *chunk = chunk_at(at->place);
        uint32_t next = __atomic_load_n(&chunk->next, __ATOMIC_ACQUIRE);
        uint32_t committed = __atomic_load_n(&chunk->committed, __ATOMIC_ACQUIRE);
        while (at->cell < committed) {
            const struct tap_record *record = (const struct tap_record *)chunk + 1 + at->cell;
            read_record(at, record);
            at->cell += record->cells;
        }
        CHECK(at->cell == committed);
        if (!next)
            return;
        give_back(at->place);
        at->place = next;
        at->cell = 0;
    }
}

static uint32_t stop;

static void *drain(void *unused) {
    bool last;
    do {
        last = __atomic_load_n(&stop, __ATOMIC_ACQUIRE);
        for (uint32_t i = 0; i < 16; i++)
            if (__atomic_load_n(&thread_at(i)->state, __ATOMIC_ACQUIRE) != TAP_THREAD_FREE)
                drain_thread(i);
    } while (!last);
    return unused;
}

static uint64_t total(uint64_t (*of)(const struct drained *)) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < TAP_MAX_THREADS; i++)
        sum += of(&drained[i]);
    return sum;
}
static uint64_t records_of(const struct drained *at) {
    return at->records;
}
static uint64_t lost_of(const struct drained *at) {
    return at->lost;
}

/* --- the target's side --------------------------------------------------------------------------- */

static void plain_call(uint64_t value) {
    struct tap_call call;
    CHECK(tap_enter(&call, 1, CALLER, value, 0, 0, 0));
    tap_leave(&call, 0);
}

static void nested_call(uint64_t value) {
    struct tap_call outer, inner;
    struct tap_payload payload;
    CHECK(tap_enter(&outer, 1, CALLER, value, 0, 0, 0));
    CHECK(tap_enter(&inner, 2, CALLER, value, 0, 0, 0));
    CHECK(shimbench_payload_begin(&payload, &inner, 0, tap_ticks()));
    shimbench_put_string(&payload, 0, "hello there");
    shimbench_payload_finish(&payload);
    tap_leave(&outer, 0);
}

static void *record_some(void *unused) {
    for (uint64_t i = 0; i < CALLS; i++)
        (i % 5 ? plain_call : nested_call)(i);
    return unused;
}

static void concurrent(void) {
    pthread_t drainer, threads[THREADS];
    pthread_create(&drainer, NULL, drain, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, record_some, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(drainer, NULL);
    CHECK(total(records_of) == THREADS * (CALLS + CALLS / 5));
    CHECK(total(lost_of) == 0);
    for (uint32_t i = 0; i < THREADS; i++)
        CHECK(thread_at(i)->state == TAP_THREAD_ENDED && thread_at(i)->lost == 0);
}

static void exhausted(void) {
    struct tap_region *region = shimbench_process.region;
    region->max_chunks = 8; /* instead of filling 256 MiB */
    uint64_t room = 8 * TAP_CELLS_PER_CHUNK;
    for (uint64_t i = 0; i < room + 1000; i++)
        plain_call(i);
    CHECK(thread_at(0)->lost == 1000);
    drain_thread(0);
    CHECK(total(records_of) == room);
    plain_call(room + 1000); /* finds room again, and says what was lost before it */
    drain_thread(0);
    CHECK(total(records_of) == room + 1);
    CHECK(total(lost_of) == 1000);
}

static volatile sig_atomic_t interrupted;

static void call_in_handler(int number) {
    (void)number;
    struct tap_call call;
    if (tap_enter(&call, 3, CALLER, 0, 0, 0, 0))
        tap_leave(&call, 0);
    interrupted++;
}

static uint32_t enough;

/* To this one thread: a timer's signal may go to one of the sanitizer's own. */
static void *interrupt_often(void *thread) {
    while (!__atomic_load_n(&enough, __ATOMIC_ACQUIRE)) {
        pthread_kill(*(pthread_t *)thread, SIGALRM);
        usleep(20);
    }
    return NULL;
}

static void signals(void) {
    struct sigaction action = {.sa_handler = call_in_handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    pthread_t self = pthread_self(), interrupter;
    uint64_t calls = 0;
    plain_call(calls++);
    pthread_create(&interrupter, NULL, interrupt_often, &self);
    for (; interrupted < 300; calls++)
        plain_call(calls);
    __atomic_store_n(&enough, 1, __ATOMIC_RELEASE);
    pthread_join(interrupter, NULL);
    plain_call(calls++); /* writes down what was lost, should the last one have been */
    uint64_t dropped = thread_at(0)->lost;
    uint32_t place = thread_at(0)->first_chunk;
    uint64_t own = 0, handlers = 0;
    for (; place; place = chunk_at(place)->next)
        for (uint32_t cell = 0; cell < chunk_at(place)->committed;) {
            const struct tap_record *record = (const struct tap_record *)chunk_at(place) + 1 + cell;
            CHECK(record->cells >= 1 && record->caller == CALLER);
            own += record->function == 1;
            handlers += record->function == 3;
            cell += record->cells;
        }
    CHECK(own == calls);
    CHECK(handlers + dropped == (uint64_t)interrupted);
}

/* --- breakpoints --------------------------------------------------------------------------------- */

enum { BREAK_ROUNDS = 2000, STOPPED_FUNCTION = 3, FAILING_FUNCTION = 4 };

static struct tap_break *break_at(uint32_t function) {
    struct tap_region *region = shimbench_process.region;
    return (struct tap_break *)((char *)region + region->breaks_offset) + function;
}

static void set_break(uint32_t function, uint32_t kind, uint32_t nth) {
    struct tap_break *row = break_at(function);
    __atomic_store_n(&row->kind, TAP_BREAK_NONE, __ATOMIC_SEQ_CST);
    __atomic_store_n(&row->nth, nth, __ATOMIC_RELAXED);
    __atomic_store_n(&row->hits, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&row->kind, kind, __ATOMIC_RELEASE);
    __atomic_fetch_or(&shimbench_process.region->attention, TAP_ATTENTION_BREAKS, __ATOMIC_RELEASE);
}

static bool let_go(struct tap_thread *thread) {
    uint32_t held = __atomic_load_n(&thread->held, __ATOMIC_SEQ_CST);
    if (!held ||
        !__atomic_compare_exchange_n(&thread->held, &held, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return false;
    syscall(SYS_futex, &thread->held, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    return true;
}

static uint64_t releases;

/* The collector's side: sets and clears the breakpoint over and over, and releases what it stops. */
static void *release_some(void *unused) {
    for (unsigned round = 0; !__atomic_load_n(&stop, __ATOMIC_ACQUIRE); round++) {
        if (round % 64 == 0)
            set_break(STOPPED_FUNCTION, TAP_BREAK_CALL, 0);
        if (round % 64 == 32 && releases)
            __atomic_store_n(&break_at(STOPPED_FUNCTION)->kind, TAP_BREAK_NONE, __ATOMIC_SEQ_CST);
        for (uint32_t i = 0; i < THREADS + 2; i++)
            releases += let_go(thread_at(i));
    }
    return unused;
}

static void *call_and_stop(void *unused) {
    struct tap_call call;
    for (uint64_t i = 0; i < BREAK_ROUNDS; i++) {
        CHECK(tap_enter(&call, STOPPED_FUNCTION, CALLER, i, 0, 0, 0));
        tap_leave(&call, 0);
    }
    return unused;
}

/* Threads run into a breakpoint that comes and goes: each goes on, and none loses a call. */
static void breaks(void) {
    pthread_t releaser, drainer, threads[THREADS];
    set_break(STOPPED_FUNCTION, TAP_BREAK_CALL, 0);
    pthread_create(&drainer, NULL, drain, NULL);
    pthread_create(&releaser, NULL, release_some, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, call_and_stop, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(releaser, NULL);
    pthread_join(drainer, NULL);
    CHECK(releases > 0 && total(records_of) == THREADS * BREAK_ROUNDS);
}

static void *fail_some(void *unused) {
    struct tap_call call;
    for (int i = 0; i < 6; i++) {
        CHECK(tap_enter(&call, FAILING_FUNCTION, CALLER, (uint64_t)i, 0, 0, 0));
        tap_leave(&call, i % 2 ? 2 : 0);
    }
    return unused;
}

/* One that wants the second error: that call is held with its result, and no other is. */
static void results(void) {
    pthread_t thread;
    set_break(FAILING_FUNCTION, TAP_BREAK_ERROR, 2);
    pthread_create(&thread, NULL, fail_some, NULL);
    while (!__atomic_load_n(&thread_at(0)->held, __ATOMIC_ACQUIRE))
        sched_yield();
    CHECK(thread_at(0)->held_after == 1 && thread_at(0)->held_result == 2);
    CHECK(thread_at(0)->held_function == FAILING_FUNCTION && thread_at(0)->slots[0].args[0] == 3);
    CHECK(let_go(thread_at(0)));
    pthread_join(thread, NULL);
    drain_thread(0);
    CHECK(total(records_of) == 6);
}

/* The collector's end of the socket is closed: what is held goes on, and nothing stops any more. */
static void orphaned(void) {
    struct tap_call call;
    set_break(STOPPED_FUNCTION, TAP_BREAK_CALL, 0);
    CHECK(tap_enter(&call, STOPPED_FUNCTION, CALLER, 0, 0, 0, 0)); /* held until the parent hangs up */
    tap_leave(&call, 0);
    CHECK(!tap_enter(&call, STOPPED_FUNCTION, CALLER, 0, 0, 0, 0));
    CHECK(shimbench_process.region->collector_gone && thread_at(0)->held == 0);
    CHECK(__atomic_load_n(&shimbench_process.region->attention, __ATOMIC_RELAXED) == TAP_ATTENTION_PAUSED);
}

/* --- the parent: registers the child ------------------------------------------------------------- */

static int register_child(char *self, char *what) {
    char folder[] = "/tmp/shimbench-recorder-XXXXXX";
    CHECK(mkdtemp(folder));
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/s", folder);
    int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    CHECK(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 4) == 0);
    setenv("SHIMBENCH_SOCKET", address.sun_path, 1);
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", self, what, "child", NULL);
        _exit(2);
    }
    int connection = accept(listener, NULL, NULL);
    struct tap_hello hello;
    CHECK(recv(connection, &hello, sizeof hello, 0) == sizeof hello);
    CHECK(hello.kind == TAP_HELLO && hello.pid == (uint32_t)child);
    struct tap_welcome welcome = {.kind = TAP_WELCOME, .accepted = 1};
    CHECK(send(connection, &welcome, sizeof welcome, 0) == sizeof welcome);
    if (strcmp(what, "orphaned") == 0)
        close(connection); /* as a kill -9 of the collector does */
    int status = -1;
    waitpid(child, &status, 0);
    unlink(address.sun_path);
    rmdir(folder);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(int argc, char **argv) {
    if (argc < 3)
        return argc == 2 ? register_child(argv[0], argv[1]) : 2;
    CHECK(shimbench_process.region && shimbench_process.region->magic == TAP_MAGIC);
    if (strcmp(argv[1], "concurrent") == 0)
        concurrent();
    else if (strcmp(argv[1], "exhausted") == 0)
        exhausted();
    else if (strcmp(argv[1], "breaks") == 0)
        breaks();
    else if (strcmp(argv[1], "results") == 0)
        results();
    else if (strcmp(argv[1], "orphaned") == 0)
        orphaned();
    else
        signals();
    return 0;
}
