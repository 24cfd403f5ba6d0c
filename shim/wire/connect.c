/* Greeting the host and laying its region and address range into this process. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol_hash.h"
#include "wire/barrier.h"
#include "wire/call.h"
#include "wire/state.h"

static struct wire_state *the_state;

struct wire_state *wire_state(void) {
    return __atomic_load_n(&the_state, __ATOMIC_ACQUIRE);
}

struct wire_state *wire_connection(void) {
    struct wire_state *state = wire_state();
    return state && load_acquire32(&state->phase) == WIRE_CONNECTED ? state : NULL;
}

bool wire_connected(void) {
    return wire_connection() != NULL;
}

const char *wire_error(void) {
    return wire_state() ? wire_state()->error : "";
}

const struct wire_device *wire_device(void) {
    struct wire_state *state = wire_state();
    return state && load_acquire32(&state->phase) != WIRE_IDLE && state->device.memory_bytes ? &state->device
                                                                                             : NULL;
}

bool wire_is_pinned(const void *address) {
    struct wire_state *state = wire_connection();
    uint64_t at = (uint64_t)(uintptr_t)address;
    return state && at >= state->range_end && at < state->pinned_end;
}

bool wire_is_device(CUdeviceptr address) {
    struct wire_state *state = wire_connection();
    return state && address >= state->range_base && address < state->range_end;
}

/* The pages are wiped in a fork's child, which so finds itself not connected, and its locks free. */
static struct wire_state *make_state(void) {
    struct wire_state *state = wire_state();
    if (state)
        return state;
    struct wire_state *made =
        mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED)
        return NULL;
    (void)madvise(made, sizeof(*made), MADV_WIPEONFORK);
    if (!__atomic_compare_exchange_n(&the_state, &state, made, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        munmap(made, sizeof(*made));
        return state;
    }
    return made;
}

static CUresult fail(struct wire_state *state, CUresult result, const char *text, const char *detail) {
    snprintf(state->error, sizeof(state->error), "%.60s%.190s", text, detail);
    return result;
}

static int open_socket(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address.sun_path, path);
    int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connection < 0)
        return -1;
    int done;
    do
        done = connect(connection, (struct sockaddr *)&address, sizeof(address));
    while (done < 0 && errno == EINTR);
    if (done < 0) {
        int saved = errno;
        close(connection);
        errno = saved;
        return -1;
    }
    return connection;
}

/* One offer, and the region's descriptor when it came along (else *region_fd is left alone). */
static bool receive_offer(int connection, struct wire_offer *offer, int *region_fd) {
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec vector = {.iov_base = offer, .iov_len = sizeof(*offer)};
    struct msghdr message = {
        .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t got;
    bool reset = false;
    /* A host that refuses without reading the greeting resets the connection behind its offer: the
     * reset is told first, the offer after it. */
    do
        got = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && (errno == EINTR || (errno == ECONNRESET && !reset && (reset = true))));
    struct cmsghdr *head = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
        memcpy(region_fd, CMSG_DATA(head), sizeof(int));
    offer->text[sizeof(offer->text) - 1] = 0;
    return got == (ssize_t)sizeof(*offer) && offer->magic == WIRE_MAGIC;
}

static CUresult check_offer(struct wire_state *state, const struct wire_offer *offer) {
    if (offer->status == WIRE_OFFERED && !memcmp(offer->hash, PROTOCOL_HASH, WIRE_HASH_BYTES))
        return CUDA_SUCCESS;
    if (offer->status == WIRE_OFFERED || offer->status == WIRE_OTHER_PROTOCOL) {
        snprintf(state->error, sizeof(state->error),
                 "host speaks protocol %.6s, this shim %.6s: rebuild both (shimbench build)", offer->hash,
                 PROTOCOL_HASH);
        return CUDA_ERROR_SYSTEM_DRIVER_MISMATCH;
    }
    return fail(state, CUDA_ERROR_DEVICE_UNAVAILABLE, "the host refuses this process: ", offer->text);
}

/* Device addresses mean nothing here, so they are kept from being used for anything else; pinned
 * memory is the region's last part. */
