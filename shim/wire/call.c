/* The request ring and the reply slots, from the client's side. */
#include "wire/call.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "wire/barrier.h"
#include "wire/state.h"

/* Spins are for a worker on another core that is about to answer; with a busy one, yielding early lets
 * it run. After a tenth of a millisecond or so it is at something longer, for which its other threads can do
 * with this processor: then we sleep until it rings. Of several threads that sleep, one may hear what was
 * meant for another; so none sleeps for long at a time. */
enum { SPIN_NEAR = 16, SPIN_ROUNDS = 400, YIELD_ROUNDS = 800, SLEEP_NS_MIN = 50000, SLEEP_NS_MAX = 500000 };

static _Thread_local uint32_t thread_number;
static _Thread_local uint64_t thread_context;

static uint32_t this_thread(void) {
    if (!thread_number)
        thread_number = (uint32_t)syscall(SYS_gettid);
    return thread_number;
}

void wire_set_context(CUcontext context) {
    thread_context = (uint64_t)(uintptr_t)context;
}

void wire_lock(uint32_t *lock) {
    for (uint32_t rounds = 0; __atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE);) {
        while (__atomic_load_n(lock, __ATOMIC_RELAXED)) {
            if (++rounds < 100)
                relax();
            else
                sched_yield();
        }
    }
}

void wire_unlock(uint32_t *lock) {
    store_release32(lock, 0);
}

/* Asks to be rung for when the ring's tail is at `position`, unless it is asked for earlier. False: it is
 * there already. The worker moves the tail before it looks at `wake_at`, and we look at the tail after we set
 * it: the fences on both sides make one of the two see the other. */
