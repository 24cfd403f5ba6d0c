/* A program on the driver API alone: `program WHAT [N]`. It makes a context, loads a kernel from PTX, copies,
 * launches, reads back and prints what it got. Its image lies in memory that it made itself.
 *
 *   saxpy N     N launches in one stream, the result checked
 *   wide        buffers of several megabytes and outputs that are waited for
 *   pinned      copies from and to pinned memory, which it writes itself in between
 *   graph       launches captured once, launched three times
 *   threads N   N threads with a stream each, that hand their turn on to each other
 *   calls N     N calls of cuDeviceGetAttribute and the like
 *   wild        a copy from an address that is nobody's
 *   crash       hands the driver a pointer that it can't write to
 *   hang        a launch that never ends
 *   slow        copies, waits for a file "go" in the working directory, copies again
 *   beside      a launch whose last parameter lies beside half an address of memory that is only reserved
 *   poll        asks again and again whether a launch is over
 *   forked      forks with a context: the child asks the driver as well
 *   family      three processes of its own, one after the other, and itself without the driver:
 *               saxpy 2, saxpy 4, calls 40
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef uint64_t deviceptr;
#define F(name, ...) static int (*name)(__VA_ARGS__)
F(cuInit, unsigned);
F(cuDeviceGet, int *, int);
F(cuDeviceGetAttribute, int *, int, int);
F(cuDriverGetVersion, int *);
F(cuDevicePrimaryCtxRetain, void **, int);
F(cuDevicePrimaryCtxRelease_v2, int);
F(cuCtxSetCurrent, void *);
F(cuCtxSynchronize, void);
F(cuModuleLoadData, void **, const void *);
F(cuModuleUnload, void *);
F(cuModuleGetFunction, void **, void *, const char *);
F(cuMemAlloc_v2, deviceptr *, size_t);
F(cuMemFree_v2, deviceptr);
F(cuMemAddressReserve, deviceptr *, size_t, size_t, deviceptr, unsigned long long);
F(cuMemHostAlloc, void **, size_t, unsigned);
F(cuMemFreeHost, void *);
F(cuMemcpyHtoD_v2, deviceptr, const void *, size_t);
F(cuMemcpyDtoH_v2, void *, deviceptr, size_t);
F(cuMemcpyHtoDAsync_v2, deviceptr, const void *, size_t, void *);
F(cuMemcpyDtoHAsync_v2, void *, deviceptr, size_t, void *);
F(cuStreamCreate, void **, unsigned);
F(cuStreamSynchronize, void *);
F(cuStreamQuery, void *);
F(cuStreamDestroy_v2, void *);
F(cuStreamBeginCapture_v2, void *, int);
F(cuStreamEndCapture, void *, void **);
F(cuGraphInstantiateWithFlags, void **, void *, unsigned long long);
F(cuGraphLaunch, void *, void *);
F(cuGraphExecDestroy, void *);
F(cuGraphDestroy, void *);
F(cuLaunchKernel, void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
  void **, void **);

static const char text[] =
    ".version 7.0\n.target sm_52\n.address_size 64\n"
    ".visible .entry saxpy(.param .u64 y, .param .u64 x, .param .f32 a, .param .u32 n) {\n"
    ".reg .pred %p; .reg .f32 %f<5>; .reg .b32 %r<6>; .reg .b64 %d<7>;\n"
    "ld.param.u64 %d1, [y]; ld.param.u64 %d2, [x];\n"
    "ld.param.f32 %f1, [a]; ld.param.u32 %r1, [n];\n"
    "mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x; mov.u32 %r4, %tid.x;\n"
    "mad.lo.s32 %r5, %r2, %r3, %r4;\n"
    "setp.ge.u32 %p, %r5, %r1; @%p bra done;\n"
    "mul.wide.u32 %d3, %r5, 4; add.s64 %d4, %d1, %d3; add.s64 %d5, %d2, %d3;\n"
    "ld.global.f32 %f2, [%d4]; ld.global.f32 %f3, [%d5];\n"
    "fma.rn.f32 %f4, %f1, %f3, %f2; st.global.f32 [%d4], %f4;\n"
    "done: ret;\n}\n"
    ".visible .entry forever(.param .u64 flag) {\n"
    ".reg .pred %p; .reg .b32 %r<2>; .reg .b64 %d<2>;\n"
    "ld.param.u64 %d1, [flag];\n"
    "again: ld.volatile.global.u32 %r1, [%d1]; setp.eq.u32 %p, %r1, 0;\n"
    "@%p bra again; ret;\n}\n";

static void *driver, *context, *module, *saxpy, *forever;

static void check(int result, const char *what) {
    if (result == 0)
        return;
    printf("%s: %d\n", what, result);
    exit(1);
}
#define CHECK(call) check(call, #call)

static void *symbol(const char *name) {
    void *found = dlsym(driver, name);
    if (!found) {
        printf("%s\n", dlerror());
        exit(2);
    }
    return found;
}
#define LOAD(name) *(void **)&name = symbol(#name)

static void load_driver(void) {
    driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (!driver) {
        printf("%s\n", dlerror());
        exit(2);
    }
    LOAD(cuInit), LOAD(cuDeviceGet), LOAD(cuDeviceGetAttribute), LOAD(cuDriverGetVersion);
    LOAD(cuDevicePrimaryCtxRetain), LOAD(cuDevicePrimaryCtxRelease_v2), LOAD(cuCtxSetCurrent);
    LOAD(cuCtxSynchronize), LOAD(cuModuleLoadData), LOAD(cuModuleUnload), LOAD(cuModuleGetFunction);
    LOAD(cuMemAlloc_v2), LOAD(cuMemFree_v2), LOAD(cuMemAddressReserve), LOAD(cuMemHostAlloc),
        LOAD(cuMemFreeHost);
    LOAD(cuMemcpyHtoD_v2), LOAD(cuMemcpyDtoH_v2), LOAD(cuMemcpyHtoDAsync_v2), LOAD(cuMemcpyDtoHAsync_v2);
    LOAD(cuStreamCreate), LOAD(cuStreamSynchronize), LOAD(cuStreamQuery), LOAD(cuStreamDestroy_v2);
    LOAD(cuStreamBeginCapture_v2), LOAD(cuStreamEndCapture), LOAD(cuGraphInstantiateWithFlags);
    LOAD(cuGraphLaunch), LOAD(cuGraphExecDestroy), LOAD(cuGraphDestroy), LOAD(cuLaunchKernel);
}

static void make_context(void) {
    int device;
    CHECK(cuInit(0));
    CHECK(cuDeviceGet(&device, 0));
    CHECK(cuDevicePrimaryCtxRetain(&context, device));
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuModuleLoadData(&module, strdup(text)));
    CHECK(cuModuleGetFunction(&saxpy, module, "saxpy"));
    CHECK(cuModuleGetFunction(&forever, module, "forever"));
}

static void launch(void *stream, deviceptr y, deviceptr x, float a, unsigned n) {
    void *params[] = {&y, &x, &a, &n};
    CHECK(cuLaunchKernel(saxpy, (n + 127) / 128, 1, 1, 128, 1, 1, 0, stream, params, NULL));
}

static float *numbers(size_t count, float factor) {
    float *made = malloc(count * sizeof *made);
    for (size_t i = 0; i < count; i++)
        made[i] = (float)(i % 1000) * factor;
    return made;
}

/* y = x0 + rounds * 0.5 * x */
static void run_saxpy(size_t count, int rounds, void *stream, const char *name) {
    size_t size = count * sizeof(float);
    float *x = numbers(count, 0.25f), *y = numbers(count, 1), *got = malloc(size);
    deviceptr dx, dy;
    CHECK(cuMemAlloc_v2(&dx, size));
    CHECK(cuMemAlloc_v2(&dy, size));
    CHECK(cuMemcpyHtoD_v2(dx, x, size));
    CHECK(cuMemcpyHtoDAsync_v2(dy, y, size, stream));
    for (int i = 0; i < rounds; i++)
        launch(stream, dy, dx, 0.5f, (unsigned)count);
    CHECK(cuMemcpyDtoHAsync_v2(got, dy, size, stream));
    CHECK(cuStreamSynchronize(stream));
    for (size_t i = 0; i < count; i++)
        if (got[i] != y[i] + (float)rounds * 0.5f * x[i]) {
            printf("%s: wrong at %zu: %g\n", name, i, (double)got[i]);
            exit(3);
        }
    CHECK(cuMemFree_v2(dx));
    CHECK(cuMemFree_v2(dy));
    printf("%s: right\n", name);
    free(x), free(y), free(got);
}