static bool reserve_range(const struct wire_offer *offer, const struct wire_region *region, int region_fd) {
    void *base = (void *)(uintptr_t)offer->range_base;
    size_t bytes = offer->device_bytes + offer->pinned_bytes;
    void *got = mmap(base, bytes, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (got == MAP_FAILED)
        return false;
    void *pinned = (char *)base + offer->device_bytes;
    if (got != base || mmap(pinned, offer->pinned_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                            region_fd, (off_t)region->pinned_offset) != pinned) {
        munmap(got, bytes);
        return false;
    }
    (void)madvise(base, bytes, MADV_DONTFORK);
    (void)madvise(base, offer->device_bytes, MADV_DONTDUMP);
    return true;
}

/* Device memory, for copies alone: at an address of our own, so that a device pointer that the program
 * uses as its own still faults, as it does with a device. Without it copies go through the ring. */
static void map_window(struct wire_state *state, const struct wire_region *head, uint64_t region_bytes,
                       int region_fd) {
    if (!head->window_bytes || head->window_offset > region_bytes ||
        head->window_bytes > region_bytes - head->window_offset)
        return;
    void *window = mmap(NULL, head->window_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                        region_fd, (off_t)head->window_offset);
    if (window == MAP_FAILED)
        return;
    (void)madvise(window, head->window_bytes, MADV_DONTFORK);
    (void)madvise(window, head->window_bytes, MADV_DONTDUMP);
    state->window = window;
    state->window_bytes = head->window_bytes;
}

/* Maps the region, then answers offers until a range is free here too. */
static CUresult settle(struct wire_state *state, int connection, struct wire_offer *offer, int region_fd) {
    struct wire_region head;
    if (pread(region_fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) || head.magic != WIRE_MAGIC ||
        head.pinned_offset > offer->region_bytes)
        return fail(state, CUDA_ERROR_DEVICE_UNAVAILABLE, "the host's region makes no sense", "");
    struct wire_region *region =
        mmap(NULL, head.pinned_offset, PROT_READ | PROT_WRITE, MAP_SHARED, region_fd, 0);
    if (region == MAP_FAILED)
        return fail(state, CUDA_ERROR_OUT_OF_MEMORY, "the region could not be mapped", "");
    (void)madvise(region, head.pinned_offset, MADV_DONTFORK);
    for (;;) {
        struct wire_answer answer = {.magic = WIRE_MAGIC, .accepted = reserve_range(offer, &head, region_fd)};
        if (send(connection, &answer, sizeof(answer), MSG_NOSIGNAL) != (ssize_t)sizeof(answer))
            break;
        if (answer.accepted) {
            state->region = region;
            state->ring = (unsigned char *)region + head.ring_offset;
            state->slots = (struct wire_slot *)((unsigned char *)region + head.slots_offset);
            state->upload = (unsigned char *)region + head.upload_offset;
            state->download = (unsigned char *)region + head.download_offset;
            state->in_order = head.in_order;
            map_window(state, &head, offer->region_bytes, region_fd);
            state->range_base = offer->range_base;
            state->range_end = offer->range_base + offer->device_bytes;
            state->pinned_end = state->range_end + offer->pinned_bytes;
            return CUDA_SUCCESS;
        }
        int none = -1;
        if (!receive_offer(connection, offer, &none) || offer->status != WIRE_OFFERED)
            break;
    }
    munmap(region, head.pinned_offset);
    return fail(state, CUDA_ERROR_DEVICE_UNAVAILABLE,
                "no address range for device memory is free in this process and in the host", "");
}

static CUresult ask_device(struct wire_state *state) {
    struct wire_call call;
    CUresult result = wire_begin(&call, WIRE_FN_DEVICE, WIRE_BLOCKING, 0);
    if (result != CUDA_SUCCESS)
        return result;
    result = wire_ask(&call);
    wire_take(&call, &state->device, sizeof(state->device));
    wire_end(&call);
    state->device.name[sizeof(state->device.name) - 1] = 0;
    return result;
}

static CUresult greet(struct wire_state *state, const char *socket_path) {
    struct wire_hello hello = {.magic = WIRE_MAGIC, .hash = PROTOCOL_HASH, .pid = (uint32_t)getpid()};
    struct wire_offer offer = {0};
    int region_fd = -1;
    CUresult result;
    int connection = open_socket(socket_path);
    if (connection < 0) {
        snprintf(state->error, sizeof(state->error), "no host listens at %.160s: %s (start shimbench-host)",
                 socket_path, strerror(errno));
        return CUDA_ERROR_SYSTEM_NOT_READY;
    }
    /* A greeting that could not be sent may still have been refused with a reason. */
    (void)!send(connection, &hello, sizeof(hello), MSG_NOSIGNAL);
    if (!receive_offer(connection, &offer, &region_fd)) {
        result =
            fail(state, CUDA_ERROR_DEVICE_UNAVAILABLE, "the host closed the connection: see its log", "");
        goto out;
    }
    result = check_offer(state, &offer);
    if (result != CUDA_SUCCESS)
        goto out;
    if (region_fd < 0) {
        result = fail(state, CUDA_ERROR_DEVICE_UNAVAILABLE, "the host's offer came without its region", "");
        goto out;
    }
    result = settle(state, connection, &offer, region_fd);
    if (result != CUDA_SUCCESS)
        goto out;
    state->socket = connection;
    store_release32(&state->phase, WIRE_CONNECTED);
    connection = -1;
    result = ask_device(state);
out:
    if (region_fd >= 0)
        close(region_fd);
    if (connection >= 0)
        close(connection);
    return result;
}

CUresult wire_connect(const char *socket_path) {
    struct wire_state *state = make_state();
    if (!state)
        return CUDA_ERROR_OUT_OF_MEMORY;
    int saved = errno;
    CUresult result = CUDA_SUCCESS;
    wire_lock(&state->connect_lock);
    if (state->phase == WIRE_BROKEN)
        result = CUDA_ERROR_LAUNCH_FAILED;
    else if (state->phase == WIRE_IDLE)
        result = greet(state, socket_path);
    wire_unlock(&state->connect_lock);
    errno = saved;
    return result;
}
