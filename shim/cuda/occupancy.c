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

/* The block size at which a multiprocessor has the most threads, the largest of those; and a grid that fills
 * the device with such blocks. */
EXPORT CUresult cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid_size, int *block_size,
                                                          CUfunction function,
                                                          CUoccupancyB2DSize shared_bytes_of,
                                                          size_t shared_bytes, int limit,
                                                          unsigned int flags) {
    CUdevice device;
    int warp = 0, processors = 0, most = 0, best = 0;
    if (!grid_size || !block_size || limit < 0)
        return CUDA_ERROR_INVALID_VALUE;
    CUresult result = cuCtxGetDevice(&device)
                          ?: cuDeviceGetAttribute(&warp, CU_DEVICE_ATTRIBUTE_WARP_SIZE, device)
                          ?: cuDeviceGetAttribute(&processors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device)
                          ?: cuFuncGetAttribute(&most, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, function);
    if (result != CUDA_SUCCESS)
        return result;
    if (limit && limit < most)
        most = limit;
    for (int size = most; size > 0; size = (size - 1) / warp * warp) {
        int blocks = 0;
        result = cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
            &blocks, function, size, shared_bytes_of ? shared_bytes_of(size) : shared_bytes, flags);
        if (result != CUDA_SUCCESS)
            return result;
        if (blocks * size > best) {
            best = blocks * size;
            *block_size = size;
            *grid_size = blocks * processors;
        }
    }
    return best ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

EXPORT CUresult cuOccupancyMaxPotentialBlockSize(int *grid_size, int *block_size, CUfunction function,
                                                 CUoccupancyB2DSize shared_bytes_of, size_t shared_bytes,
                                                 int limit) {
    return cuOccupancyMaxPotentialBlockSizeWithFlags(grid_size, block_size, function, shared_bytes_of,
                                                     shared_bytes, limit, 0);
}
