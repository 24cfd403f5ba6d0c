/* Launches. They are posted: an error is told by the next call that synchronises. */
#include "cuda/context.h"
#include "cuda/shim.h"

EXPORT CUresult cuLaunchKernel(CUfunction f, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                               unsigned int block_x, unsigned int block_y, unsigned int block_z,
                               unsigned int shared_bytes, CUstream stream, void **params, void **extra) {
    return context_ready()
               ?: forward_cuLaunchKernel(f, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared_bytes,
                                         stream, params, extra);
}

EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction f, void **params, void **extra) {
    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    return context_ready() ?: forward_cuLaunchKernelEx(config, f, params, extra);
}

/* As if its stream of 0 were the calling thread's. */
EXPORT CUresult cuLaunchKernelEx_ptsz(const CUlaunchConfig *config, CUfunction f, void **params,
                                      void **extra) {
    if (!config)
        return CUDA_ERROR_INVALID_VALUE;
    CUlaunchConfig own = *config;
    if (!own.hStream)
        own.hStream = CU_STREAM_PER_THREAD;
    return cuLaunchKernelEx(&own, f, params, extra);
}

EXPORT CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned int grid_x, unsigned int grid_y,
                                          unsigned int grid_z, unsigned int block_x, unsigned int block_y,
                                          unsigned int block_z, unsigned int shared_bytes, CUstream stream,
                                          void **params) {
    return context_ready()
               ?: forward_cuLaunchCooperativeKernel(f, grid_x, grid_y, grid_z, block_x, block_y, block_z,
                                                    shared_bytes, stream, params);
}
