/* The memory that the tap inside a target and the collector share.
 *
 * One region (a memfd) per process. The tap creates it and hands it to the collector before the
 * first record, so a SIGKILL can never come before the region is known. Everything is an offset
 * into the region; the collector treats all of it as written by somebody else: copy, check, use.
 *
 *   region header | breakpoints | thread table | chunk 0 | chunk 1 | ... (64 KiB each, touched only
 *   when used)
 *
 * A thread writes completed calls into a chain of chunks of its own, and calls under way into the
 * slots of its thread block. No counter is shared between threads on the recording path.
 */
#ifndef SHIMBENCH_TAP_ABI_H
#define SHIMBENCH_TAP_ABI_H

#include <assert.h>
#include <stdint.h>

#define TAP_MAGIC       0x3147455250415453ull /* "STAPREG1", little endian */
#define TAP_ABI_VERSION 3u

#define TAP_CELL_SIZE       64u
#define TAP_CHUNK_SIZE      65536u
#define TAP_CELLS_PER_CHUNK (TAP_CHUNK_SIZE / TAP_CELL_SIZE - 1u) /* cell 0 is the chunk's head */
#define TAP_MAX_THREADS     1024u
#define TAP_MAX_IN_FLIGHT   24u /* nesting deeper than this is recorded, but without a slot */
#define TAP_HEAD_ARGS       3u
#define TAP_MAX_CELLS       255u /* of one record: its head and up to 254 cells of payload */

/* Function numbers: 1.. are those of the API model the tap was built from (`id` in model.json);
 * these name what is not a call of a known function. */
enum tap_function {
    TAP_FN_NONE = 0,
    TAP_FN_DLSYM = 0xf001,      /* a lookup by dlsym; string 0 = name; result 1 found, 0 not */
    TAP_FN_DLVSYM = 0xf002,     /* the same by dlvsym; string 1 = version */
    TAP_FN_DLOPEN = 0xf003,     /* a library asked for; string 0 = its name;
                                   result 1 loaded, -1 not, 0 not known */
    TAP_FN_LOAD = 0xf004,       /* loading of the shim behind the tap, its constructors included;
                                   string 0 = path, string 1 = dlerror text; result 0 or -1 */
    TAP_FN_TABLE_SLOT = 0xf005, /* call through an export table: arg 0 = slot index, then the
                                   argument registers; blob TAP_ITEM_TABLE = its UUID */
    TAP_FN_UNKNOWN = 0xf006,    /* an export the model does not know; string 0 = its name */
    TAP_FN_MODULE = 0xf007,     /* no call: a file that callers lie in, written ahead of the first call
                                   that comes from it; string 0 = its path, arg 0 and 1 = where it
                                   starts and ends; sequence 0. What it overlaps is gone from there
                                   on. May come twice; a thread that goes on calling from a place
                                   where another module was put meanwhile does not notice */
    TAP_FN_INPUTS = 0xf008,     /* no call: what this thread's call `sequence` was given, written ahead of it
                                   while buffers are recorded, so that a call which never returns has it
                                   too. That call's own record then holds nothing but outputs */
};

enum tap_flag {
    TAP_FLAG_INTERNAL = 1,    /* the shim called itself through the tap; sent straight back */
    TAP_FLAG_UNRETURNED = 2,  /* made by the collector from a slot: the call never returned */
    TAP_FLAG_TRUNCATED = 4,   /* the payload did not fit and was cut */
    TAP_FLAG_LOST_BEFORE = 8, /* records of this thread were dropped before this one; an item of
                                 kind TAP_ITEM_LOST says how many */
    TAP_FLAG_LINK_TIME = 16,  /* TAP_FN_DLSYM only: not a dlsym, but bound by the loader */
};

/* A call that has returned. 64 bytes, the first cell of its record; `cells` counts this one and
 * the payload cells behind it. Records never straddle chunks. */
