/* How many blocks fit on a multiprocessor: asked before every launch of some kernels, so the answers
 * are kept. */
#include "cuda/answer_cache.h"
#include "cuda/context.h"
#include "cuda/shim.h"

EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function,
                                                                     int block_size, size_t shared_bytes,
                                                                     unsigned int flags) {
    struct answer_key key = {ASKED_ACTIVE_BLOCKS, function, (uint64_t)(unsigned)block_size << 32 | flags,
                             shared_bytes};
    uint64_t generation;
    if (!blocks)
        return CUDA_ERROR_INVALID_VALUE;
    if (answer_find(key, blocks, &generation))
        return context_ready();
    CUresult result = context_ready()
                          ?: forward_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
                                 blocks, function, block_size, shared_bytes, flags);
    if (result == CUDA_SUCCESS)
        answer_keep(key, *blocks, generation);
    return result;
}

EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int block_size,
                                                            size_t shared_bytes) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, block_size, shared_bytes,
                                                                0);
}

EXPORT CUresult cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, CUfunction function, int blocks,
                                                        int block_size) {
    if (!bytes)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready()
               ?: forward_cuOccupancyAvailableDynamicSMemPerBlock(bytes, function, blocks, block_size);
}
