#include "spawn.hpp"

#include "files.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace shimbench::collector {

namespace {

// The program's file, by the PATH it will have itself.
std::string found_in_path(const Program &program) {
    const std::string &name = program.argv[0];
    if (name.find('/') != std::string::npos)
        return name;
    std::string path = "/usr/local/bin:/usr/bin:/bin";
    for (const std::string &entry : program.env)
        if (entry.starts_with("PATH="))
            path = entry.substr(5);
    for (size_t at = 0; at <= path.size();) {
        size_t end = std::min(path.find(':', at), path.size());
        std::string file = path.substr(at, end - at);
        file = (file.empty() ? "." : file) + "/" + name;
        if (file[0] != '/')
            file = program.cwd + "/" + file;
        if (access(file.c_str(), X_OK) == 0)
            return file;
        at = end + 1;
    }
    return {};
}

std::vector<char *> pointers(const std::vector<std::string> &texts) {
    std::vector<char *> list;
    for (const std::string &text : texts)
        list.push_back(const_cast<char *>(text.c_str()));
    list.push_back(nullptr);
    return list;
}

struct Failure {
    const char *what; // a literal, so it is the same in both processes
    int error;
};

// In the child: nothing but system calls.
[[noreturn]] void become(const char *file, const Program &program, char **argv, char **env, int output,
                         int errors, int report) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    for (int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGXFSZ})
        signal(number, SIG_DFL);
    setsid();
    setrlimit(RLIMIT_NOFILE, &program.open_files);
    Failure failure{"open /dev/null", 0};
    int null = open("/dev/null", O_RDONLY);
    if (null >= 0 && dup2(null, 0) == 0 && dup2(output, 1) == 1 && dup2(errors, 2) == 2) {
        if (null > 2)
            close(null);
        failure.what = "enter its directory";
        if (chdir(program.cwd.c_str()) == 0) {
            failure.what = "execute it";
            execve(file, argv, env);
        }
    }
    failure.error = errno;
    ssize_t ignored = write(report, &failure, sizeof failure);
    static_cast<void>(ignored);
    _exit(127);
}

} // namespace

int spawn(const Program &program, int output, int errors, std::string &why) {
    if (program.argv.empty()) {
        why = "no command";
        return -1;
    }
    std::string file = found_in_path(program);
    if (file.empty()) {
        why = program.argv[0] + ": not found in PATH";
        return -1;
    }
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) {
        why = std::string("pipe: ") + std::strerror(errno);
        return -1;
    }
    session::Descriptor reader(report[0]), writer(report[1]);
    std::vector<char *> argv = pointers(program.argv), env = pointers(program.env);
    int pid = fork();
    if (pid == 0)
        become(file.c_str(), program, argv.data(), env.data(), output, errors, report[1]);
    if (pid < 0) {
        why = std::string("fork: ") + std::strerror(errno);
        return -1;
    }
    writer.reset();
    Failure failure;
    if (read(reader.get(), &failure, sizeof failure) == static_cast<ssize_t>(sizeof failure)) {
        waitpid(pid, nullptr, 0);
        why = file + " (in " + program.cwd + "): could not " + failure.what + ": " +
              std::strerror(failure.error);
        return -1;
    }
    return pid;
}

} // namespace shimbench::collector