struct tap_record {
    uint64_t start;    /* ticks */
    uint64_t duration; /* ticks, never a u32: that overflows after 1.9 s */
    uint64_t caller;   /* return address in the caller */
    uint32_t sequence; /* of entry, per thread, from 1 */
    uint32_t parent;   /* sequence of the call this one was made inside of; 0 none */
    uint16_t function;
    uint8_t cells;
    uint8_t flags;
    int32_t result; /* CUresult, nvmlReturn_t; 0 for what returns void */
    uint64_t args[TAP_HEAD_ARGS];
};
static_assert(sizeof(struct tap_record) == TAP_CELL_SIZE, "a record's head is one cell");

/* The payload: items one after another, each padded to 8 bytes. Item kind 0 ends it early. */
enum tap_item_kind {
    TAP_ITEM_END = 0,
    TAP_ITEM_ARGS = 1,     /* u64 words: arguments from number TAP_HEAD_ARGS on */
    TAP_ITEM_OUT = 2,      /* what argument `index` pointed to, after the call */
    TAP_ITEM_IN = 3,       /* what argument `index` pointed to, before the call */
    TAP_ITEM_STRING = 4,   /* a string argument (or string `index` of a TAP_FN_ function), no NUL */
    TAP_ITEM_RESOLVED = 5, /* cuGetProcAddress, dlsym: u16 function number of the export that the
                              answer is (0: none known), u16 0, u32 0, u64 address */
    TAP_ITEM_TABLE = 6,    /* 16-byte UUID of an export table */
    TAP_ITEM_LOST = 7,     /* u64: how many records were dropped before this one */
    TAP_ITEM_RETURN = 8,   /* u64: a return value that is no 32-bit result (pointer, size) */
    TAP_ITEM_BUFFER = 9,   /* struct tap_buffer: bytes that argument `index` points to, kept in a lane */
    TAP_ITEM_KERNEL = 10,  /* struct tap_kernel, its parameters' places, their bytes */
    TAP_ITEM_NESTED = 11,  /* what a pointer inside of argument `index` points to: a launch's attributes */
};
struct tap_item {
    uint8_t kind;
    uint8_t index;
    uint16_t length;   /* of the data behind this head, without padding */
    uint32_t original; /* length before a cut; equal to `length` when whole */
};
static_assert(sizeof(struct tap_item) == 8, "an item's head is one word");

/* Buffers are large and asked for: they go by lanes, memfds of the process's own which the tap makes when
 * it needs one and hands over (TAP_LANE) before the first record that names it. A lane is filled from its
 * start and never used twice; the collector gives the pages back that it has read. */
#define TAP_LANE_SIZE (1ull << 30) /* sparse; a larger buffer has a lane of its own */
#define TAP_MAX_LANES 256u

enum tap_buffer_state {
    TAP_BUFFER_KEPT = 0,
    TAP_BUFFER_OVER_LIMIT = 1, /* tap_region.buffer_limit was reached */
    TAP_BUFFER_UNREADABLE = 2, /* no memory of the process, at least not all of it */
    TAP_BUFFER_DROPPED = 3,    /* no lane, or more outputs under way than are waited for */
};
struct tap_buffer {
    uint64_t offset; /* in its lane */
    uint64_t length; /* of all of it */
    uint32_t lane;
    uint32_t sequence; /* 0: of this call; else of the copy, by `thread`, that has filled it by now */
    uint32_t thread;   /* tid */
    uint8_t state;     /* enum tap_buffer_state */
    uint8_t output;    /* 1: as it was after the call */
    uint16_t reserved;
};
static_assert(sizeof(struct tap_buffer) == 32, "no padding");

/* A launch's parameters: `count` pairs of u32 (offset in the block, size), then the block. */
enum tap_kernel_layout {
    TAP_KERNEL_GUESSED = 0, /* the shim told no layout: what was readable, of 64 bytes a parameter at most */
    TAP_KERNEL_TOLD = 1,    /* by the shim's cuFuncGetParamInfo or cuKernelGetParamInfo */
    TAP_KERNEL_PACKED = 2,  /* the launch's `extra` gave a block, which is one pair here */
};
struct tap_kernel {
    uint32_t count;
    uint32_t layout; /* enum tap_kernel_layout */
};
static_assert(sizeof(struct tap_kernel) == 8, "no padding");

