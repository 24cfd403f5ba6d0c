/* The road to the host: libcublas is a client of the driver, as NVIDIA's is. It loads a module and
 * launches its kernels; what they do stands in host_kernels.h. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cuda.h>

#include "cublas/cublas.h"
#include "cublas/host_kernels.h"

#define TEXT_OF(number)   #number
#define DIGITS_OF(number) TEXT_OF(number)
#define KERNEL(name, size)                                                                                   \
    ".visible .entry " name "(.param .align 8 .b8 call[" DIGITS_OF(size) "])\n{\n    trap;\n}\n"
#define GEMM(types) KERNEL("gemm_" types, HOST_GEMM_BYTES)

static const char MODULE[] =
    HOST_KERNELS_MARK ".version 6.0\n.target sm_50\n.address_size 64\n" GEMM("f32_f32_f32")
        GEMM("f16_f16_f16") GEMM("f16_f16_f32") GEMM("f16_f32_f32") GEMM("bf16_bf16_f32") GEMM("bf16_f32_f32")
            KERNEL("trsm_f32", HOST_TRSM_BYTES);

enum { KERNELS_MAX = 16, NAME_BYTES = 48 };

struct driver {
    pthread_mutex_t lock;
    __typeof__(&cuLibraryLoadData) load;
    __typeof__(&cuLibraryGetKernel) get_kernel;
    __typeof__(&cuLaunchKernel) launch;
    CUlibrary library;
    unsigned count;
    struct {
        char name[NAME_BYTES];
        CUkernel kernel;
    } kernels[KERNELS_MAX];
};

static struct driver the_driver = {.lock = PTHREAD_MUTEX_INITIALIZER};

static enum cublas_status status_of(CUresult result) {
    switch (result) {
    case CUDA_SUCCESS:
        return CUBLAS_STATUS_SUCCESS;
    case CUDA_ERROR_OUT_OF_MEMORY:
        return CUBLAS_STATUS_ALLOC_FAILED;
    case CUDA_ERROR_NOT_INITIALIZED:
    case CUDA_ERROR_DEINITIALIZED:
    case CUDA_ERROR_INVALID_CONTEXT:
        return CUBLAS_STATUS_NOT_INITIALIZED;
    case CUDA_ERROR_NOT_FOUND: /* the host has no kernel of that name */
    case CUDA_ERROR_NOT_SUPPORTED:
    case CUDA_ERROR_INVALID_IMAGE: /* or is none that takes PTX at all */
    case CUDA_ERROR_INVALID_PTX:
    case CUDA_ERROR_NO_BINARY_FOR_GPU:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    default:
        return CUBLAS_STATUS_EXECUTION_FAILED;
    }
}

/* Whatever libcuda.so.1 the program has, a tap's too. It is never closed. */
static bool find_driver(struct driver *driver) {
    if (driver->launch)
        return true;
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return false;
    driver->load = (__typeof__(driver->load))dlsym(library, "cuLibraryLoadData");
    driver->get_kernel = (__typeof__(driver->get_kernel))dlsym(library, "cuLibraryGetKernel");
    if (driver->load && driver->get_kernel)
        driver->launch = (__typeof__(driver->launch))dlsym(library, "cuLaunchKernel");
    return driver->launch;
}

/* A kernel that the host has not is asked for again each time: so each refusal is seen. */
static CUresult find_kernel(struct driver *driver, const char *name, CUkernel *kernel) {
    for (unsigned n = 0; n < driver->count; n++)
        if (!strcmp(driver->kernels[n].name, name)) {
            *kernel = driver->kernels[n].kernel;
            return CUDA_SUCCESS;
        }
    CUresult result = CUDA_SUCCESS;
    if (!driver->library)
        result = driver->load(&driver->library, MODULE, NULL, NULL, 0, NULL, NULL, 0);
    if (result == CUDA_SUCCESS)
        result = driver->get_kernel(kernel, driver->library, name);
    if (result == CUDA_SUCCESS && driver->count < KERNELS_MAX) {
        snprintf(driver->kernels[driver->count].name, NAME_BYTES, "%s", name);
        driver->kernels[driver->count++].kernel = *kernel;
    }
    return result;
}

enum cublas_status launch_host_kernel(const struct cublas *handle, const char *name, const void *parameter) {
    struct driver *driver = &the_driver;
    CUkernel kernel = NULL;
    CUresult result = CUDA_ERROR_NOT_SUPPORTED;
    pthread_mutex_lock(&driver->lock);
    if (find_driver(driver))
        result = find_kernel(driver, name, &kernel);
    pthread_mutex_unlock(&driver->lock);
    if (result == CUDA_SUCCESS)
        result = driver->launch((CUfunction)kernel, 1, 1, 1, 1, 1, 1, 0, handle->stream,
                                (void *[]){(void *)parameter}, NULL);
    return status_of(result);
}
