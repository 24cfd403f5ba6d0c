/* Launches. The driver API passes pointers to the parameters without their number or sizes, so the
 * layout of each kernel is asked of the host once, and kept. */
#include <stdlib.h>

#include <forward.h>

#include "wire/barrier.h"
#include "wire/call.h"
#include "wire/state.h"

enum { LAYOUT_BITS = 14, LAYOUT_PROBES = 32 };

struct wire_layout {
    uint64_t function;
    uint32_t bytes; /* of the whole parameter buffer */
    uint32_t count;
    struct {
        uint32_t offset;
        uint32_t size;
    } parameters[];
};

static uint64_t first_probe(uint64_t function) {
    return (function >> 4) * 0x9e3779b97f4a7c15ull >> (64 - LAYOUT_BITS);
}

static const struct wire_layout *known_layout(struct wire_state *state, uint64_t function) {
    struct wire_layout **table = __atomic_load_n(&state->layouts, __ATOMIC_ACQUIRE);
    uint64_t at = first_probe(function);
    for (unsigned probe = 0; table && probe < LAYOUT_PROBES; probe++) {
        const struct wire_layout *layout =
            __atomic_load_n(&table[(at + probe) % (1u << LAYOUT_BITS)], __ATOMIC_ACQUIRE);
        if (!layout || layout->function == function)
            return layout;
    }
    return NULL;
}

/* Layouts live as long as the process: handles are never given twice. */
static const struct wire_layout *keep_layout(struct wire_state *state, struct wire_layout *made) {
    const struct wire_layout *kept = NULL;
    wire_lock(&state->layout_lock);
    if (!state->layouts)
        __atomic_store_n(&state->layouts, calloc(1u << LAYOUT_BITS, sizeof(void *)), __ATOMIC_RELEASE);
    uint64_t at = first_probe(made->function);
    for (unsigned probe = 0; state->layouts && !kept && probe < LAYOUT_PROBES; probe++) {
        struct wire_layout **place = &state->layouts[(at + probe) % (1u << LAYOUT_BITS)];
        if (*place && (*place)->function != made->function)
            continue;
        if (!*place)
            __atomic_store_n(place, made, __ATOMIC_RELEASE);
        kept = *place;
    }
    wire_unlock(&state->layout_lock);
    if (kept != made)
        free(made);
    return kept;
}