/* Cell 0 of a chunk. `committed` counts cells behind it that are whole records; the producer
 * stores it with release after the cells, so whoever loads it with acquire sees them. `next` is
 * stored with release before the producer goes on in the next chunk; only then is this one done. */
struct tap_chunk {
    uint32_t committed;
    uint32_t next;   /* number of the next chunk + 1; 0 while this one is being written */
    uint32_t thread; /* index of its owner in the thread table */
    uint32_t link;   /* of the free list, number + 1; meaningless while in use */
    uint64_t reserved[6];
};
static_assert(sizeof(struct tap_chunk) == TAP_CELL_SIZE, "a chunk's head is one cell");

/* A call under way. The thread stores `function` last with release on entry, and 0 on return; a
 * reader takes `sequence` before and after to know that it saw one call. */
struct tap_slot {
    uint64_t start;
    uint64_t caller;
    uint32_t sequence;
    uint32_t parent;
    uint16_t function;
    uint16_t flags;
    uint32_t reserved;
    uint64_t args[4];
};
static_assert(sizeof(struct tap_slot) == TAP_CELL_SIZE, "a slot is one cache line");

enum tap_break_kind {
    TAP_BREAK_NONE = 0,
    TAP_BREAK_CALL = 1,       /* before the shim is called */
    TAP_BREAK_ERROR = 2,      /* after it, with a result other than 0 */
    TAP_BREAK_OK = 3,         /* after it, with 0 */
    TAP_BREAK_RESULT = 4,     /* after it, with `value` */
    TAP_BREAK_NOT_RESULT = 5, /* after it, with anything else */
};

/* A breakpoint, one a function number. The collector writes `value`, `nth` and `hits` while `kind` is 0,
 * then `kind` with release; a thread that loads `kind` with acquire sees what belongs to it. */
struct tap_break {
    uint32_t kind;
    int32_t value;
    uint32_t nth;  /* stops at that match only, counted in this process; 0: at each */
    uint32_t hits; /* matches so far, counted by the threads */
};
static_assert(sizeof(struct tap_break) == 16, "a row of the table of breakpoints");

/* Bits of tap_region.attention: what a call has to look at. All 0 in a process that is just recorded. */
enum tap_attention {
    TAP_ATTENTION_PAUSED = 1,  /* pass calls through without recording them */
    TAP_ATTENTION_BREAKS = 2,  /* there are breakpoints */
    TAP_ATTENTION_BUFFERS = 4, /* buffers are recorded */
};

/* Bits of tap_region.buffers: which ones. */
enum tap_buffers { TAP_BUFFERS_INPUTS = 1, TAP_BUFFERS_OUTPUTS = 2 };

enum tap_thread_state { TAP_THREAD_FREE = 0, TAP_THREAD_LIVE = 1, TAP_THREAD_ENDED = 2 };

/* FREE -> LIVE by the thread (compare and swap), LIVE -> ENDED by its exit, ENDED -> FREE by the
 * collector once all is drained and its chunks are back in the free list. */
struct tap_thread {
    uint32_t state;
    uint32_t tid;
    uint32_t first_chunk; /* number + 1, stored with release; 0 before the first record. The collector
                             moves on by `next` and keeps its own place; it never writes here but
                             to 0 when it frees the block */
    uint32_t depth;       /* slots in use */
    uint64_t lost;        /* records dropped since the thread began */
    char name[16];        /* comm, as far as known */
    /* A call stopped at a breakpoint, which is in its slot as well. The thread sets the rest first and
     * `held` with release, then waits on it (a futex) until it is something else; the collector
     * releases it by compare and swap to 0. Nobody else writes here while a thread is held. */
    uint32_t held;          /* sequence of that call; 0: none */
    uint16_t held_function; /* of that call */
    uint16_t held_after;    /* 1: the shim has returned from it, with held_result */
    int32_t held_result;
    uint32_t reserved[3];
    struct tap_slot slots[TAP_MAX_IN_FLIGHT];
};
static_assert(sizeof(struct tap_thread) == 64 + 64 * TAP_MAX_IN_FLIGHT, "head and slots");

