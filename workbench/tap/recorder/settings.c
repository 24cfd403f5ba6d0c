/* Settings of the libraries inside a target: the environment's, else those of `shimbench.conf` in the
 * folder where this library lies. Read once, without allocation. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static char conf[8192]; /* lines `key=value`, each ended by NUL once read */
static size_t conf_length;

__attribute__((constructor(101))) static void read_conf(void) {
    int saved = errno;
    Dl_info own;
    char path[4096];
    if (!dladdr((void *)&shimbench_setting, &own) || !own.dli_fname)
        goto out;
    const char *slash = strrchr(own.dli_fname, '/');
    size_t folder = slash ? (size_t)(slash - own.dli_fname) + 1 : 0;
    static const char name[] = "shimbench.conf";
    if (folder + sizeof name > sizeof path)
        goto out;
    memcpy(path, own.dli_fname, folder);
    memcpy(path + folder, name, sizeof name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        goto out;
    ssize_t got;
    while (conf_length < sizeof conf - 1 &&
           (got = read(fd, conf + conf_length, sizeof conf - 1 - conf_length)) > 0)
        conf_length += (size_t)got;
    close(fd);
    for (size_t i = 0; i < conf_length; i++)
        if (conf[i] == '\n')
            conf[i] = 0;
out:
    errno = saved;
}

const char *shimbench_setting(const char *key, const char *variable) {
    const char *value = getenv(variable);
    if (value)
        return *value ? value : NULL;
    size_t length = strlen(key);
    for (const char *line = conf; line < conf + conf_length; line += strlen(line) + 1)
        if (strncmp(line, key, length) == 0 && line[length] == '=')
            return line[length + 1] ? line + length + 1 : NULL;
    return NULL;
}
