/* A library that needs the driver, to be opened late; opens it again by name with a RUNPATH of its own. */
#define _GNU_SOURCE
#include <dlfcn.h>
extern int cuDeviceGetCount(int *);

int dependent_count(void) {
    int count = 0;
    cuDeviceGetCount(&count);
    return count;
}
void *dependent_next(void) {
    return dlsym(RTLD_NEXT, "cuInit");
}
void *dependent_default(void) {
    return dlsym(RTLD_DEFAULT, "cuInit");
}
void *dependent_plugin(void) {
    return dlopen("libplugin-of-dependent.so", RTLD_NOW);
}
