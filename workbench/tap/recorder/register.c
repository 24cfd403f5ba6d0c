/* Registration with the collector: HELLO with the region's memfd, WELCOME with what to tee into. It is
 * synchronous and comes before the first record, so a SIGKILL can't come before the collector holds
 * the region. Every wait is bounded, and without a collector nothing happens at all. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "internal.h"

enum { HANDSHAKE_SECONDS = 3 };

/* The target may close any descriptor and get its number back for something else, so ours is known by
 * what it is, not by its number alone. */
static struct {
    int fd;
    dev_t device;
    ino_t inode;
} collector = {-1, 0, 0};

static const char *socket_path(void) {
    return shimbench_setting("socket", "SHIMBENCH_SOCKET");
}

bool tap_socket_is_configured(void) {
    return socket_path() != NULL;
}

/* A path too long for sun_path is reached through its folder's descriptor. */
static int connect_to_path(int fd, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length < sizeof address.sun_path) {
        memcpy(address.sun_path, path, length + 1);
        return connect(fd, (struct sockaddr *)&address, sizeof address);
    }
    const char *name = strrchr(path, '/');
    char folder[4096];
    if (!name || (size_t)(name - path) >= sizeof folder || strlen(name) > 64)
        return -1;
    memcpy(folder, path, (size_t)(name - path));
    folder[name - path] = 0;
    int at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        return -1;
    char *to = address.sun_path;
    memcpy(to, "/proc/self/fd/", 14);
    to += 14;
    char digits[12];
    int count = 0;
    for (int rest = at; count == 0 || rest; rest /= 10)
        digits[count++] = (char)('0' + rest % 10);
    while (count)
        *to++ = digits[--count];
    memcpy(to, name, strlen(name) + 1);
    int result = connect(fd, (struct sockaddr *)&address, sizeof address);
    close(at);
    return result;
}

/* Whoever may not enter the socket's folder, or has another root: a name that lies in no folder. */
static int connect_to_name(int fd) {
    const char *name = shimbench_setting("name", "SHIMBENCH_SOCKET_NAME");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = name ? strlen(name) : 0;
    if (length == 0 || length >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path + 1, name, length);
    return connect(fd, (struct sockaddr *)&address,
                   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length));
}

static int connect_to_collector(void) {
    const char *path = socket_path();
    if (!path)
        return -1;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    struct timeval wait = {.tv_sec = HANDSHAKE_SECONDS};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    if (connect_to_path(fd, path) != 0) {
        int why = errno;
        if (connect_to_name(fd) != 0) {
            close(fd);
            errno = why;
            return -1;
        }
    }
    return fd;
}

/* Programs print their descriptors' numbers, or count on the lowest free one: ours goes out of the way. */
static int move_up(int fd) {
    static const int places[] = {960, 200};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        int moved = fcntl(fd, F_DUPFD_CLOEXEC, places[i]);
        if (moved >= 0) {
            close(fd);
            return moved;
        }
    }
    return fd;
}

static bool send_hello(int fd, const struct tap_region *region, int region_fd, const char *origin) {
    struct tap_hello hello = {.kind = TAP_HELLO,
                              .abi_version = TAP_ABI_VERSION,
                              .pid = region->pid,
                              .ppid = (uint32_t)getppid(),
                              .tid = (uint32_t)syscall(SYS_gettid),
                              .size = region->size};
    strncpy(hello.origin, origin, sizeof hello.origin - 1);
    int fds[3] = {region_fd};
    int count = 1;
    const char *tee = shimbench_setting("tee", "SHIMBENCH_TEE");
    if (tee && *tee == '1')
        for (int teed = 1; teed <= 2; teed++)
            if (fcntl(teed, F_GETFD) >= 0) {
                hello.tee |= (uint32_t)teed;
                fds[count++] = teed;
            }
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof fds)];
    } control = {0};
    struct iovec data = {.iov_base = &hello, .iov_len = sizeof hello};
    struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control};
    message.msg_controllen = CMSG_SPACE((size_t)count * sizeof(int));
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
    memcpy(CMSG_DATA(part), fds, (size_t)count * sizeof(int));
    return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)sizeof hello;
}

/* Puts `pipe_end` in the place of `teed`, which keeps whether it is closed by an exec. */
static void replace_descriptor(int pipe_end, int teed) {
    int flags = fcntl(teed, F_GETFD);
    if (flags >= 0)
        dup3(pipe_end, teed, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
}

static bool receive_welcome(int fd) {
    struct tap_welcome welcome = {0};
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct iovec data = {.iov_base = &welcome, .iov_len = sizeof welcome};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    int fds[2];
    int count = 0;
    struct cmsghdr *part = got >= 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (part && part->cmsg_type == SCM_RIGHTS) {
        count = (int)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(part), (size_t)count * sizeof(int));
    }
    bool accepted = got == (ssize_t)sizeof welcome && welcome.kind == TAP_WELCOME && welcome.accepted;
    int used = 0;
    for (int teed = 1; accepted && teed <= 2; teed++)
        if (welcome.tee & (uint32_t)teed && used < count)
            replace_descriptor(fds[used++], teed);
    while (count)
        close(fds[--count]);
    return accepted;
}

int tap_register(const struct tap_region *region, int region_fd, const char *origin) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* nothing may interrupt the handshake half-way */
    int fd = connect_to_collector();
    if (fd < 0)
        goto out;
    struct stat status;
    if (!send_hello(fd, region, region_fd, origin) || !receive_welcome(fd) || fstat(fd, &status) != 0) {
        close(fd);
        fd = -1;
        errno = ECONNREFUSED;
        goto out;
    }
    fd = move_up(fd);
    collector.fd = fd;
    collector.device = status.st_dev;
    collector.inode = status.st_ino;
out:
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return fd;
}

static bool socket_is_still_ours(void);

bool tap_send_lane(int lane_fd, uint32_t number, uint64_t size) {
    if (!socket_is_still_ours())
        return false;
    struct tap_lane lane = {.kind = TAP_LANE, .number = number, .size = size};
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof lane_fd)];
    } control = {0};
    struct iovec data = {.iov_base = &lane, .iov_len = sizeof lane};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof lane_fd);
    memcpy(CMSG_DATA(part), &lane_fd, sizeof lane_fd);
    return sendmsg(collector.fd, &message, MSG_NOSIGNAL) == (ssize_t)sizeof lane;
}

static bool socket_is_still_ours(void) {
    struct stat status;
    return collector.fd >= 0 && fstat(collector.fd, &status) == 0 && status.st_dev == collector.device &&
           status.st_ino == collector.inode;
}

bool tap_hears_of_collector(void) {
    return socket_is_still_ours();
}

bool tap_collector_is_gone(void) {
    int saved = errno;
    struct pollfd end = {.fd = collector.fd};
    bool gone = socket_is_still_ours() && poll(&end, 1, 0) == 1 && (end.revents & (POLLHUP | POLLERR));
    errno = saved;
    return gone;
}

void tap_forget_socket(void) {
    if (socket_is_still_ours())
        close(collector.fd);
    collector.fd = -1;
}
