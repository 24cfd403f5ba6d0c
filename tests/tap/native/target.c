/* A target that does to the tap what real ones do, and counts its own calls: `target WHAT [N]`. The last
 * line it prints is `calls N`, the number of driver calls it made through the tap. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int (*init)(unsigned);
static int (*device_count)(int *);
static void *driver;
static uint64_t *calls; /* shared with every child */

static void count_call(void) {
    __atomic_fetch_add(calls, 1, __ATOMIC_RELAXED);
}

static void *symbol(const char *name) {
    void *found = dlsym(driver, name);
    if (!found) {
        printf("dlsym: %s\n", dlerror());
        exit(2);
    }
    return found;
}

static void open_driver(int mode) {
    driver = dlopen("libcuda.so.1", mode);
    if (!driver) {
        printf("dlopen: %s\n", dlerror());
        exit(1);
    }
    init = (int (*)(unsigned))symbol("cuInit");
    device_count = (int (*)(int *))symbol("cuDeviceGetCount");
}

static void call_some(long count) {
    for (long i = 0; i < count; i++) {
        int devices = 0;
        errno = 77;
        if (init(0) != 0 || device_count(&devices) != 0 || devices != 3 || errno != 77)
            abort();
        count_call();
        count_call();
    }
}

static void *call_in_thread(void *count) {
    call_some((long)count);
    return NULL;
}

static void wait_for(pid_t child) {
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        printf("child ended with %d\n", status);
}

static void threads(long count, long each, int in_sequence) {
    pthread_t ids[64];
    for (long i = 0; i < count; i++) {
        pthread_create(&ids[i % 64], NULL, call_in_thread, (void *)each);
        if (in_sequence)
            pthread_join(ids[i % 64], NULL);
    }
    for (long i = 0; i < count && !in_sequence; i++)
        pthread_join(ids[i], NULL);
}

static void forks(int raw) {
    call_some(10);
    pid_t child = raw ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
    if (child == 0) {
        call_some(5);
        _exit(0);
    }
    call_some(10);
    wait_for(child);
    call_some(10);
}

static void vfork_and_exec(char *self) {
    call_some(3);
    pid_t child = vfork();
    if (child == 0) {
        execl(self, self, "calls", "4", NULL);
        _exit(9);
    }
    wait_for(child);
    call_some(3);
}

/* Calls from the program and from a library of its own, and is gone at once. */
static void short_life(int killed) {
    void *helper = dlopen(getenv("HELPER"), RTLD_NOW);
    int (*call)(int (*)(unsigned)) = helper ? (int (*)(int (*)(unsigned)))dlsym(helper, "call_for") : NULL;
    if (!call || call(init) != 0)
        abort();
    call_some(1);
    if (killed)
        raise(SIGKILL);
    _exit(0);
}

/* Everything whose answer depends on who asks. */
static void lookups(void) {
    printf("default %d\n", dlsym(RTLD_DEFAULT, "cuInit") != NULL);
    printf("next %d\n", dlsym(RTLD_NEXT, "cuInit") != NULL);
    printf("missing %d\n", dlsym(driver, "cuNotThere") != NULL);
    const char *error = dlerror();
    printf("error %s\n", error && strstr(error, "undefined symbol: cuNotThere") ? "as bare" : error);
    printf("versioned %d\n", dlvsym(driver, "cuInit", "NO_SUCH_VERSION") != NULL);
    dlerror();
    printf("libc %d\n", dlsym(RTLD_NEXT, "malloc") != NULL);
    printf("helper %d\n", ((int (*)(int))symbol("fake_helper"))(41));
    printf("pending %s\n", dlerror() ? "yes" : "no");
}

static void proc_addresses(void) {
    int (*ask)(const char *, void **, int, uint64_t, int *) =
        (int (*)(const char *, void **, int, uint64_t, int *))symbol("cuGetProcAddress_v2");
    void *answer, *first;
    int devices = 0, version = 0;
    uint64_t a = 0, b = 0;
    printf("init %d\n", ask("cuInit", &first, 2000, 0, NULL) == 0 && first == (void *)init);
    ask("cuGetProcAddress", &answer, 12000, 0, NULL);
    printf("itself %d\n", answer == (void *)ask);
    ((int (*)(const char *, void **, int, uint64_t, int *))answer)("cuDeviceGetCount", &answer, 2000, 0,
                                                                   NULL);
    ((int (*)(int *))answer)(&devices);
    printf("count %d\n", devices);
    ask("cuMemGetInfo", &answer, 3020, 0, NULL);
    ((int (*)(uint64_t *, uint64_t *))answer)(&a, &b);
    printf("hidden %d %d\n", (int)a, (int)b);
    ask("cuNeverHeardOf", &answer, 12000, 0, NULL);
    printf("private %d\n", ((int (*)(int))answer)(21));
    ask("cuDeviceGet", &answer, 2000, 0, NULL);
    ((int (*)(int *))answer)(&version);
    printf("other %d\n", version);
    printf("none %d\n", ask("cuNothing", &answer, 2000, 0, NULL));
}

