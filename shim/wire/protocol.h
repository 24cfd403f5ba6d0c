/* What the shim and the host say to each other: greeting, region and messages. Data only.
 *
 * One region of shared bytes per client process. Everything in it is an offset: no descriptor, no
 * pointer, no futex, so that the same bytes serve a memfd, a PCI BAR and a socket. How the region
 * reaches the client and how a sleeping worker is woken (a byte on the socket) stand outside it.
 *
 *   head of the region | request ring | reply slots | upload area | download area | pinned memory | window
 *
 * The window is device memory itself, where the transport can show it (a memfd, a BAR; a socket can't):
 * a large copy then asks where in it the bytes lie and copies them itself, once. `window_bytes` is 0
 * where there is none, and what lies outside it goes through the upload and download areas.
 *
 * There is one request ring, and the worker executes it in order: CUDA orders the calls of two
 * threads that synchronise outside of it, and rings of their own would lose that order. Answers
 * come back in slots, so threads wait side by side. A message without a slot is posted: nobody
 * waits, its error is kept in the region's head until a synchronising call reports it.
 *
 * The host takes all that it reads here as hostile: copy, check, use.
 */
#ifndef SHIMBENCH_WIRE_PROTOCOL_H
#define SHIMBENCH_WIRE_PROTOCOL_H

#include <assert.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WIRE_MAGIC      0x3145524957425453ull /* "STBWIRE1", little endian */
#define WIRE_VERSION    1u
#define WIRE_HASH_BYTES 32u /* hexadecimal digits and NUL */
#define WIRE_TEXT_BYTES 256u
#define WIRE_ALIGNMENT  16u /* of messages in the ring */

#define WIRE_RING_BYTES      (1u << 20)
#define WIRE_MESSAGE_MAX     (1u << 17) /* one message, its head included */
#define WIRE_INLINE_MAX      4096u      /* larger copies go through the upload or download area */
#define WIRE_SLOT_COUNT      64u
#define WIRE_SLOT_BYTES      16384u
#define WIRE_REPLY_MAX       (WIRE_SLOT_BYTES - 64u)
#define WIRE_CHUNK_BYTES     (1u << 18) /* of an upload or a download */
#define WIRE_UPLOAD_BYTES    (1u << 23)
#define WIRE_DOWNLOAD_CHUNKS 32u
#define WIRE_DOWNLOAD_BYTES  (WIRE_DOWNLOAD_CHUNKS * WIRE_CHUNK_BYTES)
#define WIRE_PARAMETERS_MAX  1024u /* parameters of one kernel */
#define WIRE_PARAMETER_BYTES 32768u
#define WIRE_BLOB_MAX        (1ull << 30) /* a module's image */
#define WIRE_LOAD_LOG_MAX    4096u        /* bytes of what is said of one */
#define WIRE_PRINTED_MAX     8192u        /* bytes of one answer */
#define WIRE_ATTRIBUTE_COUNT 256u
#define WIRE_NO_SLOT         0xffffffffu
#define WIRE_NEVER           UINT64_MAX
#define WIRE_FIRST_HANDLE    0x00005b0000000000ull /* handles made by the shim; the host's are below */

/* First words of a connection, from the client. These 64 bytes never change. */
struct wire_hello {
    uint64_t magic;
    char hash[WIRE_HASH_BYTES]; /* of the protocol: model, annotations, this file */
    uint32_t pid;
    uint32_t reserved[5];
};

enum wire_status {
    WIRE_OFFERED = 0,
    WIRE_OTHER_PROTOCOL = 1,
    WIRE_TOO_MANY_CLIENTS = 2,
    WIRE_NO_RANGE = 3, /* no address range is free in both processes */
    WIRE_NO_MEMORY = 4,
};

/* The host's answer; with WIRE_OFFERED the region comes along. The first 56 bytes never change. */
struct wire_offer {
    uint64_t magic;
    char hash[WIRE_HASH_BYTES];
    uint32_t status;
    uint32_t reserved;
    uint64_t region_bytes;
    uint64_t range_base;   /* device memory lies at this address, in both processes */
    uint64_t device_bytes; /* of addresses, not of memory */
    uint64_t pinned_bytes; /* pinned host memory follows the device's range */
    char text[WIRE_TEXT_BYTES];
};