static CUresult ask_layout(uint64_t function, const struct wire_layout **layout) {
    struct wire_call call;
    struct wire_layout *made = NULL;
    CUresult result = wire_begin(&call, WIRE_FN_LAYOUT, WIRE_BLOCKING, 8);
    if (result != CUDA_SUCCESS)
        return result;
    wire_put(&call, function);
    result = wire_ask(&call);
    size_t bytes = (size_t)(call.answer_end - call.answer);
    if (result == CUDA_SUCCESS && bytes >= 8 && bytes % 8 == 0) {
        uint64_t total;
        wire_take(&call, &total, sizeof(total));
        made = malloc(sizeof(*made) + bytes - 8);
        if (made) {
            made->function = function;
            made->bytes = (uint32_t)total;
            made->count = (uint32_t)(bytes / 8 - 1);
            wire_take(&call, made->parameters, bytes - 8);
        }
    }
    wire_end(&call);
    if (result != CUDA_SUCCESS)
        return result;
    *layout = made ? keep_layout(wire_state(), made) : NULL;
    return *layout ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* The parameter buffer as the caller packed it, given through `extra`. */
static bool packed_parameters(void **extra, const void **buffer, size_t *bytes) {
    *buffer = NULL;
    *bytes = 0;
    for (; extra && *extra != CU_LAUNCH_PARAM_END; extra += 2) {
        if (extra[0] == CU_LAUNCH_PARAM_BUFFER_POINTER)
            *buffer = extra[1];
        else if (extra[0] == CU_LAUNCH_PARAM_BUFFER_SIZE && extra[1])
            *bytes = *(size_t *)extra[1];
        else
            return false;
    }
    return *bytes <= WIRE_PARAMETER_BYTES && (*buffer || !*bytes);
}

static void put_parameters(unsigned char *buffer, const struct wire_layout *layout, void **parameters) {
    memset(buffer, 0, layout->bytes);
    for (uint32_t n = 0; n < layout->count; n++) {
        uint32_t offset = layout->parameters[n].offset, size = layout->parameters[n].size;
        if (size <= layout->bytes && offset <= layout->bytes - size)
            memcpy(buffer + offset, parameters[n], size);
    }
}

/* Whether all blocks of a cooperative launch find room at once. The host refuses them too, but later:
 * programs want this error from the launch. As many blocks as there are multiprocessors always fit, unasked.
 */
static CUresult check_room(const struct wire_launch *launch, CUfunction f) {
    const struct wire_state *state = wire_connection();
    const uint64_t processors =
        state ? (uint32_t)state->device.attributes[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT] : 0;
    const uint64_t blocks = (uint64_t)launch->grid[0] * launch->grid[1] * launch->grid[2];
    const uint64_t threads = (uint64_t)launch->block[0] * launch->block[1] * launch->block[2];
    int room = 0;
    if (blocks <= processors || threads > INT32_MAX)
        return CUDA_SUCCESS;
    CUresult result =
        forward_cuOccupancyMaxActiveBlocksPerMultiprocessor(&room, f, (int)threads, launch->shared_bytes);
    if (result == CUDA_SUCCESS && blocks > processors * (uint64_t)room)
        return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
    return result;
}

static CUresult launch(struct wire_launch *launch, CUfunction f, void **parameters, void **extra) {
    struct wire_state *state = wire_connection();
    const struct wire_layout *layout = NULL;
    const void *packed = NULL;
    size_t bytes = 0;
    struct wire_call call;
    CUresult result = CUDA_SUCCESS;
    launch->function = (uint64_t)(uintptr_t)f;
    if (launch->cooperative)
        result = check_room(launch, f);
    if (result != CUDA_SUCCESS)
        return result;
    if (parameters || !extra) {
        layout = state ? known_layout(state, launch->function) : NULL;
        if (!layout)
            result = ask_layout(launch->function, &layout);
        if (result != CUDA_SUCCESS)
            return result;
        bytes = layout->bytes;
        if (bytes && !parameters)
            return CUDA_ERROR_INVALID_VALUE;
    } else if (!packed_parameters(extra, &packed, &bytes)) {
        return CUDA_ERROR_INVALID_VALUE;
    }
    launch->parameter_bytes = (uint32_t)bytes;
    result = wire_begin(&call, WIRE_FN_LAUNCH, WIRE_POSTED, sizeof(*launch) + bytes);
    if (result != CUDA_SUCCESS)
        return result;
    wire_put_struct(&call, launch, sizeof(*launch));
    if (layout)
        put_parameters(call.at, layout, parameters);
    else if (bytes)
        memcpy(call.at, packed, bytes);
    return wire_post(&call);
}

CUresult forward_cuLaunchKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                                unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY,
                                unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream,
                                void **kernelParams, void **extra) {
    struct wire_launch call = {.stream = (uint64_t)(uintptr_t)hStream,
                               .grid = {gridDimX, gridDimY, gridDimZ},
                               .block = {blockDimX, blockDimY, blockDimZ},
                               .shared_bytes = sharedMemBytes};
    return launch(&call, f, kernelParams, extra);
}

CUresult forward_cuLaunchCooperativeKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY,
                                           unsigned int gridDimZ, unsigned int blockDimX,
                                           unsigned int blockDimY, unsigned int blockDimZ,
                                           unsigned int sharedMemBytes, CUstream hStream,
                                           void **kernelParams) {
    struct wire_launch call = {.stream = (uint64_t)(uintptr_t)hStream,
                               .grid = {gridDimX, gridDimY, gridDimZ},
                               .block = {blockDimX, blockDimY, blockDimZ},
                               .shared_bytes = sharedMemBytes,
                               .cooperative = 1};
    return launch(&call, f, kernelParams, NULL);
}

/* Attributes that only hint at scheduling change nothing that can be observed here. */
static CUresult apply_attribute(struct wire_launch *call, const CUlaunchAttribute *attribute) {
    switch (attribute->id) {
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
        call->cluster[0] = attribute->value.clusterDim.x;
        call->cluster[1] = attribute->value.clusterDim.y;
        call->cluster[2] = attribute->value.clusterDim.z;
        return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE:
        call->cooperative = attribute->value.cooperative != 0;
        return CUDA_SUCCESS;
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
    case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
    case CU_LAUNCH_ATTRIBUTE_PRIORITY:
        return CUDA_SUCCESS;
    default:
        return CUDA_ERROR_NOT_SUPPORTED;
    }
}

CUresult forward_cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **kernelParams,
                                  void **extra) {
    if (!config || (config->numAttrs && !config->attrs))
        return CUDA_ERROR_INVALID_VALUE;
    struct wire_launch call = {.stream = (uint64_t)(uintptr_t)config->hStream,
                               .grid = {config->gridDimX, config->gridDimY, config->gridDimZ},
                               .block = {config->blockDimX, config->blockDimY, config->blockDimZ},
                               .shared_bytes = config->sharedMemBytes};
    CUresult result = CUDA_SUCCESS;
    for (unsigned int n = 0; n < config->numAttrs && result == CUDA_SUCCESS; n++)
        result = apply_attribute(&call, &config->attrs[n]);
    return result == CUDA_SUCCESS ? launch(&call, f, kernelParams, extra) : result;
}
