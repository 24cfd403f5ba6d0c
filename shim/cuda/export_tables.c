/* cuGetExportTable: tables of functions that NVIDIA's runtime and libraries ask for by UUID, beside the
 * public API. What is known of them, and what refusing one does, stands in facts/cudart-bootstrap.md,
 * section 3. All of it is answered inside the process: the tables hold its addresses.
 *
 * A slot that no runtime from 11.7 to 13.5 calls is NULL. */
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "cuda/config.h"
#include "cuda/context.h"
#include "cuda/context_storage.h"
#include "cuda/init.h"
#include "cuda/integrity.h"
#include "cuda/shim.h"

typedef const void *table_word;

/* Most tables begin with their own size in bytes. */
#define SIZE_WORD(slots) ((table_word)(sizeof(table_word) * (slots)))

/* CudartInterface */

/* Called once a device, before the primary context is retained. */
static CUresult get_primary_context(CUcontext *out, CUdevice device) {
    struct context *context = primary_context(device);
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    if (!context)
        return CUDA_ERROR_INVALID_DEVICE;
    *out = context_handle(context);
    return CUDA_SUCCESS;
}

/* In NVIDIA's driver this loads the compilers into the process. Ours are the host's. */
static CUresult load_compilers(void) {
    return CUDA_SUCCESS;
}

/* Runtimes before 12.0 load a module by this one, in the current context; the wrapper is the fatbin's. */
static CUresult load_module(CUmodule *module, const void *wrapper, CUjit_option *options, void **values,
                            unsigned int count) {
    return cuModuleLoadDataEx(module, wrapper, count, options, values);
}

/* They say by this one that a wrapper will be gone: once each, when the program ends or its library is
 * closed. Nothing here points to it. */
static void forget_wrapper(const void *wrapper) {
    (void)wrapper;
}

enum { CUDART_INTERFACE_SLOTS = 16 };
static table_word cudart_interface[CUDART_INTERFACE_SLOTS] = {
    [0] = SIZE_WORD(CUDART_INTERFACE_SLOTS),
    [2] = get_primary_context,
    [6] = load_module,
    [7] = forget_wrapper,
    [12] = load_compilers, /* 13.5 and later */
};

/* ToolsRuntimeCallbackHooks: two buffers in which the runtime looks for hooks of profilers. There are
 * none, so they stay zero. 13.5 insists on 568 and 14 bytes. */
static uint64_t callback_hooks[512];
static uint64_t callback_flags[64];

static void get_callback_hooks(void **buffer, size_t *size) {
    *buffer = callback_hooks;
    *size = sizeof callback_hooks;
}

static void get_callback_flags(void **buffer, size_t *size) {
    *buffer = callback_flags;
    *size = sizeof callback_flags;
}

static table_word tools_runtime_callback_hooks[] = {
    [0] = SIZE_WORD(7), /* 13.5 insists on 7 slots at least */
    [2] = get_callback_hooks,
    [6] = get_callback_flags,
};

/* ToolsTls */

static CUresult get_current_context(CUcontext *out) {
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    *out = context_handle(current_context());
    return CUDA_SUCCESS;
}

static table_word tools_tls[4] = {[0] = SIZE_WORD(4), [2] = get_current_context};

/* ContextLocalStorage, which has no size word. */
static table_word context_local_storage[4] = {
    [0] = context_storage_put,
    [1] = context_storage_delete,
    [2] = context_storage_get,
};

/* ContextChecks: asked whether something is wrong with a context, or with the driver. */

static CUresult check_context(CUcontext ctx, uint32_t *problem, const void **detail) {
    if (!find_context(ctx))
        return CUDA_ERROR_INVALID_CONTEXT;
    *problem = 0;
    *detail = NULL;
    return CUDA_SUCCESS;
}

static uint32_t check_driver(void) {
    return 0;
}

static table_word context_checks[4] = {[0] = SIZE_WORD(4), [2] = check_context, [3] = check_driver};

/* ContextIdentity */
static table_word context_identity[8] = {[0] = SIZE_WORD(8), [4] = cuCtxGetId};

#ifdef SHIMBENCH_INTEGRITY
/* IntegrityCheck. The addresses of this table, of cudart_interface and of the function are hashed, so
 * none of them can be copied or wrapped. */
static CUresult check_integrity(uint32_t version, uint64_t seconds, uint64_t answer[2]);

static table_word integrity_check[3] = {[0] = SIZE_WORD(3), [1] = check_integrity};

static CUresult check_integrity(uint32_t version, uint64_t seconds, uint64_t answer[2]) {
    const struct wire_device *device = wire_device();
    struct integrity_device hashed = {0};
    if (!driver_initialized() || !device)
        return CUDA_ERROR_NOT_INITIALIZED;
    memcpy(hashed.uuid, device->uuid, sizeof hashed.uuid);
    hashed.pci_domain = (int32_t)device->pci_domain;
    hashed.pci_bus = (int32_t)device->pci_bus;
    hashed.pci_device = (int32_t)device->pci_device;
    struct integrity_subject subject = {
        .driver_version = (uint32_t)config_driver_version(),
        .version = version,
        .process = (uint32_t)getpid(),
        .thread = (uint32_t)pthread_self(),
        .cudart_interface = cudart_interface,
        .integrity_check = integrity_check,
        .function = integrity_check[1],
        .seconds = seconds,
    };
    integrity_answer(&subject, &hashed, 1, answer);
    return CUDA_SUCCESS;
}
#endif

static const struct export_table {
    uint8_t uuid[16];
    const table_word *words;
} tables[] = {
    {{0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a, 0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d, 0xf9},
     cudart_interface},
    {{0xa0, 0x94, 0x79, 0x8c, 0x2e, 0x74, 0x2e, 0x74, 0x93, 0xf2, 0x08, 0x00, 0x20, 0x0c, 0x0a, 0x66},
     tools_runtime_callback_hooks},
    {{0x42, 0xd8, 0x5a, 0x81, 0x23, 0xf6, 0xcb, 0x47, 0x82, 0x98, 0xf6, 0xe7, 0x8a, 0x3a, 0xec, 0xdc},
     tools_tls},
    {{0xc6, 0x93, 0x33, 0x6e, 0x11, 0x21, 0xdf, 0x11, 0xa8, 0xc3, 0x68, 0xf3, 0x55, 0xd8, 0x95, 0x93},
     context_local_storage},
    {{0x26, 0x3e, 0x88, 0x60, 0x7c, 0xd2, 0x61, 0x43, 0x92, 0xf6, 0xbb, 0xd5, 0x00, 0x6d, 0xfa, 0x7e},
     context_checks},
    {{0x21, 0x31, 0x8c, 0x60, 0x97, 0x14, 0x32, 0x48, 0x8c, 0xa6, 0x41, 0xff, 0x73, 0x24, 0xc8, 0xf2},
     context_identity},
#ifdef SHIMBENCH_INTEGRITY
    {{0xd4, 0x08, 0x20, 0x55, 0xbd, 0xe6, 0x70, 0x4b, 0x8d, 0x34, 0xba, 0x12, 0x3c, 0x66, 0xe1, 0xf2},
     integrity_check},
#endif
};

EXPORT CUresult cuGetExportTable(const void **table, const CUuuid *id) {
    if (!table || !id)
        return CUDA_ERROR_INVALID_VALUE;
    *table = NULL;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        if (!memcmp(tables[i].uuid, id->bytes, sizeof tables[i].uuid)) {
            *table = tables[i].words;
            return CUDA_SUCCESS;
        }
    return CUDA_ERROR_NOT_FOUND;
}