static bool ask_for_bell(struct wire_region *region, uint64_t position) {
    uint64_t asked = __atomic_load_n(&region->wake_at, __ATOMIC_RELAXED);
    while (position < asked && !__atomic_compare_exchange_n(&region->wake_at, &asked, position, false,
                                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
    full_fence();
    return load_acquire(&region->tail) < position;
}

/* Sleeps until the worker rings, or for so long at most. False: the worker is gone. */
static bool sleep_until_rung(struct wire_state *state, long nanoseconds) {
    struct pollfd connection = {.fd = state->socket, .events = POLLIN};
    char bells[64];
    if (ppoll(&connection, 1, &(struct timespec){.tv_nsec = nanoseconds}, NULL) <= 0)
        return true;
    if (connection.revents & (POLLHUP | POLLERR | POLLNVAL))
        return false;
    while (recv(state->socket, bells, sizeof(bells), MSG_DONTWAIT) > 0)
        ;
    return true;
}

static void break_connection(struct wire_state *state) {
    if (state->phase == WIRE_BROKEN)
        return;
    snprintf(state->error, sizeof(state->error),
             "the host's worker for this process has ended: see the host's log (shimbench-host)");
    store_release32(&state->phase, WIRE_BROKEN);
}

/* The worker can't answer while we spin on its processor. */
static bool worker_waits_for_this_processor(struct wire_state *state) {
    int cpu = sched_getcpu();
    if (cpu >= 0 && __atomic_load_n(&state->region->client_cpu, __ATOMIC_RELAXED) != (uint32_t)cpu)
        __atomic_store_n(&state->region->client_cpu, (uint32_t)cpu, __ATOMIC_RELAXED);
    return cpu >= 0 && __atomic_load_n(&state->region->worker_cpu, __ATOMIC_RELAXED) == (uint32_t)cpu;
}

bool wire_wait(struct wire_state *state, struct wire_patience *patience) {
    uint32_t round = patience->rounds++;
    if (round < SPIN_ROUNDS) {
        if (round == SPIN_NEAR && worker_waits_for_this_processor(state))
            patience->rounds = SPIN_ROUNDS;
        relax();
        return true;
    }
    if (round < YIELD_ROUNDS) {
        sched_yield();
        return true;
    }
    int saved = errno;
    uint32_t doublings = round - YIELD_ROUNDS;
    long pause = doublings > 3 ? SLEEP_NS_MAX : (long)SLEEP_NS_MIN << doublings;
    uint64_t wanted = load_acquire(&state->region->head) - patience->may_be_left;
    bool there = !ask_for_bell(state->region, wanted) || sleep_until_rung(state, pause);
    if (!there)
        break_connection(state);
    errno = saved;
    return there;
}

/* A sleeping worker set `asleep` before it looked at `head` a last time; we published `head` before
 * we look at `asleep`. The fences on both sides make one of the two see the other. */
static void ring_doorbell(struct wire_state *state) {
    full_fence();
    if (!__atomic_load_n(&state->region->asleep, __ATOMIC_RELAXED))
        return;
    int saved = errno;
    char bell = 0;
    (void)!send(state->socket, &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    errno = saved;
}

static bool room_in_ring(struct wire_state *state, uint64_t bytes) {
    struct wire_patience patience = {.may_be_left = WIRE_RING_BYTES / 2};
    while (state->head + bytes - state->tail_seen > WIRE_RING_BYTES) {
        state->tail_seen = load_acquire(&state->region->tail);
        if (state->head + bytes - state->tail_seen <= WIRE_RING_BYTES)
            break;
        if (!wire_wait(state, &patience))
            return false;
    }
    return true;
}

static void publish(struct wire_state *state, uint32_t bytes) {
    state->head += bytes;
    store_release(&state->region->head, state->head);
    ring_doorbell(state);
}

/* Messages never wrap: what is left up to the ring's end is filled by one that says nothing. */
static bool pad_to_end(struct wire_state *state, uint32_t bytes) {
    uint32_t left = WIRE_RING_BYTES - (uint32_t)(state->head % WIRE_RING_BYTES);
    if (bytes <= left)
        return true;
    if (!room_in_ring(state, left))
        return false;
    struct wire_message *pad = (struct wire_message *)(state->ring + state->head % WIRE_RING_BYTES);
    pad->function = WIRE_FN_PAD;
    pad->bytes = left;
    publish(state, left);
    return true;
}

CUresult wire_begin(struct wire_call *call, uint16_t function, enum wire_manner manner,
                    size_t payload_bytes) {
    struct wire_state *state = wire_connection();
    if (!state)
        return wire_state() && wire_state()->phase == WIRE_BROKEN ? CUDA_ERROR_LAUNCH_FAILED
                                                                  : CUDA_ERROR_NOT_INITIALIZED;
    size_t wanted = sizeof(struct wire_message) + payload_bytes;
    if (payload_bytes > WIRE_MESSAGE_MAX || wanted > WIRE_MESSAGE_MAX - WIRE_ALIGNMENT)
        return CUDA_ERROR_INVALID_VALUE;
    uint32_t bytes = (uint32_t)(wanted + WIRE_ALIGNMENT - 1) & ~(WIRE_ALIGNMENT - 1u);
    uint32_t thread = this_thread();
    call->slot = manner == WIRE_BLOCKING ? thread % WIRE_SLOT_COUNT : WIRE_NO_SLOT;
    if (call->slot != WIRE_NO_SLOT)
        wire_lock(&state->slot_locks[call->slot]);
    wire_lock(&state->ring_lock);
    if (!pad_to_end(state, bytes) || !room_in_ring(state, bytes)) {
        wire_unlock(&state->ring_lock);
        wire_end(call);
        return CUDA_ERROR_LAUNCH_FAILED;
    }
    call->message = (struct wire_message *)(state->ring + state->head % WIRE_RING_BYTES);
    call->sequence = ++state->sequence;
    *call->message = (struct wire_message){.function = function,
                                           .bytes = bytes,
                                           .slot = call->slot,
                                           .thread = thread,
                                           .context = thread_context,
                                           .sequence = call->sequence};
    call->at = (unsigned char *)(call->message + 1);
    return CUDA_SUCCESS;
}

CUresult wire_post(struct wire_call *call) {
    struct wire_state *state = wire_state();
    publish(state, call->message->bytes);
    wire_unlock(&state->ring_lock);
    return CUDA_SUCCESS;
}

void wire_abandon(struct wire_call *call) {
    call->message->function = WIRE_FN_PAD;
    wire_post(call);
    wire_end(call);
}

CUresult wire_ask(struct wire_call *call) {
    struct wire_state *state = wire_state();
    struct wire_slot *slot = &state->slots[call->slot];
    struct wire_patience patience = {0};
    wire_post(call);
    call->answer = call->answer_end = slot->payload;
    while (load_acquire(&slot->sequence) != call->sequence)
        if (!wire_wait(state, &patience))
            return CUDA_ERROR_LAUNCH_FAILED;
    call->answer_end += slot->bytes < WIRE_REPLY_MAX ? slot->bytes : WIRE_REPLY_MAX;
    return (CUresult)slot->result;
}

void wire_end(struct wire_call *call) {
    if (call->slot != WIRE_NO_SLOT)
        wire_unlock(&wire_state()->slot_locks[call->slot]);
}

uint64_t wire_new_handle(void) {
    struct wire_state *state = wire_connection();
    return state ? WIRE_FIRST_HANDLE + 16 * __atomic_add_fetch(&state->next_handle, 1, __ATOMIC_RELAXED) : 0;
}

CUresult wire_drain(struct wire_state *state, uint64_t head) {
    struct wire_patience patience = {0};
    while ((int64_t)(load_acquire(&state->region->tail) - head) < 0)
        if (!wire_wait(state, &patience))
            return CUDA_ERROR_LAUNCH_FAILED;
    return CUDA_SUCCESS;
}

CUresult wire_ping(void) {
    struct wire_call call;
    CUresult result = wire_begin(&call, WIRE_FN_PING, WIRE_BLOCKING, 0);
    if (result != CUDA_SUCCESS)
        return result;
    result = wire_ask(&call);
    wire_end(&call);
    return result;
}
