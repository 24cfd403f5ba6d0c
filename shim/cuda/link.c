/* Linking: texts of PTX are put together, and what comes of it is such a text, which cuModuleLoadData takes.
 * A cubin or fat binary is taken when it is all there is; nothing here reads other objects. */
#include <stdlib.h>
#include <string.h>

#include "cuda/context.h"
#include "cuda/library.h"
#include "cuda/shim.h"

struct CUlinkState_st {
    char *code; /* with a NUL behind it */
    size_t bytes;
    int is_text;
    unsigned option_count; /* where the program wants its logs */
    CUjit_option *options;
    void **given;  /* their values as they were at first: sizes say how much room there is */
    void **values; /* the program's own array, where sizes are written back; CUDA demands that it lives as
                      long */
};

EXPORT CUresult cuLinkCreate_v2(unsigned int count, CUjit_option *options, void **values,
                                CUlinkState *state) {
    if (!state || (count && (!options || !values)))
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_ready();
    if (result != CUDA_SUCCESS)
        return result;
    struct CUlinkState_st *made = calloc(1, sizeof(*made));
    if (!made)
        return CUDA_ERROR_OUT_OF_MEMORY;
    made->options = calloc(count + 1, sizeof(*options));
    made->given = calloc(count + 1, sizeof(*values));
    if (!made->options || !made->given) {
        (void)cuLinkDestroy(made);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    for (unsigned n = 0; n < count; n++) {
        made->options[n] = options[n];
        made->given[n] = values[n];
    }
    made->option_count = count;
    made->values = values;
    *state = made;
    return CUDA_SUCCESS;
}

/* Whether the code can be read; the log goes where the program wants it. */
static CUresult checked(const struct CUlinkState_st *state, const char *code) {
    CUmodule module;
    for (unsigned n = 0; n < state->option_count; n++)
        state->values[n] = state->given[n];
    CUresult result =
        forward_cuModuleLoadDataEx(&module, code, state->option_count, state->options, state->values);
    return result == CUDA_SUCCESS ? forward_cuModuleUnload(module) : result;
}

static CUresult add_text(struct CUlinkState_st *state, const char *text, size_t size) {
    while (size && !text[size - 1])
        size--;
    char *whole = malloc(state->bytes + size + 2);
    if (!whole)
        return CUDA_ERROR_OUT_OF_MEMORY;
    char *added = whole + state->bytes;
    memcpy(added, text, size);
    added[size] = '\n';
    added[size + 1] = 0;
    CUresult result = memchr(text, 0, size) ? CUDA_ERROR_INVALID_PTX : checked(state, added);
    if (result != CUDA_SUCCESS) {
        free(whole);
        return result;
    }
    if (state->bytes)
        memcpy(whole, state->code, state->bytes);
    free(state->code);
    state->code = whole;
    state->bytes += size + 1;
    state->is_text = 1;
    return CUDA_SUCCESS;
}

static CUresult add_alone(struct CUlinkState_st *state, const void *data, size_t size) {
    if (state->bytes)
        return CUDA_ERROR_NOT_SUPPORTED;
    char *copy = malloc(size + 1);
    if (!copy)
        return CUDA_ERROR_OUT_OF_MEMORY;
    memcpy(copy, data, size);
    copy[size] = 0;
    free(state->code);
    state->code = copy;
    state->bytes = size;
    return CUDA_SUCCESS;
}

EXPORT CUresult cuLinkAddData_v2(CUlinkState state, CUjitInputType type, void *data, size_t size,
                                 const char *name, unsigned int count, CUjit_option *options, void **values) {
    (void)name, (void)count, (void)options, (void)values; /* they steer a compiler that is not there */
    if (!state || !data || !size)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_ready();
    if (result != CUDA_SUCCESS)
        return result;
    if (state->bytes && !state->is_text)
        return CUDA_ERROR_NOT_SUPPORTED;
    if (type == CU_JIT_INPUT_PTX)
        return add_text(state, data, size);
    if (type == CU_JIT_INPUT_FATBINARY || type == CU_JIT_INPUT_CUBIN)
        return add_alone(state, data, size);
    return CUDA_ERROR_NOT_SUPPORTED;
}

EXPORT CUresult cuLinkAddFile_v2(CUlinkState state, CUjitInputType type, const char *path, unsigned int count,
                                 CUjit_option *options, void **values) {
    void *data;
    size_t size;
    if (!state || !path)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_ready() ?: read_image(path, &data, &size);
    if (result != CUDA_SUCCESS)
        return result;
    result = cuLinkAddData_v2(state, type, data, size, path, count, options, values);
    free(data);
    return result;
}

EXPORT CUresult cuLinkComplete(CUlinkState state, void **cubin, size_t *size) {
    if (!state || !cubin || !state->bytes)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = context_ready() ?: checked(state, state->code);
    if (result != CUDA_SUCCESS)
        return result;
    *cubin = state->code;
    if (size)
        *size = state->bytes + (state->is_text ? 1 : 0);
    return CUDA_SUCCESS;
}

EXPORT CUresult cuLinkDestroy(CUlinkState state) {
    if (!state)
        return CUDA_ERROR_INVALID_VALUE;
    free(state->code);
    free(state->options);
    free(state->given);
    free(state);
    return CUDA_SUCCESS;
}