static void tables(void) {
    int (*ask)(const void **, const unsigned char *) =
        (int (*)(const void **, const unsigned char *))symbol("cuGetExportTable");
    static const unsigned char ids[][16] = {
        {0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a, 0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d, 0xf9},
        {0xd4, 0x08, 0x20, 0x55, 0xbd, 0xe6, 0x70, 0x4b, 0x8d, 0x34, 0xba, 0x12, 0x3c, 0x66, 0xe1, 0xf2},
        {0xc6, 0x93, 0x33, 0x6e, 0x11, 0x21, 0xdf, 0x11, 0xa8, 0xc3, 0x68, 0xf3, 0x55, 0xd8, 0x95, 0x93},
        {0x42, 0xd8, 0x5a, 0x81, 0x23, 0xf6, 0xcb, 0x47, 0x82, 0x98, 0xf6, 0xe7, 0x8a, 0x3a, 0xec, 0xdc},
        {0},
    };
    void *const *table = NULL;
    void *context = NULL;
    uint64_t hash[2];
    ask((const void **)&table, ids[0]);
    ((int (*)(void **, int))table[2])(&context, 4);
    printf("interface %p %p\n", context, table[3]);
    ask((const void **)&table, ids[1]);
    printf("integrity %d\n", ((int (*)(uint32_t, uint64_t, uint64_t *))table[1])(1, 2, hash));
    ask((const void **)&table, ids[2]);
    printf("storage %d %d\n", ((int (*)(void))table[0])(), ((int (*)(void))table[2])());
    ask((const void **)&table, ids[3]);
    printf("sizeless %d\n", ((int (*)(void))table[1])());
    printf("unknown %d\n", ask((const void **)&table, ids[4]));
}

static void shapes(void) {
    char name[100] = "";
    uint64_t address = 0;
    char bytes[] = "copied";
    void *params[] = {bytes};
    int (*device_name)(char *, int, int) = (int (*)(char *, int, int))symbol("cuDeviceGetName");
    printf("name %d %s\n", device_name(name, sizeof name, 1), name);
    printf("no name %d\n", device_name((char *)8, 1 << 20, 9));
    printf("alloc %d", ((int (*)(uint64_t *, uint64_t))symbol("cuMemAlloc_v2"))(&address, 64));
    printf(" %llx\n", (unsigned long long)address);
    int (*copy)(uint64_t, const void *, uint64_t) =
        (int (*)(uint64_t, const void *, uint64_t))symbol("cuMemcpyHtoD_v2");
    printf("copy %d\n", copy(address, bytes, sizeof bytes));
    printf("wild copy %d\n", copy(address, (void *)0x123456789000, 4096));
    int (*launch)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                  void **, void **) =
        (int (*)(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                 void **, void **))symbol("cuLaunchKernel");
    printf("launch %d\n", launch(NULL, 1, 2, 3, 4, 5, 6, 7, NULL, params, NULL));
    long (*sum)(long, long, long, long, long, long, double, double, long, long) =
        (long (*)(long, long, long, long, long, long, double, double, long, long))symbol("cuPrivateSum");
    printf("sum %ld\n", sum(1, 2, 3, 4, 5, 6, 7.0, 8.0, 9, 10));
}

/* The count outlives a SIGKILL in the file that the test names. */
static uint64_t *count_page(void) {
    const char *path = getenv("COUNT_FILE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    int flags = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0);
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE, flags, fd, 0);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "calls";
    long count = argc > 2 ? atol(argv[2]) : 100;
    calls = count_page();
    setvbuf(stdout, NULL, _IOLBF, 0);
    open_driver(strcmp(what, "now") == 0 ? RTLD_NOW : RTLD_LAZY);
    if (strcmp(what, "threads") == 0)
        threads(8, count, 0);
    else if (strcmp(what, "sequence") == 0)
        threads(count, 3, 1);
    else if (strcmp(what, "fork") == 0)
        forks(0);
    else if (strcmp(what, "raw-fork") == 0)
        forks(1);
    else if (strcmp(what, "vfork") == 0)
        vfork_and_exec(argv[0]);
    else if (strcmp(what, "short") == 0)
        short_life(count);
    else if (strcmp(what, "lookups") == 0)
        lookups();
    else if (strcmp(what, "addresses") == 0)
        proc_addresses();
    else if (strcmp(what, "tables") == 0)
        tables();
    else if (strcmp(what, "shapes") == 0)
        shapes();
    else if (strcmp(what, "hang") == 0)
        ((int (*)(void))symbol("cuCtxSynchronize"))();
    else if (strcmp(what, "crash") == 0)
        ((int (*)(void **))symbol("cuCtxGetCurrent"))(NULL);
    else if (strcmp(what, "exec") == 0) {
        call_some(2);
        execl(argv[0], argv[0], "calls", "6", NULL);
    } else if (strcmp(what, "endless") == 0)
        for (;;)
            call_some(1);
    else
        call_some(count);
    printf("calls %llu\n", (unsigned long long)*calls);
    return 0;
}
