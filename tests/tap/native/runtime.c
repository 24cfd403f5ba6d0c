/* Asks a CUDA runtime for its devices, as ggml does: `runtime LIBCUDART`. */
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    void *runtime = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (!runtime) {
        printf("%s\n", dlerror());
        return 1;
    }
    int (*device_count)(int *) = (int (*)(int *))dlsym(runtime, "cudaGetDeviceCount");
    const char *(*text)(int) = (const char *(*)(int))dlsym(runtime, "cudaGetErrorString");
    int (*memory)(size_t *, size_t *) = (int (*)(size_t *, size_t *))dlsym(runtime, "cudaMemGetInfo");
    int count = -1;
    int error = device_count(&count);
    printf("devices %d, error %d: %s\n", count, error, text(error));
    if (error == 0) {
        size_t free = 0, total = 0;
        error = memory(&free, &total);
        printf("memory %zu of %zu, error %d: %s\n", free, total, error, text(error));
    }
    return 0;
}
