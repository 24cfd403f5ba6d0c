/* Images in files. */
#ifndef SHIMBENCH_CUDA_LIBRARY_H
#define SHIMBENCH_CUDA_LIBRARY_H

#include "cuda/shim.h"

/* A file's bytes, with a NUL behind them (PTX is text) that is not counted; to be freed. */
CUresult read_image(const char *path, void **image, size_t *bytes);

#endif
