/* Opens the library named, which needs the driver, and has it answer what depends on the caller. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv) {
    void *library = dlopen(argv[argc - 1], RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        printf("dlopen: %s\n", dlerror());
        return 1;
    }
    printf("count %d\n", ((int (*)(void))dlsym(library, "dependent_count"))());
    printf("next %d\n", ((void *(*)(void))dlsym(library, "dependent_next"))() != NULL);
    printf("default %d\n", ((void *(*)(void))dlsym(library, "dependent_default"))() != NULL);
    printf("own default %d\n", dlsym(RTLD_DEFAULT, "cuInit") != NULL);
    printf("plugin %d\n", ((void *(*)(void))dlsym(library, "dependent_plugin"))() != NULL);
    printf("closed %d\n", dlclose(library));
    return 0;
}
