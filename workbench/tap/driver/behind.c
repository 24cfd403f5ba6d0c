/* The shim behind the tap: opened by absolute path in the tap's constructor, so that its own constructors
 * run when they would, and asked for what the tap's symbol table says it exports. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"

struct tap_behind tap_behind;
void *tap_real[TAP_FUNCTION_COUNT];

static void *handle;
static struct tap_library library;

/* libc's own, past whoever interposes them: the shim's loading is no dlopen of the target's. */
static struct {
    void *(*dlopen)(const char *, int);
    void *(*dlsym)(void *, const char *);
    int (*dlclose)(void *);
    char *(*dlerror)(void);
} loader;

static void find_loader(void) {
    if (loader.dlopen)
        return;
    loader.dlsym = (void *(*)(void *, const char *))shimbench_libc_symbol("dlsym");
    loader.dlclose = (int (*)(void *))shimbench_libc_symbol("dlclose");
    loader.dlerror = (char *(*)(void))shimbench_libc_symbol("dlerror");
    loader.dlopen = (void *(*)(const char *, int))shimbench_libc_symbol("dlopen");
}

/* As the loader would bind it: like the target's dlopen that brought the tap in, or at start-up. */
static int binding_mode(void) {
    int mode = shimbench_local.dlopen_mode;
    const char *now = getenv("LD_BIND_NOW");
    if (mode == 0)
        mode = now && *now ? RTLD_NOW : RTLD_LAZY;
    return (mode & RTLD_NOW ? RTLD_NOW : RTLD_LAZY) | RTLD_LOCAL;
}

/* Learns where the shim lies and what it exports. */
static void note_shim(void *opened) {
    struct link_map_head { /* the public part of glibc's struct link_map */
        uint64_t base;
        char *name;
        void *dynamic;
    } *map = opened;
    struct tap_object object;
    if (!shimbench_object_at((uint64_t)map->dynamic, &object))
        return;
    library.behind_start = tap_behind.start = object.start;
    library.behind_end = object.end;
    __atomic_store_n(&tap_behind.size, object.end - object.start, __ATOMIC_RELEASE);
    for (uint32_t i = 1; i < TAP_FUNCTION_COUNT; i++) {
        bool indirect = false;
        void *real =
            tap_exports[i].name ? shimbench_symbol_in(&object, tap_exports[i].name, &indirect) : NULL;
        if (real && indirect)
            real = loader.dlsym(opened, tap_exports[i].name);
        if (real)
            __atomic_store_n(&tap_real[i], real, __ATOMIC_RELAXED);
    }
}

/* While the shim's constructors run, its calls may come back here: then it is already mapped, and this
 * gives a second handle to it. Another thread waits in the loader's lock. */
static void *open_behind(void) {
    const char *path = shimbench_setting(tap_shim_key, tap_shim_variable);
    find_loader();
    return path ? loader.dlopen(path, binding_mode()) : NULL;
}

void *tap_symbol_behind(const char *name) {
    int saved = errno;
    void *opened = handle ? handle : open_behind();
    void *symbol = NULL;
    if (opened && !tap_behind.size)
        note_shim(opened);
    if (opened) {
        symbol = loader.dlsym(opened, name);
        if (!symbol)
            loader.dlerror(); /* the target shall not find our question's answer */
    }
    errno = saved;
    return symbol;
}

static int32_t missing_cuda(void) {
    return 500; /* CUDA_ERROR_NOT_FOUND */
}
static int32_t missing_nvml(void) {
    return 13; /* NVML_ERROR_FUNCTION_NOT_FOUND */
}

void *tap_resolve(uint16_t function) {
    void *real = tap_symbol_behind(tap_exports[function].name);
    /* A name that resolves to this very wrapper would call itself for ever. */
    if (!real || tap_function_at((uint64_t)real))
        return tap_exports[function].missing == 13 ? (void *)missing_nvml : (void *)missing_cuda;
    __atomic_store_n(&tap_real[function], real, __ATOMIC_RELAXED);
    return real;
}

static void record_load(const struct tap_call *call, const char *path, const char *error) {
    struct tap_payload payload;
    if (!shimbench_payload_begin(&payload, call, handle ? 0 : -1, tap_ticks()))
        return;
    shimbench_put_string(&payload, 0, path);
    if (error)
        shimbench_put_string(&payload, 1, error);
    shimbench_payload_finish(&payload);
}

/* Bare, the loader would have ended the program before it began, with these words. */
static void end_as_the_loader_would(const char *error) {
    const char *what = strstr(error, ": undefined symbol: ") ? ": symbol lookup error: "
                                                             : ": error while loading shared libraries: ";
    const char *parts[] = {program_invocation_name, what, error, "\n"};
    char line[1024];
    size_t length = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t part = strlen(parts[i]);
        if (part > sizeof line - length)
            part = sizeof line - length;
        memcpy(line + length, parts[i], part);
        length += part;
    }
    if (write(STDERR_FILENO, line, length) < 0)
        _exit(127);
    _exit(127);
}

/* Without the preload nobody says whether the program is starting up or inside a dlopen. */
static bool is_start_up(void) {
    return shimbench_local.dlopen_mode == 0 && shimbench_find_symbol("shimbench_preload_present", 0);
}

static void load_behind(void) {
    const char *path = shimbench_setting(tap_shim_key, tap_shim_variable);
    if (!path)
        return;
    struct tap_call call;
    bool recorded = tap_enter(&call, TAP_FN_LOAD, (uint64_t)&load_behind, 0, 0, 0, 0);
    void *opened = open_behind();
    const char *error = opened ? NULL : loader.dlerror();
    handle = opened;
    if (recorded)
        record_load(&call, path, error);
    if (opened) {
        library.behind = opened;
        note_shim(opened);
        if (recorded) /* the library behind calls nobody: say where it lies, for those who ask what was mapped
                       */
            shimbench_note_caller(library.behind_start);
        tap_fill_export_thunks();
        return;
    }
    if (is_start_up())
        end_as_the_loader_would(error ? error : path);
    shimbench_local.load_failures++; /* the preload turns the dlopen that brought us in into this failure */
}

static void *wrap_answer(const char *name, void *address) {
    return tap_wrap_symbol(name, address);
}

__attribute__((constructor)) static void start(void) {
    int saved = errno;
    Dl_info own;
    void *map = NULL;
    struct tap_object object;
    if (dladdr1((void *)&tap_exports, &own, &map, RTLD_DL_LINKMAP) &&
        shimbench_object_at((uint64_t)&tap_exports, &object)) {
        library = (struct tap_library){.soname = tap_soname,
                                       .start = object.start,
                                       .end = object.end,
                                       .own_handle = map,
                                       .function_of = tap_function_at,
                                       .wrap_answer = wrap_answer};
        shimbench_add_library(&library);
    }
    load_behind();
    shimbench_record_link_time_names();
    errno = saved;
}

/* At a dlclose the shim goes with its tap; in exit() all stay, for calls may still come. */
__attribute__((destructor)) static void stop(void) {
    if (shimbench_is_exiting())
        return;
    tap_unwrap_tables();
    shimbench_remove_library(&library);
    tap_behind.size = 0;
    if (handle)
        loader.dlclose(handle);
}
