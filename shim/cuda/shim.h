/* What every file of libcuda.so.1 needs: NVIDIA's prototypes, the wire, and our visibility. */
#ifndef SHIMBENCH_CUDA_SHIM_H
#define SHIMBENCH_CUDA_SHIM_H

#include <cuda_prototypes.h>
#include <forward.h>

#include "wire/client.h"

/* On the definition of each function of the model, and on nothing else. */
#define EXPORT __attribute__((visibility("default")))

#endif
