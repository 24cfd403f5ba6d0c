// The software GPU's engine: executes the PTX of the kernels that a client launches.
#pragma once

#include "device/emulated.hpp"

namespace shimbench::soft {

struct EngineSettings {
    unsigned threads = 0; // host threads a launch may use; 0: as many as there are processors it may run on
    KernelRules rules;
    std::function<bool()> abandoned; // true once nobody waits for results any more; may be empty
    Tell tell;                       // of kernels' times and faults; may be empty
};

/// An engine that runs kernels on this process's threads. What goes wrong in a kernel is written to
/// stderr in one line (kernel, block, thread, PTX line) and returned as the CUresult a GPU gives.
KernelEngine make_engine(EngineSettings settings);

} // namespace shimbench::soft
