/* The bytes of a session, declared once for the native side; sessions/format.py mirrors them and
 * FORMAT.md says what they mean. Everything is little endian. Records and nothing else. */
#ifndef SHIMBENCH_SESSION_FORMAT_H
#define SHIMBENCH_SESSION_FORMAT_H

#include <cstddef>
#include <cstdint>

namespace shimbench::session {

inline constexpr uint32_t kFormat = 1;
inline constexpr uint32_t kChunkRows = 65536;
inline constexpr uint32_t kTailRows = 4 * kChunkRows; /* the raw tail is a ring of rows */
inline constexpr uint32_t kTailHeaderSize = 4096;
inline constexpr uint32_t kRowsAhead = 32768; /* most rows written before `rows` says so */
inline constexpr uint32_t kInFlightRows = 4096;
inline constexpr uint64_t kRowsKey = 0x5348494d42454e43ull; /* `rows_copy` is `rows` xor this */

/* Every index and mapped file starts with one of these. */
struct StreamHead {
    char magic[8];
    uint32_t format;
    uint32_t entry_size;
};
static_assert(sizeof(StreamHead) == 16);

inline constexpr char kTailMagic[8] = {'S', 'B', 'T', 'A', 'I', 'L', '0', '1'};
inline constexpr char kInFlightMagic[8] = {'S', 'B', 'F', 'L', 'Y', 'I', '0', '1'};
inline constexpr char kChunkIndexMagic[8] = {'S', 'B', 'C', 'A', 'L', 'L', '0', '1'};
inline constexpr char kBlobIndexMagic[8] = {'S', 'B', 'B', 'L', 'O', 'B', '0', '1'};
inline constexpr char kBufferIndexMagic[8] = {'S', 'B', 'B', 'U', 'F', 'F', '0', '1'};
inline constexpr char kLogIndexMagic[8] = {'S', 'B', 'L', 'O', 'G', 'S', '0', '1'};
inline constexpr uint32_t kChunkMagic = 0x4b4e4843; /* "CHNK" */

/* One call in the raw tail, and what the columns of a chunk are made of. */
struct CallRow {
    int64_t time;     /* ns since the session's start, of entry */
    int64_t duration; /* ns; of an unreturned call until its process ended */
    uint64_t caller;
    uint64_t args[3];
    uint32_t thread;
    uint32_t sequence;
    uint32_t parent;
    uint32_t payload; /* blob number, 0 none */
    int32_t result;
    uint16_t process;
    uint16_t function;
    uint8_t flags;
    uint8_t nesting;
    uint16_t reserved;
    uint32_t check; /* row_check() of all before it and of the row's number */
};
static_assert(sizeof(CallRow) == 80 && offsetof(CallRow, check) == 76);

enum class CallFlag : uint8_t {
    Internal = 1,
    Unreturned = 2,
    Truncated = 4,
    LostBefore = 8,
    LinkTime = 16,
};

/* calls.tail: this, then kTailRows rows from kTailHeaderSize on; row n lies at n % kTailRows. */
struct TailHead {
    StreamHead head;
    uint32_t capacity;
    uint32_t header_size;
    uint64_t rows;      /* published: stored with release once the rows are there */
    uint64_t rows_copy; /* xor kRowsKey */
    /* Records of the other streams, stored once they are in their files: by these a reader tells a
     * stream that was cut between two records. Zero with a zero copy: of a writer that had no such. */
    uint64_t lines, lines_copy;
    uint64_t events, events_copy;
    uint64_t blobs, blobs_copy;
    /* At most so many rows behind `rows` are being written now. A reader that finds row n less than
     * capacity - ahead behind `rows` after it has read it knows that it was whole. 0: not known. */
    uint64_t ahead;
};
static_assert(sizeof(TailHead) == 96);

/* inflight: this, then the calls under way; `generation` is odd while they are being written. */
struct InFlightHead {
    StreamHead head;
    uint64_t generation;
    int64_t time; /* ns since the session's start, of this refresh */
    uint32_t count;
    uint32_t crc; /* of the head before it */
};
static_assert(sizeof(InFlightHead) == 40 && offsetof(InFlightHead, crc) == 36);

struct InFlightRow {
    int64_t started;
    uint64_t caller;
    uint64_t args[4];
    uint32_t thread;
    uint32_t sequence;
    uint32_t parent;
    uint16_t process;
    uint16_t function;
    uint32_t reserved;
    uint32_t check; /* row_check() with its place as the number */
};
static_assert(sizeof(InFlightRow) == 72 && offsetof(InFlightRow, check) == 68);

/* calls.index: one entry a seal. */
struct ChunkEntry {
    uint64_t first_row;
    uint64_t offset; /* in calls.dat */
    int64_t time_min;
    int64_t time_max;
    uint32_t length;
    uint32_t rows;
    uint32_t reserved;
    uint32_t crc; /* of the entry before it */
};
static_assert(sizeof(ChunkEntry) == 48 && offsetof(ChunkEntry, crc) == 44);

/* calls.dat: chunks of head, directory, columns. */
struct ChunkHead {
    uint32_t magic;
    uint32_t rows;
    uint64_t first_row;
    uint32_t columns;
    uint32_t crc; /* of the head before it, then of the directory */
};
static_assert(sizeof(ChunkHead) == 24 && offsetof(ChunkHead, crc) == 20);

struct ColumnEntry {
    uint8_t column;
    uint8_t encoding;
    uint8_t width; /* bytes a value: 1, 2, 4 or 8 */
    uint8_t reserved;
    uint32_t length; /* as stored */
    uint32_t raw;    /* before zstd */
    uint32_t crc;    /* as stored */
};
static_assert(sizeof(ColumnEntry) == 16);

enum class Column : uint8_t {
    Time,
    Duration,
    Process,
    Thread,
    Sequence,
    Parent,
    Function,
    Flags,
    Result,
    Caller,
    Arg0,
    Arg1,
    Arg2,
    Payload,
    Nesting,
};
inline constexpr uint32_t kColumns = 15;

enum class Encoding : uint8_t {
    Constant,    /* one value of `width` bytes */
    Plain,       /* byte planes: first byte of every value, then the second, ... ; zstd */
    Delta,       /* difference to the value before, zigzag, byte planes; zstd */
    Dictionary,  /* u16 n, n values of `width`, one byte a row; zstd */
    ThreadDelta, /* as Delta, the value before being that of the same process and thread */
};

/* blobs.index: number of a blob = its place, from 1. */
struct BlobEntry {
    uint64_t offset; /* in blobs.dat */
    uint32_t length;
    uint32_t crc; /* of the entry before it, then of the data */
};
static_assert(sizeof(BlobEntry) == 16);

/* buffers.index: number of a buffer = its place, from 1. */
struct BufferEntry {
    uint64_t offset;    /* in buffers.dat */
    uint64_t stored;    /* bytes there: zstd frames of kBufferPiece bytes each, the last one shorter */
    uint64_t length;    /* of the content */
    uint64_t digest[2]; /* of the content: buffers of equal digest and length are one */
    uint32_t data_crc;  /* of the stored bytes */
    uint32_t crc;       /* of the entry before it */
};
static_assert(sizeof(BufferEntry) == 48 && offsetof(BufferEntry, crc) == 44);
inline constexpr uint64_t kBufferPiece = 8 << 20;

/* The data of a payload's item of kind 9. */
enum class BufferState : uint8_t { Kept, OverLimit, Unreadable, Dropped, LeftOut };
struct BufferItem {
    uint64_t buffer; /* its number; 0 when it was not kept */
    uint64_t length;
    uint32_t sequence; /* 0: of this call; else of the copy, by `thread`, that filled it */
    uint32_t thread;
    BufferState state;
    uint8_t output;
    uint16_t reserved;
    uint32_t reserved_word;
};
static_assert(sizeof(BufferItem) == 32);

enum class LogStream : uint8_t { Stdout, Stderr, Build, Host, Shim };
enum class LogRole : uint8_t { Target, Host, Build, Exercise, Shim, Workbench };
inline constexpr uint8_t kLineTorn = 1;     /* ends without a newline */
inline constexpr uint8_t kLineInPieces = 2; /* what is stored of it begins with where its pieces are */

/* log.index: one entry a line. log.partial holds the same entries, each followed by its text; there
 * `offset` is how many lines were in log.index. */
struct LogEntry {
    uint64_t offset; /* in log.bytes */
    int64_t time;
    uint64_t after_call; /* calls recorded before it */
    uint32_t length;     /* newline included */
    uint32_t pid;
    int32_t process; /* -1 none */
    LogStream stream;
    LogRole role;
    uint8_t flags;
    uint8_t reserved;
    uint32_t text_crc;
    uint32_t crc; /* of the entry before it */
};
static_assert(sizeof(LogEntry) == 48 && offsetof(LogEntry, crc) == 44);

/* What is stored of a line in pieces: a u64 of how many there are, these, and the rest of its text. The
 * entry's length and CRC are those of the whole text. */
struct LinePiece {
    uint64_t offset; /* in log.bytes */
    uint64_t length;
};
static_assert(sizeof(LinePiece) == 16);

/* What a payload is made of: heads with padded data behind them, as the tap records them. */
struct PayloadItem {
    uint8_t kind;
    uint8_t index;
    uint16_t length;
    uint32_t original;
};
static_assert(sizeof(PayloadItem) == 8);

} // namespace shimbench::session

#endif