/* Whether the client could reserve the range; if not, the host offers another one. */
struct wire_answer {
    uint64_t magic;
    uint32_t accepted;
    uint32_t reserved;
};

/* The head of the region; the host writes the first part once, before it is handed over. */
struct wire_region {
    uint64_t magic;
    char hash[WIRE_HASH_BYTES];
    uint64_t region_bytes;
    uint64_t ring_offset;
    uint64_t slots_offset;
    uint64_t upload_offset;
    uint64_t download_offset;
    uint64_t pinned_offset;
    uint64_t pinned_bytes;
    uint64_t window_offset;
    uint64_t window_bytes;
    uint32_t
        in_order; /* a posted call is complete once it is consumed: synchronising is waiting for `tail` */
    uint32_t reserved0[3];

    uint64_t head;        /* bytes ever put into the ring; written by the client */
    uint32_t client_cpu;  /* of the thread that waited last: nobody spins for one on its own processor */
    uint32_t print_limit; /* bytes of what kernels print that are kept, the newest; 0: the default */
    uint64_t wake_at;     /* a thread that sleeps wants the worker to ring once `tail` is here; WIRE_NEVER */
    uint32_t reserved1[10];

    uint64_t tail;        /* bytes consumed and executed; written by the worker from here on */
    uint64_t upload_tail; /* bytes of the upload area given back */
    uint32_t posted_error;
    uint32_t posted_function;
    uint64_t posted_sequence;
    uint64_t download_done; /* chunks ever written into the download area */
    uint32_t captures;      /* streams being captured; synchronising must then ask the host */
    uint32_t printed;       /* not 0: kernels have printed something, ask for it (WIRE_FN_PRINTED) */
    uint32_t reserved2[4];

    /* The worker waits for its doorbell. Read after each call, so not in a line that each call writes. */
    uint32_t asleep;
    uint32_t worker_cpu;
    uint32_t reserved3[14];

    uint32_t download_errors[WIRE_DOWNLOAD_CHUNKS]; /* of each chunk, set before download_done counts it */
};

/* One call in the ring; its arguments follow. */
struct wire_message {
    uint16_t function; /* of the API model, or enum wire_function */
    uint16_t flags;
    uint32_t bytes; /* this head, the arguments, padding to WIRE_ALIGNMENT */
    uint32_t slot;  /* where the answer goes; WIRE_NO_SLOT: posted */
    uint32_t thread;
    uint64_t context; /* current in the calling thread; 0 the primary one */
    uint64_t sequence;
};

/* An answer. `sequence` is written last, and is that of the message. A short payload lies in the same
 * cache line. */
struct wire_slot {
    uint64_t sequence;
    int32_t result;
    uint32_t bytes;
    unsigned char payload[WIRE_REPLY_MAX];
    uint64_t reserved[6];
};

/* Messages that are not one function of the API. */
enum wire_function {
    WIRE_FN_PAD = 0xf000,    /* the rest of the ring up to its end is not used */
    WIRE_FN_PING = 0xf001,   /* nothing; answers nothing */
    WIRE_FN_DEVICE = 0xf002, /* answers struct wire_device */
    WIRE_FN_BLOB = 0xf003,   /* struct wire_copy from upload: appended to the calling thread's blob */
    WIRE_FN_COPY = 0xf004,   /* struct wire_copy, then the bytes when WIRE_FROM_MESSAGE */
    /* struct wire_load; the image is the calling thread's blob. Answers u64 handle, u64 length, and that many
     * bytes of a compiler's complaints */
    WIRE_FN_LOAD = 0xf005,
    WIRE_FN_LAUNCH = 0xf006, /* struct wire_launch, then the parameter buffer */
    WIRE_FN_LAYOUT = 0xf007, /* u64 kernel or function; answers u64 total, then {u32 offset, u32 size}... */
    WIRE_FN_SYNCHRONIZE = 0xf008, /* struct wire_synchronize */
    WIRE_FN_POINTER = 0xf009,     /* u64 attribute, u64 address; answers u64 */
    WIRE_FN_NODES = 0xf00a,       /* u64 graph, u64 room; answers u64 count, then handles */
    WIRE_FN_WINDOW = 0xf00b,      /* struct wire_window; answers u64 offset in the window, or UINT64_MAX */
    WIRE_FN_UTILIZATION = 0xf00c, /* answers u64: percent of the last second, memory << 32 | kernels */
    WIRE_FN_PRINTED = 0xf00d, /* answers u64 length, then that much of what kernels printed; 0 at its end */
    WIRE_FN_MAX = 0xf00e,
};

