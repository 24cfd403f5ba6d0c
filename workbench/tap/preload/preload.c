/* Looks on as libraries and names are asked for: dlsym, dlvsym, dlopen, and names bound by linking. The
 * target gets what it would get without us; entry.S decides with these functions where a call goes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <string.h>

#include "shimbench/recorder.h"

#define HIDDEN __attribute__((visibility("hidden")))

HIDDEN void *(*preload_real_dlsym)(void *, const char *);
HIDDEN void *(*preload_real_dlvsym)(void *, const char *, const char *);
HIDDEN void *(*preload_real_dlopen)(const char *, int);
HIDDEN void *preload_call_as(const void *ret_instruction, void *function, const void *arg0, const void *arg1,
                             const void *arg2);

/* Called from entry.S. */
HIDDEN bool preload_wants_dlsym(void *handle, const char *name, uint64_t caller);
HIDDEN bool preload_wants_dlvsym(void *handle, const char *name, uint64_t caller);
HIDDEN bool preload_wants_dlopen(const char *name, int mode, uint64_t caller);
HIDDEN void *preload_dlsym(void *handle, const char *name, uint64_t caller);
HIDDEN void *preload_dlvsym(void *handle, const char *name, const char *version, uint64_t caller);
HIDDEN void *preload_dlopen(const char *name, int mode, uint64_t caller);

TAP_PUBLIC const char shimbench_preload_present = 1; /* the tap asks for it by name */

/* The next definition behind ours, so that a preload of the user's still has its turn. */
static void *find_next(const char *name) {
    void *next = shimbench_find_symbol(name, (uint64_t)&shimbench_preload_present);
    return next ? next : shimbench_libc_symbol(name);
}

static void find_real(void) {
    if (preload_real_dlopen)
        return;
    preload_real_dlsym = (void *(*)(void *, const char *))find_next("dlsym");
    preload_real_dlvsym = (void *(*)(void *, const char *, const char *))find_next("dlvsym");
    preload_real_dlopen = (void *(*)(const char *, int))find_next("dlopen");
}

/* A `ret` instruction (0xc3) in the object that holds `caller`, from there on; NULL when there is none. */
static const void *ret_instruction_near(uint64_t caller) {
    struct tap_object object;
    if (!shimbench_object_at(caller, &object))
        return NULL;
    const ElfW(Ehdr) *head = (const ElfW(Ehdr) *)object.start;
    if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0)
        return NULL;
    const ElfW(Phdr) *segment = (const ElfW(Phdr) *)(object.start + head->e_phoff);
    for (int i = 0; i < head->e_phnum; i++, segment++) {
        uint64_t start = object.base + segment->p_vaddr;
        if (segment->p_type == PT_LOAD && (segment->p_flags & (PF_X | PF_R)) == (PF_X | PF_R) &&
            caller - start < segment->p_memsz)
            return memchr((const void *)caller, 0xc3, start + segment->p_memsz - caller);
    }
    return NULL;
}

static bool is_pseudo_handle(const void *handle) {
    return handle == RTLD_DEFAULT || handle == RTLD_NEXT;
}

static struct tap_library *tap_with_handle(const void *handle) {
    for (struct tap_library *library = shimbench_libraries(); library; library = library->next)
        if (library->own_handle == handle)
            return library;
    return NULL;
}

/* A lookup in the tap that failed, made again in what the shim brings: it may lie in a library of the
 * shim's, and if not, dlerror names the shim's file. */
static void *look_behind(const struct tap_library *tap, const char *name, const char *version) {
    void *found =
        version ? preload_real_dlvsym(tap->behind, name, version) : preload_real_dlsym(tap->behind, name);
    return found ? tap->wrap_answer(name, found) : NULL;
}

static void record_lookup(const struct tap_call *call, const char *name, const char *version, void *answer) {
    struct tap_payload payload;
    if (!shimbench_payload_begin(&payload, call, answer != NULL, tap_ticks()))
        return;
    shimbench_put_string(&payload, 0, name);
    if (version)
        shimbench_put_string(&payload, 1, version);
    const struct {
        uint16_t function, reserved[3];
        uint64_t address;
    } resolved = {.function = shimbench_function_of((uint64_t)answer), .address = (uint64_t)answer};
    shimbench_put(&payload, TAP_ITEM_RESOLVED, 0, &resolved, sizeof resolved);
    shimbench_payload_finish(&payload);
}

