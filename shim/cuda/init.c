/* cuInit and what may be called before it. Nothing here runs in a constructor: loading the library
 * has no effect at all, so it may be loaded, and cuInit called, at any time. */
#include "cuda/init.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cuda/config.h"
#include "cuda/shim.h"

enum phase {
    FRESH,
    READY,
    FORKED, /* the parent was initialised: CUDA can't be used in this process any more */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static _Atomic int phase = FRESH;
static bool watching_forks;
static char last_complaint[WIRE_TEXT_BYTES];

void state_lock(void) {
    pthread_mutex_lock(&mutex);
}

void state_unlock(void) {
    pthread_mutex_unlock(&mutex);
}

bool driver_initialized(void) {
    return atomic_load_explicit(&phase, memory_order_acquire) == READY;
}

CUresult driver_ready(void) {
    return driver_initialized() ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}

static void after_fork_in_child(void) {
    if (phase == READY)
        phase = FORKED;
    state_unlock();
}

/* Once per reason: Ollama's processes call cuInit several times. */
static void complain(void) {
    char line[WIRE_TEXT_BYTES + 128];
    if (!strncmp(last_complaint, wire_error(), sizeof last_complaint - 1))
        return;
    snprintf(last_complaint, sizeof last_complaint, "%s", wire_error());
    int length =
        snprintf(line, sizeof line,
                 "shimbench: libcuda.so.1: cuInit: %s; SHIMBENCH_HOST=unix:/path names another socket\n",
                 last_complaint);
    if (write(STDERR_FILENO, line, (size_t)length) < 0)
        return; /* nobody listens */
}

EXPORT CUresult cuInit(unsigned int flags) {
    CUresult result = CUDA_SUCCESS;
    char socket_path[256];
    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (driver_initialized())
        return CUDA_SUCCESS;
    state_lock();
    if (phase == FORKED) {
        result = CUDA_ERROR_NOT_INITIALIZED;
    } else if (phase == FRESH) {
        config_host_socket(socket_path, sizeof socket_path);
        result = wire_connect(socket_path);
        if (result != CUDA_SUCCESS) {
            complain();
            goto out;
        }
        if (!watching_forks && !pthread_atfork(state_lock, state_unlock, after_fork_in_child))
            watching_forks = true;
        atomic_store_explicit(&phase, READY, memory_order_release);
    }
out:
    state_unlock();
    return result;
}

EXPORT CUresult cuDriverGetVersion(int *version) {
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
    *version = config_driver_version();
    return CUDA_SUCCESS;
}

EXPORT CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode *mode) {
    if (!mode)
        return CUDA_ERROR_INVALID_VALUE;
    *mode = CU_MODULE_LAZY_LOADING; /* the host reads a kernel's code when it is first asked for */
    return driver_ready();
}
