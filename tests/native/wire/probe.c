/* A client without a shim: reads commands from standard input, one a line, does them over the wire, and
 * answers each with one line. The tests of tests/wire and benchmarks/wire.py drive it.
 *
 *     connect PATH | ping N | alloc BYTES | free ADDRESS | check BYTES | info | device
 *     mapped BYTES | pinned BYTES | events N | spoil | synchronize | load FILE | launch KERNEL | fork | bench
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <forward.h>

#include "probe_bench.h"
#include "wire/client.h"

static CUlibrary library;

static void *file_content(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        return NULL;
    long bytes = ftell(file);
    char *content = calloc(1, (size_t)bytes + 1);
    rewind(file);
    if (content && fread(content, 1, (size_t)bytes, file) != (size_t)bytes) {
        free(content);
        content = NULL;
    }
    fclose(file);
    return content;
}

/* Writes `bytes` to the device, copies them there, reads them back and compares. */
static void check_copies(size_t bytes) {
    CUdeviceptr first = 0, second = 0;
    unsigned char *sent = malloc(bytes), *got = calloc(1, bytes);
    for (size_t n = 0; n < bytes; n++)
        sent[n] = (unsigned char)(n * 2654435761u >> 13);
    CUresult result = forward_cuMemAlloc_v2(&first, bytes);
    if (!result)
        result = forward_cuMemAlloc_v2(&second, bytes);
    if (!result)
        result = forward_cuMemcpyHtoDAsync_v2(first, sent, bytes, NULL);
    if (!result)
        result = forward_cuMemcpyDtoDAsync_v2(second, first, bytes, NULL);
    if (!result)
        result = forward_cuMemcpyDtoH_v2(got, second, bytes);
    printf("check %d %s\n", result, memcmp(sent, got, bytes) ? "differs" : "same");
    forward_cuMemFree_v2(first);
    forward_cuMemFree_v2(second);
    free(sent);
    free(got);
}

/* Memory of the VMM lies outside the window: its copies go through the upload and download areas. */
static void check_mapped(size_t bytes) {
    size_t size = (bytes + (2 << 20) - 1) >> 21 << 21;
    CUdeviceptr address = 0;
    CUmemGenericAllocationHandle memory = 0;
    CUmemAllocationProp made = {.type = CU_MEM_ALLOCATION_TYPE_PINNED,
                                .location = {.type = CU_MEM_LOCATION_TYPE_DEVICE}};
    CUmemAccessDesc access = {.location = made.location, .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    unsigned char *sent = malloc(bytes), *got = calloc(1, bytes);
    for (size_t n = 0; n < bytes; n++)
        sent[n] = (unsigned char)(n * 2654435761u >> 13);
    CUresult result = forward_cuMemAddressReserve(&address, size, 0, 0, 0);
    if (!result)
        result = forward_cuMemCreate(&memory, size, &made, 0);
    if (!result)
        result = forward_cuMemMap(address, size, 0, memory, 0);
    if (!result)
        result = forward_cuMemSetAccess(address, size, &access, 1);
    if (!result)
        result = forward_cuMemcpyHtoD_v2(address, sent, bytes);
    if (!result)
        result = forward_cuMemcpyDtoH_v2(got, address, bytes);
    printf("mapped %d %s\n", result, memcmp(sent, got, bytes) ? "differs" : "same");
    forward_cuMemUnmap(address, size);
    forward_cuMemRelease(memory);
    free(sent);
    free(got);
}

/* Pinned memory is one memory at one address: what is filled there is seen here. */
static void check_pinned(size_t bytes) {
    unsigned char *pinned = NULL;
    CUdeviceptr device = 0;
    CUresult result = forward_cuMemHostAlloc((void **)&pinned, bytes, 0);
    if (!result)
        result = forward_cuMemAlloc_v2(&device, bytes);
    if (!result)
        result = forward_cuMemsetD8_v2(device, 0x5a, bytes);
    if (!result)
        result = forward_cuMemcpyDtoHAsync_v2(pinned, device, bytes, NULL);
    if (!result)
        result = forward_cuStreamSynchronize(NULL);
    printf("pinned %d %s\n", result,
           !result && wire_is_pinned(pinned) && pinned[0] == 0x5a && pinned[bytes - 1] == 0x5a ? "same"
                                                                                               : "differs");
    forward_cuMemFreeHost(pinned);
    forward_cuMemFree_v2(device);
}

static void launch(const char *name) {
    CUkernel kernel = NULL;
    CUfunction function = NULL;
    void *parameters[64];
    static unsigned char zeros[4096];
    for (unsigned n = 0; n < 64; n++)
        parameters[n] = zeros;
    CUresult result = forward_cuLibraryGetKernel(&kernel, library, name);
    if (!result)
        result = forward_cuKernelGetFunction(&function, kernel);
    if (!result)
        result = forward_cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 0, NULL, parameters, NULL);
    if (!result)
        result = forward_cuStreamSynchronize(NULL);
    printf("launch %d\n", result);
}