static void run_pinned(void) {
    enum { COUNT = 1024, SIZE = COUNT * sizeof(float) };
    float *pinned;
    deviceptr dx, dy;
    void *stream;
    CHECK(cuStreamCreate(&stream, 1));
    CHECK(cuMemHostAlloc((void **)&pinned, 3 * SIZE, 0));
    CHECK(cuMemAlloc_v2(&dx, SIZE));
    CHECK(cuMemAlloc_v2(&dy, SIZE));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++)
            pinned[i] = (float)(i + round), pinned[COUNT + i] = 1;
        CHECK(cuMemcpyHtoDAsync_v2(dx, pinned, SIZE, stream));
        CHECK(cuMemcpyHtoDAsync_v2(dy, pinned + COUNT, SIZE, stream));
        launch(stream, dy, dx, 2, COUNT);
        CHECK(cuMemcpyDtoHAsync_v2(pinned + 2 * COUNT, dy, SIZE, stream));
        CHECK(cuStreamSynchronize(stream));
        printf("pinned: %g\n", (double)pinned[3 * COUNT - 1]);
    }
    CHECK(cuMemFreeHost(pinned));
    CHECK(cuStreamDestroy_v2(stream));
}

static void run_graph(void) {
    enum { COUNT = 2048, SIZE = COUNT * sizeof(float) };
    void *stream, *graph, *exec;
    deviceptr dx, dy;
    float *x = numbers(COUNT, 1), *got = malloc(SIZE);
    CHECK(cuStreamCreate(&stream, 1));
    CHECK(cuMemAlloc_v2(&dx, SIZE));
    CHECK(cuMemAlloc_v2(&dy, SIZE));
    CHECK(cuMemcpyHtoD_v2(dx, x, SIZE));
    CHECK(cuMemcpyHtoD_v2(dy, x, SIZE));
    CHECK(cuStreamBeginCapture_v2(stream, 0));
    launch(stream, dy, dx, 1, COUNT);
    launch(stream, dy, dx, 2, COUNT);
    CHECK(cuStreamEndCapture(stream, &graph));
    CHECK(cuGraphInstantiateWithFlags(&exec, graph, 0));
    for (int i = 0; i < 3; i++)
        CHECK(cuGraphLaunch(exec, stream));
    CHECK(cuMemcpyDtoHAsync_v2(got, dy, SIZE, stream));
    CHECK(cuStreamSynchronize(stream));
    printf("graph: %g\n", (double)(got[7] / x[7]));
    CHECK(cuGraphExecDestroy(exec));
    CHECK(cuGraphDestroy(graph));
    CHECK(cuStreamDestroy_v2(stream));
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long thread_count, turn, handed;
static deviceptr shared_x, shared_y;

/* Each thread takes its turn on the same memory: the order between threads is what makes the result. */
static void *in_thread(void *number) {
    enum { COUNT = 512, ROUNDS = 4 };
    void *stream;
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuStreamCreate(&stream, 1));
    for (int round = 0; round < ROUNDS; round++) {
        pthread_mutex_lock(&lock);
        while (turn != (long)number)
            pthread_cond_wait(&changed, &lock);
        launch(stream, shared_y, shared_x, (float)(handed++ % 3), COUNT);
        launch(stream, shared_x, shared_y, 0.5f, COUNT);
        CHECK(cuStreamSynchronize(stream));
        turn = (turn + 1) % thread_count;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    CHECK(cuStreamDestroy_v2(stream));
    return NULL;
}

static void run_threads(long count) {
    enum { SIZE = 512 * sizeof(float) };
    pthread_t threads[16];
    float *x = numbers(512, 0.001f), *got = malloc(SIZE);
    thread_count = count;
    CHECK(cuMemAlloc_v2(&shared_x, SIZE));
    CHECK(cuMemAlloc_v2(&shared_y, SIZE));
    CHECK(cuMemcpyHtoD_v2(shared_x, x, SIZE));
    CHECK(cuMemcpyHtoD_v2(shared_y, x, SIZE));
    for (long i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, in_thread, (void *)i);
    for (long i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    CHECK(cuMemcpyDtoH_v2(got, shared_y, SIZE));
    printf("threads: %g\n", (double)got[400]);
}

static void run_calls(long count) {
    for (long i = 0; i < count; i += 2) {
        int value;
        CHECK(cuDeviceGetAttribute(&value, (int)(i / 2 % 16) + 1, 0));
        CHECK(cuDriverGetVersion(&value));
    }
}

static void run_hang(void) {
    deviceptr flag;
    uint32_t zero = 0;
    CHECK(cuMemAlloc_v2(&flag, 4));
    CHECK(cuMemcpyHtoD_v2(flag, &zero, 4));
    void *params[] = {&flag};
    CHECK(cuLaunchKernel(forever, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL));
    CHECK(cuCtxSynchronize());
}

static void run_slow(void) {
    static const uint8_t bytes[1000] = {1};
    deviceptr memory;
    CHECK(cuMemAlloc_v2(&memory, sizeof bytes));
    CHECK(cuMemcpyHtoD_v2(memory, bytes, sizeof bytes));
    while (access("go", F_OK) != 0)
        usleep(10000);
    CHECK(cuMemcpyHtoD_v2(memory, bytes, sizeof bytes));
}

static void run_beside(void) {
    enum { SIZE = 1000 * sizeof(float) };
    const size_t reserved = 16ull << 30;
    deviceptr x, y, range;
    float factor = 0.5f;
    CHECK(cuMemAddressReserve(&range, reserved, 0, 0, 0));
    CHECK(cuMemAlloc_v2(&x, SIZE));
    CHECK(cuMemAlloc_v2(&y, SIZE));
    CHECK(cuMemcpyHtoD_v2(x, numbers(1000, 0.25f), SIZE));
    CHECK(cuMemcpyHtoD_v2(y, numbers(1000, 0.25f), SIZE));
    struct {
        _Alignas(8) uint32_t size;
        uint32_t other;
    } last = {500, (uint32_t)(range >> 32) + 1};
    void *params[] = {&y, &x, &factor, &last.size};
    CHECK(cuLaunchKernel(saxpy, 8, 1, 1, 128, 1, 1, 0, NULL, params, NULL));
    CHECK(cuMemcpyDtoH_v2(malloc(SIZE), y, SIZE));
}

static void run_poll(void) {
    enum { SIZE = 1000 * sizeof(float) };
    deviceptr x, y;
    void *stream;
    float factor = 0.5f;
    uint32_t size = 1000;
    int state;
    CHECK(cuMemAlloc_v2(&x, SIZE));
    CHECK(cuMemAlloc_v2(&y, SIZE));
    CHECK(cuMemcpyHtoD_v2(x, numbers(size, 0.25f), SIZE));
    CHECK(cuMemcpyHtoD_v2(y, numbers(size, 0.25f), SIZE));
    CHECK(cuStreamCreate(&stream, 0));
    launch(stream, y, x, factor, size);
    while ((state = cuStreamQuery(stream)) == 600)
        ;
    CHECK(state);
    CHECK(cuMemcpyDtoH_v2(malloc(SIZE), y, SIZE));
    CHECK(cuStreamDestroy_v2(stream));
}

static void run_forked(void) {
    int version;
    pid_t child = fork();
    if (child == 0) {
        CHECK(cuDriverGetVersion(&version));
        printf("child: %d\n", cuCtxSynchronize());
        _exit(0);
    }
    waitpid(child, NULL, 0);
    CHECK(cuDriverGetVersion(&version));
}

static void run_family(void) {
    static const char *const words[][2] = {{"saxpy", "2"}, {"saxpy", "4"}, {"calls", "40"}};
    for (int i = 0; i < 3; i++) {
        pid_t child = fork();
        if (child == 0)
            execl("/proc/self/exe", "program", words[i][0], words[i][1], NULL);
        waitpid(child, NULL, 0);
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "saxpy";
    long count = argc > 2 ? atol(argv[2]) : 2;
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(what, "family") == 0) {
        run_family();
        return 0;
    }
    load_driver();
    make_context();
    if (strcmp(what, "saxpy") == 0)
        run_saxpy(1000, (int)count, NULL, "saxpy");
    else if (strcmp(what, "wide") == 0)
        run_saxpy((12 << 20) / sizeof(float), 1, NULL, "wide");
    else if (strcmp(what, "pinned") == 0)
        run_pinned();
    else if (strcmp(what, "graph") == 0)
        run_graph();
    else if (strcmp(what, "threads") == 0)
        run_threads(count);
    else if (strcmp(what, "calls") == 0)
        run_calls(count);
    else if (strcmp(what, "wild") == 0)
        printf("wild: %d\n", cuMemcpyHtoD_v2(0x1000, (void *)0x7000, 64 << 10));
    else if (strcmp(what, "crash") == 0)
        cuDriverGetVersion((int *)0x8);
    else if (strcmp(what, "hang") == 0)
        run_hang();
    else if (strcmp(what, "slow") == 0)
        run_slow();
    else if (strcmp(what, "beside") == 0)
        run_beside();
    else if (strcmp(what, "poll") == 0)
        run_poll();
    else if (strcmp(what, "forked") == 0)
        run_forked();
    else
        return 4;
    CHECK(cuModuleUnload(module));
    CHECK(cuDevicePrimaryCtxRelease_v2(0));
    return 0;
}
