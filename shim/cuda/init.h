/* Whether the driver was initialised, and what a fork does to that. */
#ifndef SHIMBENCH_CUDA_INIT_H
#define SHIMBENCH_CUDA_INIT_H

#include <cuda.h>
#include <stdbool.h>

/* Guards what changes rarely: initialisation, the list of contexts, context-local storage. Held over
 * a fork, so that the child finds it free. */
void state_lock(void);
void state_unlock(void);

/* Whether cuInit succeeded in this process (in a fork's child: there, not in its parent). */
bool driver_initialized(void);

/* CUDA_SUCCESS, or CUDA_ERROR_NOT_INITIALIZED. */
CUresult driver_ready(void);

#endif
