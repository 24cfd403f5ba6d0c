/* Modules and libraries. The API passes a pointer to an image without its length; the image's own
 * header says it, and the whole is sent ahead of the call. */
#include <elf.h>

#include <forward.h>

#include "wire/call.h"
#include "wire/state.h"

enum { FATBIN_WRAPPER = 0x466243b1, FATBIN_CONTAINER = 0xba55ed50u };

struct fatbin_wrapper {
    uint32_t magic;
    uint32_t version;
    const void *container;
    const void *others;
};

static uint64_t elf_bytes(const unsigned char *image) {
    Elf64_Ehdr head;
    memcpy(&head, image, sizeof(head));
    uint64_t end = sizeof(head);
    uint64_t sections = head.e_shoff + (uint64_t)head.e_shnum * head.e_shentsize;
    uint64_t segments = head.e_phoff + (uint64_t)head.e_phnum * head.e_phentsize;
    end = sections > end ? sections : end;
    end = segments > end ? segments : end;
    for (unsigned n = 0; head.e_shoff && n < head.e_shnum && head.e_shentsize >= sizeof(Elf64_Shdr); n++) {
        Elf64_Shdr section;
        memcpy(&section, image + head.e_shoff + (uint64_t)n * head.e_shentsize, sizeof(section));
        if (section.sh_type != SHT_NOBITS && section.sh_offset + section.sh_size > end)
            end = section.sh_offset + section.sh_size;
    }
    return end;
}

/* Where the image to send begins, and its bytes. */
static const unsigned char *measured(const void *code, uint64_t *bytes) {
    uint32_t magic;
    memcpy(&magic, code, sizeof(magic));
    if (magic == FATBIN_WRAPPER) {
        struct fatbin_wrapper wrapper;
        memcpy(&wrapper, code, sizeof(wrapper));
        code = wrapper.container;
        memcpy(&magic, code, sizeof(magic));
    }
    if (magic == FATBIN_CONTAINER) {
        memcpy(bytes, (const unsigned char *)code + 8, sizeof(*bytes));
        *bytes += 16;
    } else if (!memcmp(code, ELFMAG, SELFMAG)) {
        *bytes = elf_bytes(code);
    } else {
        *bytes = strlen(code) + 1;
    }
    return code;
}

/* Where a program wants to be told what its code is like: places in its array of option values. */
struct jit_log {
    char *buffer;
    void **room; /* in: the buffer's bytes; out: those filled, in the lower half */
};

static struct jit_log jit_log(unsigned count, const CUjit_option *options, void **values, CUjit_option buffer,
                              CUjit_option bytes) {
    struct jit_log log = {NULL, NULL};
    for (unsigned n = 0; options && values && n < count; n++) {
        if (options[n] == buffer)
            log.buffer = values[n];
        if (options[n] == bytes)
            log.room = &values[n];
    }
    return log;
}

static void write_log(struct jit_log log, const char *text, size_t length) {
    unsigned room = 0;
    if (!log.room)
        return;
    memcpy(&room, log.room, sizeof(room));
    size_t written = 0;
    if (log.buffer && room) {
        written = length < room - 1 ? length : room - 1;
        memcpy(log.buffer, text, written);
        log.buffer[written] = 0;
    }
    *log.room = (void *)written;
}

/* Takes the complaints out of the answer; what was told of earlier stays where all is well. */
static void take_log(struct wire_call *call, unsigned count, const CUjit_option *options, void **values) {
    char text[WIRE_LOAD_LOG_MAX];
    uint64_t length = 0;
    wire_take(call, &length, sizeof(length));
    if (length > sizeof(text))
        length = 0;
    wire_take(call, text, length);
    write_log(jit_log(count, options, values, CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES),
              text, length);
    write_log(jit_log(count, options, values, CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES), "",
              0);
}

static CUresult load(enum wire_load_kind kind, const void *code, uint64_t *handle, unsigned count,
                     const CUjit_option *options, void **values) {
    struct wire_load load = {.kind = kind};
    struct wire_call call;
    if (!code || !handle)
        return CUDA_ERROR_INVALID_VALUE;
    const unsigned char *image = measured(code, &load.bytes);
    if (load.bytes > WIRE_BLOB_MAX)
        return CUDA_ERROR_INVALID_IMAGE;
    CUresult result = wire_upload(WIRE_FN_BLOB, 0, image, load.bytes, NULL);
    if (result != CUDA_SUCCESS)
        return result;
    result = wire_begin(&call, WIRE_FN_LOAD, WIRE_BLOCKING, sizeof(load));
    if (result != CUDA_SUCCESS)
        return result;
    wire_put_struct(&call, &load, sizeof(load));
    result = wire_ask(&call);
    uint64_t made = 0;
    wire_take(&call, &made, sizeof(made));
    if (result == CUDA_SUCCESS)
        *handle = made;
    take_log(&call, count, options, values);
    wire_end(&call);
    return result;
}

/* Of the JIT options those that say where to put logs are followed; the others, and library options, steer a
 * compiler that is not there. cuBLAS passes a count with a NULL array. */
CUresult forward_cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jitOptions,
                                   void **jitOptionsValues, unsigned int numJitOptions,
                                   CUlibraryOption *libraryOptions, void **libraryOptionValues,
                                   unsigned int numLibraryOptions) {
    (void)libraryOptions, (void)libraryOptionValues, (void)numLibraryOptions;
    return load(WIRE_LOAD_LIBRARY, code, (uint64_t *)library, numJitOptions, jitOptions, jitOptionsValues);
}

CUresult forward_cuModuleLoadData(CUmodule *module, const void *image) {
    return load(WIRE_LOAD_MODULE, image, (uint64_t *)module, 0, NULL, NULL);
}

CUresult forward_cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int numOptions,
                                    CUjit_option *options, void **optionValues) {
    return load(WIRE_LOAD_MODULE, image, (uint64_t *)module, numOptions, options, optionValues);
}

CUresult forward_cuModuleLoadFatBinary(CUmodule *module, const void *fatCubin) {
    return load(WIRE_LOAD_MODULE, fatCubin, (uint64_t *)module, 0, NULL, NULL);
}
