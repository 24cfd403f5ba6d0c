#include "cuda/config.h"

#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void config_host_socket(char *path, size_t size) {
    const char *host = getenv("SHIMBENCH_HOST");
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (host && *host)
        snprintf(path, size, "%s", strncmp(host, "unix:", 5) ? host : host + 5);
    else if (runtime && *runtime)
        snprintf(path, size, "%s/shimbench/host.sock", runtime);
    else
        snprintf(path, size, "/tmp/shimbench-%u/host.sock", (unsigned)getuid());
}

int config_driver_version(void) {
    const char *value = getenv("SHIMBENCH_DRIVER_VERSION");
    int major, minor, end = 0;
    if (!value)
        return CUDA_VERSION;
    if (sscanf(value, "%d.%d%n", &major, &minor, &end) == 2 && !value[end])
        return major * 1000 + minor * 10;
    if (sscanf(value, "%d%n", &major, &end) == 1 && !value[end] && major >= 1000)
        return major;
    return CUDA_VERSION;
}

const char *config_driver_release(void) {
    const char *value = getenv("SHIMBENCH_DRIVER_RELEASE");
    return value && *value ? value : "580.00";
}