enum wire_source {
    WIRE_FROM_MESSAGE = 0, /* the bytes stand behind struct wire_copy */
    WIRE_FROM_UPLOAD = 1,  /* `source` is an offset into the upload area */
    WIRE_FROM_ADDRESS = 2, /* device or pinned memory */
};

enum wire_target {
    WIRE_TO_ADDRESS = 0,
    WIRE_TO_REPLY = 1,
    WIRE_TO_DOWNLOAD = 2, /* `target` is an offset into the download area */
};

struct wire_copy {
    uint64_t target;
    uint64_t source;
    uint64_t bytes;
    uint64_t stream;
    uint32_t from;       /* enum wire_source */
    uint32_t to;         /* enum wire_target */
    uint64_t upload_end; /* the value of upload_tail once this is done; 0 none */
};

/* The client is about to copy these bytes itself; all work before it in the ring is done. */
struct wire_window {
    uint64_t address;
    uint64_t bytes;
    uint64_t stream;
};

enum wire_load_kind {
    WIRE_LOAD_LIBRARY = 0,
    WIRE_LOAD_MODULE = 1,
};

/* Answers the u64 handle. */
struct wire_load {
    uint32_t kind;
    uint32_t reserved;
    uint64_t bytes; /* of the blob, to see that it is whole */
};

struct wire_launch {
    uint64_t function;
    uint64_t stream;
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared_bytes;
    uint32_t cooperative;
    uint32_t cluster[3]; /* 0 none */
    uint32_t parameter_bytes;
};

enum wire_synchronize_kind {
    WIRE_CONTEXT = 0,
    WIRE_STREAM = 1,
    WIRE_EVENT = 2,
    WIRE_STREAM_QUERY = 3,
    WIRE_EVENT_QUERY = 4,
};

struct wire_synchronize {
    uint64_t kind;
    uint64_t handle;
};

/* What the device is; it does not change while the host runs. */
struct wire_device {
    char name[96];
    unsigned char uuid[16];
    uint64_t memory_bytes;
    uint64_t granularity; /* of VMM mappings */
    uint32_t pci_domain;
    uint32_t pci_bus;
    uint32_t pci_device;
    uint32_t executes_kernels;
    int32_t attributes[WIRE_ATTRIBUTE_COUNT]; /* by CUdevice_attribute; what is not known is 0 */
};

#define WIRE_REGION_HEAD_BYTES 4096u

static_assert(sizeof(struct wire_hello) == 64, "the greeting never changes");
static_assert(sizeof(struct wire_offer) == 80 + WIRE_TEXT_BYTES, "the offer has no holes");
static_assert(sizeof(struct wire_region) == 448, "head and tail lie in cache lines of their own");
static_assert(sizeof(struct wire_message) == 32, "a message's head is half a cache line");
static_assert(sizeof(struct wire_slot) == WIRE_SLOT_BYTES, "slots follow one another");
static_assert(sizeof(struct wire_copy) == 48, "no holes");
static_assert(sizeof(struct wire_window) == 24, "no holes");
static_assert(sizeof(struct wire_launch) == 64, "no holes");
static_assert(sizeof(struct wire_device) == 144 + 4 * WIRE_ATTRIBUTE_COUNT, "no holes");

#ifdef __cplusplus
}
#endif
#endif
