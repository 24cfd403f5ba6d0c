#pragma once

#include "check.hpp"
#include "collector.hpp"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

// A whole collector in a process of its own, with a folder that goes away with it.
class CollectorProcess {
  public:
    CollectorProcess() {
        check(mkdtemp(folder_.data()) != nullptr, "a folder");
        pid_ = fork();
        if (pid_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL); // a failed check must not leave it behind, holding ctest's pipe
            shimbench::collector::Options options;
            options.session = options.sockets = session();
            shimbench::collector::Collector collector(options);
            collector.run();
            std::exit(0);
        }
        while (access((session() + "/control.sock").c_str(), F_OK) != 0)
            usleep(1000);
    }
    CollectorProcess(const CollectorProcess &) = delete;
    CollectorProcess &operator=(const CollectorProcess &) = delete;
    ~CollectorProcess() { std::filesystem::remove_all(folder_); }

    // The session's folder, where its sockets are too.
    std::string session() const { return folder_ + "/s"; }

    // A check that fails when anything but an orderly end is its.
    void end() {
        kill(pid_, SIGTERM);
        int status = 0;
        check(waitpid(pid_, &status, 0) == pid_ && WIFEXITED(status) && WEXITSTATUS(status) == 0,
              "the collector ends orderly");
    }

  private:
    std::string folder_ = (std::filesystem::temp_directory_path() / "collector-XXXXXX").string();
    int pid_ = 0;
};