static void connect_in_child(const char *path) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        CUdeviceptr device = 0;
        CUresult before = forward_cuMemAlloc_v2(&device, 4096);
        CUresult result = wire_connect(path);
        if (!result)
            result = forward_cuMemAlloc_v2(&device, 4096);
        printf("fork %d %d\n", before, result);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

static void obey(const char *word, const char *argument) {
    static char path[400];
    unsigned long long number = strtoull(argument, NULL, 0);
    CUresult result = CUDA_SUCCESS;
    if (!strcmp(word, "connect")) {
        snprintf(path, sizeof(path), "%s", argument);
        result = wire_connect(path);
        printf("connect %d %s\n", result, wire_error());
    } else if (!strcmp(word, "ping")) {
        while (number-- && !result)
            result = wire_ping();
        printf("ping %d\n", result);
    } else if (!strcmp(word, "alloc")) {
        CUdeviceptr address = 0;
        result = forward_cuMemAlloc_v2(&address, number);
        printf("alloc %d %llu\n", result, address);
    } else if (!strcmp(word, "fill")) {
        result = forward_cuMemsetD8_v2(number, 1, 4096);
        printf("fill %d\n", result);
    } else if (!strcmp(word, "free")) {
        printf("free %d\n", forward_cuMemFree_v2(number));
    } else if (!strcmp(word, "check")) {
        check_copies(number);
    } else if (!strcmp(word, "info")) {
        size_t free_bytes = 0, total = 0;
        result = forward_cuMemGetInfo_v2(&free_bytes, &total);
        printf("info %d %zu %zu\n", result, free_bytes, total);
    } else if (!strcmp(word, "device")) {
        const struct wire_device *device = wire_device();
        printf("device %s %llu %d.%d\n", device ? device->name : "none",
               device ? (unsigned long long)device->memory_bytes : 0,
               device ? device->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] : 0,
               device ? device->attributes[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR] : 0);
    } else if (!strcmp(word, "mapped")) {
        check_mapped(number);
    } else if (!strcmp(word, "pinned")) {
        check_pinned(number);
    } else if (!strcmp(word, "synchronize")) {
        printf("synchronize %d\n", forward_cuCtxSynchronize());
    } else if (!strcmp(word, "load")) {
        void *image = file_content(argument);
        result = image ? forward_cuLibraryLoadData(&library, image, NULL, NULL, 0, NULL, NULL, 0)
                       : CUDA_ERROR_FILE_NOT_FOUND;
        printf("load %d\n", result);
        free(image);
    } else if (!strcmp(word, "launch")) {
        launch(argument);
    } else if (!strcmp(word, "fork")) {
        connect_in_child(path);
    } else if (!strcmp(word, "bench")) {
        probe_bench(number ? number : 20000);
    } else {
        printf("unknown %s\n", word);
    }
    fflush(stdout);
}

int main(void) {
    char line[512], word[32], argument[400];
    while (fgets(line, sizeof(line), stdin)) {
        argument[0] = 0;
        if (sscanf(line, "%31s %399[^\n]", word, argument) >= 1)
            obey(word, argument);
    }
    return 0;
}
