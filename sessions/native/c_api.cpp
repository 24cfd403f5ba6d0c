// The writer for Python (sessions/writer.py, by cffi): flat functions, errors as text.
#include "writer.hpp"

#include <cstring>
#include <exception>

using namespace shimbench::session;

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

thread_local std::string last_error;

} // namespace

EXPORTED const char *shimbench_session_error() {
    return last_error.c_str();
}

EXPORTED void *shimbench_session_open(const char *directory, const char *tool, const char *model,
                                      size_t model_size) {
    try {
        return new Writer(directory, tool, {model, model_size});
    } catch (const std::exception &error) {
        last_error = error.what();
        return nullptr;
    }
}

// A copy of a session: `machine` is a JSON object, the times are those of the original's start.
EXPORTED void *shimbench_session_open_copy(const char *directory, const char *tool, const char *model,
                                           size_t model_size, int64_t start_mono_ns, int64_t start_unix_ns,
                                           const char *machine) {
    try {
        return new Writer(directory, tool, {model, model_size}, 0, {start_mono_ns, start_unix_ns, machine});
    } catch (const std::exception &error) {
        last_error = error.what();
        return nullptr;
    }
}

EXPORTED int64_t shimbench_session_now(void *writer) {
    return static_cast<Writer *>(writer)->now();
}

EXPORTED uint32_t shimbench_session_blob(void *writer, const void *data, size_t size) {
    return static_cast<Writer *>(writer)->blob({static_cast<const std::byte *>(data), size});
}

EXPORTED uint64_t shimbench_session_buffer(void *writer, const void *data, uint64_t size) {
    auto *from = static_cast<const std::byte *>(data);
    return static_cast<Writer *>(writer)->buffer(size, [&](uint64_t at, std::span<std::byte> to) {
        std::memcpy(to.data(), from + at, to.size());
        return true;
    });
}

// `rows` are CallRow records; their checks are made here.
EXPORTED void shimbench_session_calls(void *writer, const void *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        CallRow row;
        std::memcpy(&row, static_cast<const std::byte *>(rows) + i * sizeof row, sizeof row);
        static_cast<Writer *>(writer)->call(row);
    }
}

EXPORTED void shimbench_session_line(void *writer, int64_t time, uint32_t pid, int32_t process,
                                     uint8_t stream, uint8_t role, int torn, const char *text, size_t size) {
    Line line{time, pid, process, static_cast<LogStream>(stream), static_cast<LogRole>(role), torn != 0};
    static_cast<Writer *>(writer)->line(line, {text, size});
}

// As a line is written whose pieces of `piece` bytes came long before its end; 0 when the disk is full.
EXPORTED int shimbench_session_line_in_pieces(void *writer, int64_t time, uint32_t pid, int32_t process,
                                              uint8_t stream, uint8_t role, int torn, const char *text,
                                              size_t size, size_t piece) {
    Line line{time, pid, process, static_cast<LogStream>(stream), static_cast<LogRole>(role), torn != 0};
    BegunLine begun;
    for (; size > piece; text += piece, size -= piece)
        if (!static_cast<Writer *>(writer)->keep_piece(begun, {text, piece}))
            return 0;
    static_cast<Writer *>(writer)->line(line, {text, size}, begun);
    return 1;
}

EXPORTED void shimbench_session_event(void *writer, int64_t time, const char *kind, const char *body,
                                      size_t size) {
    static_cast<Writer *>(writer)->event(time, kind, {body, size});
}

EXPORTED void shimbench_session_in_flight(void *writer, int64_t time, const void *rows, size_t count) {
    std::vector<InFlightRow> copy(count);
    if (count)
        std::memcpy(copy.data(), rows, count * sizeof(InFlightRow));
    static_cast<Writer *>(writer)->in_flight(time, copy);
}

EXPORTED int shimbench_session_publish(void *writer) {
    return static_cast<Writer *>(writer)->publish();
}

EXPORTED void shimbench_session_finish(void *writer) {
    static_cast<Writer *>(writer)->finish();
}

// Without finish() the session stays as a killed writer leaves it.
EXPORTED void shimbench_session_close(void *writer) {
    delete static_cast<Writer *>(writer);
}