struct tap_region {
    uint64_t magic; /* stored last, with release */
    uint32_t abi_version;
    uint32_t pid;
    uint64_t size;             /* of the mapping, in bytes */
    uint64_t start;            /* ticks when the region was made */
    uint64_t start_unix_ns;    /* CLOCK_REALTIME at the same moment */
    uint64_t start_mono_ns;    /* CLOCK_MONOTONIC at the same moment */
    uint64_t ticks_per_second; /* 0: ticks are CLOCK_MONOTONIC nanoseconds. TSC frequencies are
                                  refined by the collector, which sees both clocks again later */
    char model_hash[32];       /* of the model the function numbers belong to, hex, NUL-ended */
    uint32_t threads_offset;
    uint32_t max_threads;
    uint64_t chunks_offset;
    uint32_t max_chunks;
    uint32_t chunks_used; /* high-water mark, atomically increased */
    uint64_t free_chunks; /* Treiber stack: low half number + 1 of the top, high half a tag */
    uint64_t lost;        /* of threads that found no thread block */
    uint64_t lookups;     /* reserved */
    /* Control block: written by the collector on behalf of the workbench, read by the tap. */
    uint32_t control_generation;
    uint32_t attention;      /* enum tap_attention */
    uint32_t collector_gone; /* set by the tap when the socket closed: nobody drains any more */
    uint32_t capture_limit;  /* bytes of one in or out value at the most (default 256) */
    uint32_t breaks_offset;  /* of struct tap_break, by function number */
    uint32_t max_breaks;
    uint32_t holds;            /* times a call stopped, counted by the threads: a change is worth a look */
    uint32_t collector_beat;   /* counted on by the collector as long as there are breakpoints */
    uint32_t buffers;          /* enum tap_buffers; set before TAP_ATTENTION_BUFFERS */
    uint32_t refused_children; /* forked, and could not register: what they call is not recorded */
    uint64_t buffer_limit;     /* bytes of buffers that the process may have put into lanes, raised by the
                                  collector as long as the session's own limit is not reached */
    uint64_t buffer_taken;     /* bytes it has put there, counted by the threads */
    uint64_t refused_child;    /* the last of them: its pid, as it sees it itself, and errno << 32 */
    uint64_t reserved[10];
};
static_assert(sizeof(struct tap_region) <= 4096, "the header fits its page");

/* Registration, over a SOCK_SEQPACKET AF_UNIX socket that stays open as long as the process lives.
 * HELLO carries the region's memfd, then (when asked to tee) duplicates of descriptors 1 and 2.
 * The answer carries, for each teed descriptor, the write end of a pipe to put in its place: the
 * collector copies what comes through to the original and into the log, with this pid. */
enum { TAP_HELLO = 1, TAP_WELCOME = 2, TAP_EXEC = 3, TAP_FORK = 4, TAP_LANE = 5 };
struct tap_hello {
    uint32_t kind; /* TAP_HELLO */
    uint32_t abi_version;
    uint32_t pid;
    uint32_t ppid;
    uint32_t tid;
    uint32_t tee;    /* value 1: descriptor 1 follows, value 2: descriptor 2 follows */
    uint64_t size;   /* of the region */
    char origin[16]; /* which of our libraries registered: "preload", "tap", "fork" */
};
struct tap_welcome {
    uint32_t kind; /* TAP_WELCOME */
    uint32_t accepted;
    uint32_t tee;     /* bits of the descriptors that are to be replaced */
    uint32_t process; /* the collector's number for this process */
};
/* Later, over the same socket: lane `number`, whose memfd it carries. There is no answer. */
struct tap_lane {
    uint32_t kind; /* TAP_LANE */
    uint32_t number;
    uint64_t size;
};

#endif
