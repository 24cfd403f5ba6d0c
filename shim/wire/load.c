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

static CUresult load(enum wire_load_kind kind, const void *code, uint64_t *handle) {
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
    wire_take(&call, handle, sizeof(*handle));
    wire_end(&call);
    return result;
}

/* JIT options and library options steer a compiler that is not there; cuBLAS passes a count with a
 * NULL array, so they are not even looked at. */
CUresult forward_cuLibraryLoadData(CUlibrary *library, const void *code, CUjit_option *jitOptions,
                                   void **jitOptionsValues, unsigned int numJitOptions,
                                   CUlibraryOption *libraryOptions, void **libraryOptionValues,
                                   unsigned int numLibraryOptions) {
    (void)jitOptions, (void)jitOptionsValues, (void)numJitOptions;
    (void)libraryOptions, (void)libraryOptionValues, (void)numLibraryOptions;
    return load(WIRE_LOAD_LIBRARY, code, (uint64_t *)library);
}

CUresult forward_cuModuleLoadData(CUmodule *module, const void *image) {
    return load(WIRE_LOAD_MODULE, image, (uint64_t *)module);
}

CUresult forward_cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned int numOptions,
                                    CUjit_option *options, void **optionValues) {
    (void)numOptions, (void)options, (void)optionValues;
    return load(WIRE_LOAD_MODULE, image, (uint64_t *)module);
}

CUresult forward_cuModuleLoadFatBinary(CUmodule *module, const void *fatCubin) {
    return load(WIRE_LOAD_MODULE, fatCubin, (uint64_t *)module);
}
