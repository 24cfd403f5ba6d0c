/* What the client end knows of its connection: one page that a fork's child finds wiped. */
#ifndef SHIMBENCH_WIRE_STATE_H
#define SHIMBENCH_WIRE_STATE_H

#include "wire/client.h"

enum wire_phase { WIRE_IDLE = 0, WIRE_CONNECTED = 1, WIRE_BROKEN = 2 };

struct wire_state {
    uint32_t phase; /* enum wire_phase */
    uint32_t connect_lock;
    uint32_t ring_lock;
    uint32_t download_lock;
    int socket;
    uint32_t in_order;
    uint32_t layout_lock;
    struct wire_layout **layouts; /* parameters of kernels that were launched; see launch.c */
    struct wire_region *region;
    unsigned char *ring;
    struct wire_slot *slots;
    unsigned char *upload;
    unsigned char *download;
    unsigned char *window; /* device memory; NULL when the region has none */
    uint64_t window_bytes;
    uint64_t head;      /* ours; published in the region */
    uint64_t tail_seen; /* the worker's, when last looked at */
    uint64_t sequence;
    uint64_t upload_head;
    uint64_t next_handle;
    uint64_t range_base;
    uint64_t range_end; /* of the device's part; pinned memory follows */
    uint64_t pinned_end;
    uint32_t slot_locks[WIRE_SLOT_COUNT];
    char error[WIRE_TEXT_BYTES];
    struct wire_device device;
};

/* The state, or NULL before the first wire_connect of the program. */
struct wire_state *wire_state(void);

/* The state while connected, else NULL. */
struct wire_state *wire_connection(void);

void wire_lock(uint32_t *lock);
void wire_unlock(uint32_t *lock);

/* Waiting for the worker: a short spin, then the processor is given away, then sleeps until it has done all
 * that is in the ring now, or so many bytes less. */
struct wire_patience {
    uint32_t rounds;
    uint32_t may_be_left;
};

/* Waits a little. False when the worker has died meanwhile: the connection is then broken. */
bool wire_wait(struct wire_state *state, struct wire_patience *patience);

/* Waits until the worker has executed everything up to `head`. */
CUresult wire_drain(struct wire_state *state, uint64_t head);

/* Sends bytes ahead of a call that names them (a module's image), or to a device address. Returns when
 * `bytes` may be reused. `function` is WIRE_FN_BLOB or WIRE_FN_COPY. */
CUresult wire_upload(uint16_t function, uint64_t target, const void *bytes, size_t length, CUstream stream);

/* Waits until all that was posted is done; the first error of it. */
CUresult wire_synchronize(enum wire_synchronize_kind kind, uint64_t handle);

#endif