static void *look_up(uint16_t function, void *handle, const char *name, const char *version,
                     uint64_t caller) {
    struct tap_call call;
    bool recorded =
        tap_enter(&call, function, caller, (uint64_t)handle, (uint64_t)name, (uint64_t)version, 0);
    void *real = version ? (void *)preload_real_dlvsym : (void *)preload_real_dlsym;
    const void *ret_instruction = is_pseudo_handle(handle) ? ret_instruction_near(caller) : NULL;
    void *answer;
    if (ret_instruction)
        answer = preload_call_as(ret_instruction, real, handle, name, version);
    else if (version)
        answer = preload_real_dlvsym(handle, name, version);
    else
        answer = preload_real_dlsym(handle, name);
    struct tap_library *tap = answer ? NULL : tap_with_handle(handle);
    if (tap && tap->behind)
        answer = look_behind(tap, name, version);
    if (recorded)
        record_lookup(&call, name, version, answer);
    return answer;
}

bool preload_wants_dlsym(void *handle, const char *name, uint64_t caller) {
    find_real();
    if (!name || !shimbench_is_driver_name(name))
        return false;
    return !is_pseudo_handle(handle) || ret_instruction_near(caller);
}

bool preload_wants_dlvsym(void *handle, const char *name, uint64_t caller) {
    return preload_wants_dlsym(handle, name, caller);
}

void *preload_dlsym(void *handle, const char *name, uint64_t caller) {
    return look_up(TAP_FN_DLSYM, handle, name, NULL, caller);
}

void *preload_dlvsym(void *handle, const char *name, const char *version, uint64_t caller) {
    return look_up(TAP_FN_DLVSYM, handle, name, version, caller);
}

/* Names of libraries whose being asked for is worth a record. */
static bool is_driver_library(const char *name) {
    static const char *const parts[] = {"libcuda", "libnvidia-ml", "libcublas", "libnvcuda"};
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strncmp(base, parts[i], strlen(parts[i])) == 0)
            return true;
    return false;
}

/* A name with a slash doesn't depend on the caller; one without does, by the caller's RUNPATH. */
bool preload_wants_dlopen(const char *name, int mode, uint64_t caller) {
    (void)mode;
    find_real();
    return name && (strchr(name, '/') || ret_instruction_near(caller));
}

static void *open_as(const char *name, int mode, uint64_t caller) {
    const void *ret_instruction = strchr(name, '/') ? NULL : ret_instruction_near(caller);
    if (!ret_instruction)
        return preload_real_dlopen(name, mode);
    return preload_call_as(ret_instruction, (void *)preload_real_dlopen, name, (void *)(intptr_t)mode, NULL);
}

/* A tap came in whose shim didn't: the target gets what it would without the tap, the shim's own failure. */
static void *fail_like_the_shim(void *handle, int mode) {
    const char *path = NULL;
    for (struct tap_library *tap = shimbench_libraries(); tap; tap = tap->next)
        if (!tap->behind)
            path = strcmp(tap->soname, "libcuda.so.1") == 0
                       ? shimbench_setting("shim.libcuda.so.1", "SHIMBENCH_SHIM_CUDA")
                       : shimbench_setting("shim.libnvidia-ml.so.1", "SHIMBENCH_SHIM_NVML");
    if (handle)
        dlclose(handle);
    return path ? preload_real_dlopen(path, mode) : NULL;
}

void *preload_dlopen(const char *name, int mode, uint64_t caller) {
    struct tap_call call;
    bool recorded = is_driver_library(name) &&
                    tap_enter(&call, TAP_FN_DLOPEN, caller, (uint64_t)name, (uint64_t)mode, 0, 0);
    int32_t mode_before = shimbench_local.dlopen_mode;
    uint32_t failures_before = shimbench_local.load_failures;
    shimbench_local.dlopen_mode = mode & (RTLD_NOW | RTLD_LAZY);
    void *handle = open_as(name, mode, caller);
    shimbench_local.dlopen_mode = mode_before;
    if (shimbench_local.load_failures != failures_before)
        handle = fail_like_the_shim(handle, mode);
    int saved = errno;
    struct tap_payload payload;
    if (recorded && shimbench_payload_begin(&payload, &call, handle ? 1 : -1, tap_ticks())) {
        shimbench_put_string(&payload, 0, name);
        shimbench_payload_finish(&payload);
    }
    shimbench_record_link_time_names();
    errno = saved;
    return handle;
}

__attribute__((constructor)) static void start(void) {
    find_real();
    shimbench_record_link_time_names();
}
